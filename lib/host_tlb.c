/* SPDX-License-Identifier: MIT */
/* The ledger of host mappings; see the header. Pure. */
#include "lib/host_tlb.h"

struct host_tlb_cpu host_tlb_cpus[CPUS_MAX];
uint64_t host_tlb_debt;
static uint64_t joined; /* a mask of the CPUs that have to pay */

/* The CPU is in the mask before it flushes, so a debt that does not see it there was made before
 * the flush. */
void host_tlb_join(unsigned self)
{
    __atomic_fetch_or(&joined, 1ull << self, __ATOMIC_SEQ_CST);
    __atomic_store_n(&host_tlb_cpus[self].paid, 0, __ATOMIC_SEQ_CST);
    (void)host_tlb_pay(self);
}

uint64_t host_tlb_owe(void)
{
    return __atomic_add_fetch(&host_tlb_debt, 1, __ATOMIC_SEQ_CST);
}

/* The debt is read before the flush, so a debt that is made meanwhile stays owed. The handler of an
 * NMI that arrives here pays as well, and its number, which is newer, is not replaced by ours. */
bool host_tlb_pay(unsigned self)
{
    struct host_tlb_cpu *cpu = &host_tlb_cpus[self];
    uint64_t debt = host_tlb_owed();
    uint64_t paid = __atomic_load_n(&cpu->paid, __ATOMIC_RELAXED);
    if (likely(paid >= debt))
        return false;
    host_tlb_flush();
    cpu->flushes++;
    while (paid < debt && !__atomic_compare_exchange_n(&cpu->paid, &paid, debt, false,
                                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    return true;
}

uint64_t host_tlb_behind(uint64_t debt)
{
    uint64_t behind = 0;
    for (uint64_t left = __atomic_load_n(&joined, __ATOMIC_SEQ_CST); left; left &= left - 1) {
        unsigned cpu = (unsigned)__builtin_ctzll(left);
        if (__atomic_load_n(&host_tlb_cpus[cpu].paid, __ATOMIC_SEQ_CST) < debt)
            behind |= 1ull << cpu;
    }
    return behind;
}
