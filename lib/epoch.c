/* SPDX-License-Identifier: MIT */
/* The bookkeeping of epochs; see the header. */
#include "lib/epoch.h"

#include "lib/patience.h"

struct epoch_cpu epoch_cpus[CPUS_MAX];
uint64_t epoch_current = 1;
unsigned epoch_cpu_count = CPUS_MAX;

/* The exchange is ordered before the reads that follow it. Either epoch_over() finds this CPU
 * online, with its owner, or this CPU's reads find what was unlinked before the check. */
void epoch_online(unsigned cpu, const void *owner)
{
    __atomic_store_n(&epoch_cpus[cpu].owner, owner, __ATOMIC_RELEASE);
    (void)__atomic_exchange_n(&epoch_cpus[cpu].seen, epoch_now(), __ATOMIC_SEQ_CST);
}

void epoch_offline(unsigned cpu)
{
    __atomic_store_n(&epoch_cpus[cpu].seen, 0, __ATOMIC_RELEASE);
}

uint64_t epoch_begin(void)
{
    return __atomic_add_fetch(&epoch_current, 1, __ATOMIC_SEQ_CST);
}

/* `seen` is read before `owner`: a CPU that goes online for `owner` after the read of `seen` has
 * read nothing that was unlinked before. */
static bool epoch_cpu_lags(unsigned cpu, uint64_t epoch, const void *owner)
{
    uint64_t seen = __atomic_load_n(&epoch_cpus[cpu].seen, __ATOMIC_SEQ_CST);
    if (!seen || seen >= epoch)
        return false;
    const void *reads = __atomic_load_n(&epoch_cpus[cpu].owner, __ATOMIC_ACQUIRE);
    return !owner || !reads || reads == owner;
}

static uint64_t epoch_cpus_behind(uint64_t epoch, const void *owner)
{
    uint64_t found = 0;
    for (unsigned cpu = 0; cpu < epoch_cpu_count; cpu++)
        found |= (uint64_t)epoch_cpu_lags(cpu, epoch, owner) << cpu;
    return found;
}

bool epoch_over(uint64_t epoch, const void *owner)
{
    return !epoch_cpus_behind(epoch, owner);
}

void epoch_wait(uint64_t epoch, const void *owner, unsigned self, void (*kick)(unsigned cpu))
{
    bool online = __atomic_load_n(&epoch_cpus[self].seen, __ATOMIC_RELAXED);
    epoch_offline(self);
    uint64_t behind = epoch_cpus_behind(epoch, owner);
    for (uint64_t left = behind; left; left &= left - 1)
        kick((unsigned)__builtin_ctzll(left));
    for (; behind; behind &= behind - 1) {
        unsigned cpu = (unsigned)__builtin_ctzll(behind);
        struct patience patience = {.self = self, .other = cpu, .what = "the end of its epoch"};
        while (epoch_cpu_lags(cpu, epoch, owner))
            wait_for_cpu(&patience, kick);
    }
    if (online)
        epoch_online(self, epoch_cpus[self].owner);
}

void epoch_lock(struct spinlock *lock, unsigned self)
{
    while (!spin_trylock(lock)) {
        if (__atomic_load_n(&epoch_cpus[self].seen, __ATOMIC_RELAXED))
            epoch_pass(self, epoch_now());
        cpu_relax();
    }
}
