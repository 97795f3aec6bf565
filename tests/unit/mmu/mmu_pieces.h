/* SPDX-License-Identifier: MIT */
/*
 * For tests of operations that are done in pieces (test_mmu_pieces.c, test_mmu_long_work.c):
 * something always waits for the pCPU, and after each piece the test checks that it was short.
 * Include it in one file.
 */
#pragma once

#include "tests/unit/mmu/mmu_world.h"

#include "mmu/backing.h"
#include "mmu/track.h"

#define SLOT   0x200000ull
#define PLACE  0x80000000ull
#define OTHER  0x40000000ull
#define TABLES 3u
#define PAGES  (TABLES * 512)

static struct mmu mmu;
static uint64_t pauses;

/* ---- Checks between two pieces --------------------------------------------------------------- */

static struct counts {
    uint64_t changes, freed, cleared, to_fill, copied;
} last; /* counts at the last call of wanted() */
static uint64_t freed;

static void count_freed(hpa_t page, unsigned order)
{
    (void)page, (void)order;
    freed++;
}

static struct counts counts(void)
{
    struct counts now = {.changes = mmu_stats(&mmu).spte_changes,
                         .freed = freed,
                         .copied = mmu.changing.copying.copied};
    for (unsigned i = 0; i < CLEARING_MAX; i++)
        now.cleared += mmu.clearing.blocks[i].qwords;
    for (unsigned i = 0; i < ARRAY_SIZE(mmu.changing.filling); i++)
        now.to_fill += mmu.changing.filling[i].qwords;
    return now;
}

/* Replaces mmu_pauses(): checks that the last piece was short, and says that something is waiting.
 */
static bool wanted(void)
{
    struct counts now = counts();
    assert_true(now.changes - last.changes <= 128);
    assert_true(now.freed - last.freed <= 160);
    assert_true(now.cleared <= last.cleared + 16384);
    assert_true(now.to_fill + 16384 >= last.to_fill);
    assert_true(now.copied <= last.copied + (128 << 10));
    last = now;
    pauses++;
    return true;
}

static void want_from_now_on(void)
{
    support_pauses = wanted;
    last = counts();
}

static void start(bool pml)
{
    const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true, .pml = pml};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    freed = pauses = 0;
    support_free_hook = count_freed;
}

static void stop(void)
{
    support_pauses = NULL;
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

static inline void write_word(uint64_t gpa, uint64_t value)
{
    struct world_access a = world_touch(&mmu, GPA(gpa), 2);
    assert_int_equal(a.outcome, FAULT_FIXED);
    *(uint64_t *)phys_to_virt(a.page) = value;
}

static inline uint64_t read_word(uint64_t gpa)
{
    struct world_access a = world_touch(&mmu, GPA(gpa), 1);
    assert_int_equal(a.outcome, FAULT_FIXED);
    return *(uint64_t *)phys_to_virt(a.page);
}

/* ---- The slots ------------------------------------------------------------------------------- */

/* Adds the slot that is changed later, whose pages are all touched, and another slot. */
static inline void slot(uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), PAGES, flags), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(OTHER), PAGES, 0), 0);
    for (uint64_t i = 0; i < PAGES; i++)
        write_word(SLOT + i * PAGE_SIZE, i + 1);
    tlb_leave(0);
}
