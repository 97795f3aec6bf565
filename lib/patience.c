/* SPDX-License-Identifier: MIT */
/* Bounded waiting for another CPU; see the header. Pure. */
#include "lib/patience.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "lib/spinlock.h"

static uint64_t second;

void patience_set(uint64_t ticks)
{
    __atomic_store_n(&second, ticks, __ATOMIC_RELAXED);
}

bool cpu_is_lost(struct patience *p, void (*kick)(unsigned cpu))
{
    uint64_t bound = __atomic_load_n(&second, __ATOMIC_RELAXED), now = __builtin_ia32_rdtsc();
    cpu_relax();
    if (!p->since || !bound) {
        p->since = now;
        return false;
    }
    if (now - p->since < bound * (p->seconds + 1))
        return false;
    p->seconds++;
    log_error("CPU %u has waited for CPU %u for %u s: for %s; it is kicked again", p->self,
              p->other, p->seconds, p->what);
    if (p->seconds >= PATIENCE_SECONDS)
        return true;
    kick(p->other);
    return false;
}

void wait_for_cpu(struct patience *patience, void (*kick)(unsigned cpu))
{
    BUG_ON(cpu_is_lost(patience, kick));
}
