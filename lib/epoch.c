/* Epochs; see the header. */
#include "lib/epoch.h"

struct epoch_cpu epoch_cpus[EPOCH_CPUS];
uint64_t epoch_current = 1;

/* The store and the reads that follow stay in order: either epoch_over() sees this CPU, or the CPU
 * sees what was unlinked before. */
void epoch_online(unsigned cpu)
{
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

static bool lags(unsigned cpu, uint64_t epoch)
{
    uint64_t seen = __atomic_load_n(&epoch_cpus[cpu].seen, __ATOMIC_SEQ_CST);
    return seen && seen < epoch;
}

bool epoch_over(uint64_t epoch)
{
    for (unsigned cpu = 0; cpu < EPOCH_CPUS; cpu++) {
        if (lags(cpu, epoch))
            return false;
    }
    return true;
}

void epoch_wait(uint64_t epoch, unsigned self, void (*kick)(unsigned cpu))
{
    bool online = __atomic_load_n(&epoch_cpus[self].seen, __ATOMIC_RELAXED);
    epoch_offline(self);
    for (unsigned cpu = 0; cpu < EPOCH_CPUS; cpu++) {
        if (lags(cpu, epoch))
            kick(cpu);
        while (lags(cpu, epoch))
            cpu_relax();
    }
    if (online)
        epoch_online(self);
}

void epoch_lock(struct spinlock *lock, unsigned self)
{
    while (!spin_trylock(lock)) {
        if (__atomic_load_n(&epoch_cpus[self].seen, __ATOMIC_RELAXED))
            epoch_pass(self, epoch_now());
        cpu_relax();
    }
}
