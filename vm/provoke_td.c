/* SPDX-License-Identifier: MIT */
/* A TD without a guest; see the header. */
#include "vm/provoke_td.h"

#include "arch/x86/cpu.h"
#include "arch/x86/cpus.h"
#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/host_tlb.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "mmu/external.h"
#include "mmu/mirror.h"
#include "mmu/mmu.h"

#define RAM        0x400000ull
#define RAM_FRAMES 1024u

struct rehearsal {
    struct mmu mmu;
    struct external external;
    unsigned measured;
};

static struct rehearsal *rehearsal_made(void)
{
    static struct rehearsal rehearsal;
    return &rehearsal;
}

static void count_measured(struct mmu *mmu, gfn_t gfn, const void *content)
{
    (void)mmu;
    (void)gfn;
    (void)content;
    rehearsal_made()->measured++;
}

static bool rehearsal_make(struct rehearsal *r)
{
    uint64_t flushed = 0, start = rdtsc();
    int error;
    r->external.measure = count_measured;
    if (WARN_ON(mmu_create(&r->mmu) || mmu_steal_bit(&r->mmu, MIRROR_SHARED_BIT, STOLEN_SHARED)))
        return false;
    do
        error = external_create(&r->external, &r->mmu, RAM_FRAMES, false);
    while (error == -EINPROGRESS);
    if (WARN_ON(error || mmu_slot_add(&r->mmu, 1, GPA(RAM), RAM_FRAMES, 0)))
        return false;
    for (unsigned i = 0; i < cpu_count; i++)
        flushed += host_tlb_cpus[i].flushes;
    log_info("# a TD's memory has left the direct map: %lu blocks, %lu flushes by %u CPUs, in %lu "
             "ticks",
             r->external.pool.added, flushed, cpu_count, rdtsc() - start);
    return true;
}

static void rehearsal_end(struct rehearsal *r)
{
    uint64_t start = rdtsc();
    while (!mmu_destroy_piece(&r->mmu))
        ;
    while (!external_destroy_piece(&r->external))
        ;
    log_info("# it was scrubbed and given back in %lu ticks", rdtsc() - start);
}

static uint64_t rehearsal_accept(struct rehearsal *r, uint64_t gpa, unsigned level)
{
    uint64_t status = ~0ull;
    for (unsigned tries = 0; tries < 1000; tries++)
        if (mmu_td_accept(&r->mmu, GPA(gpa), level, &status) != -EAGAIN)
            return status;
    return ~0ull;
}

/* Accepts 2 MiB, by small pages if the mirror has a table there, as when large pages must not be
 * executed (nx_huge=). Returns the last status. */
static uint64_t accept_large(struct rehearsal *r, uint64_t gpa)
{
    uint64_t status = rehearsal_accept(r, gpa, EPT_LEVEL_2M);
    if (status != TDX_PAGE_SIZE_MISMATCH)
        return status;
    for (uint64_t i = 0; i < EPT_ENTRIES; i++)
        status = rehearsal_accept(r, gpa + i * PAGE_SIZE, EPT_LEVEL_4K);
    return status;
}

/* Writes to each frame of 2 MiB, and finds it there, through windows that are used again and
 * again. Returns the number of frames that differ. */
static unsigned wrong_frames(struct rehearsal *r, gfn_t first)
{
    unsigned wrong = 0;
    uint64_t found;
    for (uint64_t i = 0; i < EPT_ENTRIES; i++)
        wrong += secure_write_private(&r->external.td, GFN(first.v + i), 8, &i, sizeof(i)) != 0;
    for (uint64_t i = 0; i < EPT_ENTRIES; i++)
        wrong +=
            secure_read_private(&r->external.td, GFN(first.v + i), 8, &found, sizeof(found)) != 0 ||
            found != i;
    return wrong;
}

static void try_memory(struct rehearsal *r)
{
    static const uint64_t image[EPT_ENTRIES] = {1, 2, 3};
    gpa_t page = GPA(RAM + 0x203000);
    WARN_ON(mmu_td_add(&r->mmu, gpa_to_gfn(GPA(RAM)), image) || mmu_td_finalise(&r->mmu));
    uint64_t small = rehearsal_accept(r, RAM + 0x1000, EPT_LEVEL_4K),
             large = accept_large(r, RAM + 0x200000);
    unsigned wrong = wrong_frames(r, gpa_to_gfn(GPA(RAM + 0x200000)));
    int64_t shared = mmu_convert(&r->mmu, page, 1, true),
            private = mmu_convert(&r->mmu, page, 1, false);
    log_info("# measured %u, accepted %#lx and %#lx, %u frames wrong, converted %ld and %ld",
             r->measured, small, large, wrong, shared, private);
    log_info("# accepted again: %#lx", rehearsal_accept(r, page.v, EPT_LEVEL_4K));
}

void provoke_td(enum lie lie)
{
    struct rehearsal *r = rehearsal_made();
    memset(r, 0, sizeof(*r));
    lies_tell(lie);
    if (rehearsal_make(r))
        try_memory(r);
    struct mirror_stats stats = mmu_mirror_stats(&r->mmu);
    WARN_ON(lies_left());
    rehearsal_end(r);
    log_info("# the TD is gone: %lu operations refused, %lu frames stuck, all memory was returned",
             stats.refused, stats.stuck);
}

void provoke_private(void)
{
    struct rehearsal *r = rehearsal_made();
    if (rehearsal_make(r))
        log_info("# read %#lx", *(volatile uint64_t *)phys_to_virt(r->external.td.root));
}
