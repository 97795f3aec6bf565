/* SPDX-License-Identifier: MIT */
/* The counters of a VM's MMU, summed over all pCPUs and reasons; see mmu/mmu.h. Pure. */
#include "mmu/backing.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"

struct mmu_stats mmu_stats(const struct mmu *mmu)
{
    union {
        struct mmu_stats stats;
        uint64_t word[sizeof(struct mmu_stats) / sizeof(uint64_t)];
    } sum = {.word = {0}};
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        const uint64_t *word = (const uint64_t *)&mmu->cpu[cpu].stats;
        for (size_t i = 0; i < ARRAY_SIZE(sum.word); i++)
            sum.word[i] += __atomic_load_n(&word[i], __ATOMIC_RELAXED);
    }
    return sum.stats;
}

uint64_t mmu_invept_count(const struct mmu *mmu)
{
    struct mmu_stats stats = mmu_stats(mmu);
    uint64_t sum = 0;
    for (unsigned i = 0; i < INVEPT_REASONS; i++)
        sum += stats.invept[i];
    return sum;
}

uint64_t mmu_invept_for(const struct mmu *mmu, enum debt_reason reason)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < CPUS_MAX; i++)
        sum += __atomic_load_n(&mmu->invept_for[i][reason], __ATOMIC_RELAXED);
    return sum;
}

uint64_t mmu_invvpid_count(const struct mmu *mmu)
{
    struct mmu_stats stats = mmu_stats(mmu);
    uint64_t sum = 0;
    for (unsigned i = 0; i < INVVPID_REASONS; i++)
        sum += stats.invvpid[i];
    return sum;
}

uint64_t mmu_ram_pages(const struct mmu *mmu)
{
    const struct memslots *slots = memslots(mmu);
    uint64_t sum = 0;
    for (unsigned i = 0; i < slots->used; i++)
        sum += backing_count(&slots->slot[i].backing);
    return sum;
}
