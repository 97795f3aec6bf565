/* SPDX-License-Identifier: MIT */
/*
 * The operations of mmu/ one by one, with each store checked by mmu_stores.h (rules W4, W5, W6, S7,
 * S13, S14, S15, T6, P8). test_mmu_stores_random.c has them in random order.
 */
#define _GNU_SOURCE
#include "tests/unit/mmu/mmu_stores_guest.h"

/* ---- Faults ---------------------------------------------------------------------------------- */

static void a_fault_links_from_the_root_down(void **state)
{
    (void)state;
    assert_int_equal(touch(RAM + 3, ACCESS_READ, false), FAULT_FIXED);
    assert_int_equal(seen.linked, mmu_config()->huge ? 2 : 3);
    assert_int_equal(seen.stores, seen.linked + 1);
    assert_int_equal(seen.attempts, seen.stores);
    assert_int_equal(touch(DEVICE + 3, ACCESS_READ, false), FAULT_EMULATE);
    assert_int_equal(seen.linked, 2); /* below the entry of level 4 that RAM uses, too */
    assert_int_equal(views[WINDOW + 3].sight, SEES_MMIO);
    assert_int_equal(touch(DEVICE + 4, ACCESS_READ, false), FAULT_EMULATE);
    assert_int_equal(seen.stores, 1);
    assert_int_equal(touch(DEVICE + 4, ACCESS_WRITE, false), FAULT_EMULATE);
    assert_int_equal(seen.stores, 0);
}

static void a_stale_mmio_spte_is_replaced_in_one_store(void **state)
{
    (void)state;
    touch(OTHER + 1, ACCESS_READ, false);
    assert_int_equal(views[OTHER + 1].sight, SEES_MMIO);
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(OTHER + 1), 4, 0), 0));
    assert_int_equal(seen.attempts, 0); /* the generation makes it stale */
    touch(OTHER + 1, ACCESS_WRITE, false);
    assert_int_equal(seen.stores, 1);
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 1), 0));
    touch(OTHER + 1, ACCESS_READ, false);
    assert_int_equal(views[OTHER + 1].sight, SEES_MMIO);
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(RAM + SIZE), 4, 0), 0));
    touch(OTHER + 1, ACCESS_READ, false);
    assert_int_equal(seen.stores, 1); /* a newer MMIO SPTE over it */
}

static void another_cpu_is_faster(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(RAM), SIZE), 0));
    assert_int_equal(touch(RAM + 600, ACCESS_WRITE, false), FAULT_FIXED);
    WITHOUT_GAP(assert_int_equal(fault(RAM + 600, ACCESS_WRITE), FAULT_SPURIOUS));
    assert_int_equal(seen.attempts, 0);
}

/* ---- Split and collapse (T6, W4) ------------------------------------------------------------- */

static void no_frame_faults_while_a_large_page_is_split(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    touch(RAM + 512, ACCESS_WRITE, false);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM + 7)), 0));
    assert_int_equal(seen.linked, 1);
    assert_int_equal(seen.stores, 2); /* the link; the page that is tracked */
    assert_int_equal(views[RAM + 7].rights, 5);
    assert_int_equal(views[RAM + 8].rights, 7);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM + 8)), 0));
    assert_int_equal(seen.stores, 1);
    WITHOUT_GAP(assert_int_equal(mmu_untrack(&mmu, at(RAM + 7)), 0));
    assert_int_equal(touch(RAM + 8, ACCESS_WRITE, false), FAULT_WRITE_PROTECTED);
    assert_int_equal(touch(RAM + 7, ACCESS_WRITE, false), FAULT_FIXED);
    assert_int_equal(seen.stores, 1); /* W is set again in place */
}

static void an_execution_splits(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    assert_int_equal(views[RAM].rights, 3);
    touch(RAM + 5, ACCESS_FETCH, false);
    assert_int_equal(seen.linked, 1);
    assert_int_equal(seen.stores, 1);
    assert_int_equal(views[RAM + 5].rights, 7);
    touch(RAM + 512 + 5, ACCESS_FETCH, false);
    WITH_GAP(assert_int_equal(mmu_nx_recover(&mmu), 1));
    assert_int_equal(seen.cut, 1);
}

/* S3: HOST_WRITABLE depends on the slot only, even for a tracked page; a leaf gets X in place. */
static void execution_of_a_tracked_page_that_is_read_only(void **state)
{
    (void)state;
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(OTHER), 512, RO), 0));
    touch(OTHER, ACCESS_READ, false);
    assert_int_equal(views[OTHER].rights, 1);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(OTHER + 3)), 0));
    touch(OTHER + 3, ACCESS_FETCH, false);
    assert_int_equal(views[OTHER + 3].rights, 5);
    assert_int_equal(touch(OTHER + 3, ACCESS_WRITE, false), FAULT_EMULATE);
}

static void a_collapse_freezes_what_it_replaces(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM)), 0));
    WITHOUT_GAP(assert_int_equal(mmu_untrack(&mmu, at(RAM)), 0));
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(RAM + 9), 1), 0));
    assert_int_equal(seen.stores, 1);
    touch(RAM + 9, ACCESS_WRITE, true);
    assert_int_equal(seen.cut, 1);
    assert_int_equal(seen.stores, 1 + 512 + 1); /* FROZEN, all entries of the table, the leaf */
    assert_int_equal(mmu_stats(&mmu).collapses, 1);
}

/* ---- Zap and remap --------------------------------------------------------------------------- */

static void zaps_leave_nonpresent(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 8; i++)
        touch(RAM + 100 * i, ACCESS_WRITE, false);
    touch(DEVICE, ACCESS_READ, false);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(RAM + 100), 250), 0));
    assert_int_equal(seen.stores, mmu_config()->huge ? 1 : 3);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(DEVICE), 1), 0));
    assert_int_equal(views[WINDOW].sight, SEES_NOTHING);
    WITH_GAP(assert_int_equal(mmu_set_generation(&mmu, mmu_slot_generation(&mmu) + 1), 0));
    assert_int_equal(seen.stores, 1); /* the one entry of the root */
    for (unsigned i = 0; i < views_used; i++)
        assert_int_equal(views[i].sight, SEES_NOTHING);
}

static void a_remapped_frame_never_has_two_pages(void **state)
{
    (void)state;
    touch(RAM + 5, ACCESS_WRITE, false);
    uint64_t page = views[RAM + 5].page;
    WITH_GAP(assert_int_equal(mmu_host_remap(&mmu, at(RAM + 5)), 0));
    assert_int_equal(seen.stores, 1);
    assert_int_equal(views[RAM + 5].sight, SEES_NOTHING);
    touch(RAM + 5, ACCESS_WRITE, false);
    assert_int_not_equal(views[RAM + 5].page, page);
}

static void aging_in_place(void **state)
{
    (void)state;
    touch(RAM + 5, ACCESS_WRITE, false);
    sets_bits = true;
    WITH_GAP(assert_int_equal(mmu_age(&mmu, at(RAM), SIZE), 1));
    assert_int_equal(seen.stores, 1);
    assert_int_equal(views[RAM + 5].sight, mmu_config()->ad ? SEES_RAM : SEES_NOTHING);
    touch(RAM + 5, ACCESS_WRITE, false);
    assert_int_equal(views[RAM + 5].rights, 7);
}

/* ---- Dirty logging (S4, S14, N2) ------------------------------------------------------------- */

static uint64_t bitmap[SIZE / 64];

static bool is_logged(uint64_t page)
{
    return bitmap[page / 64] >> (page % 64) & 1;
}

static void collect(void)
{
    WITHOUT_GAP(assert_int_equal(mmu_dirty_get(&mmu, 0, 0, bitmap, SIZE / 64), 0));
}

static void logging_takes_one_right(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    touch(RAM + 512 + 1, ACCESS_WRITE, false);
    WITHOUT_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0));
    assert_int_equal(seen.linked, mmu_config()->huge ? 2 : 0);
    bool by_fault = dirty_method() == DIRTY_WRITE_PROTECT;
    assert_int_equal(views[RAM].rights, by_fault ? 5 : 7);

    touch(RAM + 1, ACCESS_WRITE, false);
    touch(RAM + 514, ACCESS_READ, false);
    if (dirty_method() == DIRTY_PML)
        mmu_pml_note(&mmu, (uint64_t[]){at(RAM + 1).v}, 1);
    collect();
    assert_int_equal(seen.stores, 1); /* W or D of the page that was written */
    for (uint64_t i = 0; i < SIZE; i++)
        assert_int_equal(is_logged(i), i == 1);
    collect();
    assert_int_equal(seen.attempts, 0);
    WITH_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, 0), 0));
    assert_int_equal(views[RAM + 1].sight, SEES_NOTHING);
}

/* S4: collecting flushes once for all D bits that it clears, since CPUs that have them cached would
 * not set them again; likewise for W. */
static void collecting_owes_one_flush(void **state)
{
    (void)state;
    WITHOUT_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0));
    touch(RAM, ACCESS_WRITE, false);
    touch(RAM + 1, ACCESS_WRITE, false);
    if (dirty_method() == DIRTY_PML)
        mmu_pml_note(&mmu, (uint64_t[]){at(RAM).v, at(RAM + 1).v}, 2);
    uint64_t debt = mmu.tlb.debt;
    collect();
    assert_in_range(mmu.tlb.debt - debt, 1, 2);
    assert_true(is_logged(0) && is_logged(1));
    assert_int_equal(tlb_cpus[READER].running == &mmu, false); /* the reader was made to leave */
}

/* The CPU sets D between the read of an entry and the store that would remove it. */
static void a_d_bit_set_in_between_is_not_lost(void **state)
{
    (void)state;
    const uint64_t frames[] = {RAM, RAM + 1, RAM + 2};
    WITHOUT_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0));
    for (unsigned i = 0; i < 3; i++) /* W, as for a write that is yet to come: no D */
        WITHOUT_GAP(assert_int_equal(fault(frames[i], ACCESS_WRITE), FAULT_FIXED));
    collect();
    sets_bits = true;
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(frames[2])), 0));
    assert_int_equal(seen.attempts, 2); /* the first store failed */
    assert_int_equal(seen.stores, 1);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(frames[0]), 1), 0));
    assert_int_equal(seen.attempts, 2);
    WITH_GAP(assert_int_equal(mmu_host_remap(&mmu, at(frames[1])), 0));
    sets_bits = false;
    collect();
    assert_true(is_logged(0) && is_logged(1) && is_logged(2) && !is_logged(3));
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static void slots_come_and_go(void **state)
{
    (void)state;
    touch(RAM + 1, ACCESS_WRITE, false);
    touch(RAM + 600, ACCESS_WRITE, false);
    WITH_GAP(assert_int_equal(mmu_slot_move(&mmu, 0, at(OTHER)), 0));
    assert_int_equal(seen.stores, 2);
    touch(OTHER + 1, ACCESS_WRITE, false);
    touch(RAM + 1, ACCESS_READ, false);
    assert_int_equal(views[RAM + 1].sight, SEES_MMIO);
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(RAM), 8, RO), 0));
    assert_int_equal(seen.attempts, 0);
    touch(RAM + 1, ACCESS_READ, false);
    assert_int_equal(views[RAM + 1].rights, 5);
    WITH_GAP(assert_int_equal(mmu_slot_flags(&mmu, 1, 0), 0));
    WITH_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, RO), 0));
    assert_int_equal(views[OTHER + 1].sight, SEES_NOTHING);
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 0), 0));
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 1), 0));
}

/* X11: an operation that takes a page from a frame takes it from all roots. */
static void aliases_go_together(void **state)
{
    (void)state;
    touch(RAM + 5, ACCESS_WRITE, false);
    touch(CODE + RAM + 5, ACCESS_FETCH, false);
    struct view *plain = &views[RAM + 5], *alias = &views[PLAIN + RAM + 5];
    assert_int_equal(plain->page, alias->page);
    assert_int_equal(alias->rights, 4);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM + 5)), 0));
    assert_int_equal(plain->rights, 5);
    WITH_GAP(assert_int_equal(mmu_host_remap(&mmu, at(RAM + 5)), 0));
    assert_int_equal(plain->sight, SEES_NOTHING);
    assert_int_equal(alias->sight, SEES_NOTHING);
    touch(CODE + RAM + 5, ACCESS_FETCH, false);
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 0), 0));
    assert_int_equal(alias->sight, SEES_NOTHING);
}

/* X5: see mmu_stores_sides.h. */
static void conversions_hand_nothing_over(void **state)
{
    (void)state;
    for (uint64_t i = 3; i < 6; i++)
        touch(RAM + i, ACCESS_WRITE, false);
    touch(CODE + RAM + 5, ACCESS_FETCH, false);
    assert_int_equal(convert(RAM + 4, 3, true), 3);
    assert_int_equal(seen.stores, mmu_config()->huge ? 2 : 3); /* two leaves or three */
    assert_true(conversion.cleared >= 3 && conversion.changed == 3);
    assert_int_equal(views[RAM + 4].sight, SEES_NOTHING);
    touch(SHARED + RAM + 4, ACCESS_WRITE, false);
    assert_int_equal(views[PLAIN + WINDOW + RAM + 4].rights, 3);
    touch(RAM + 7, ACCESS_WRITE, false);
    assert_int_equal(views[RAM + 7].rights, 7);

    assert_int_equal(convert(RAM + 3, 3, true), 1); /* the next pages are shared already */
    assert_int_equal(conversion.changed, 1);
    assert_int_equal(convert(RAM + 4, 2, true), 2);
    assert_int_equal(conversion.changed + conversion.cleared + seen.stores, 0);
    assert_int_equal(convert(RAM + 2, 6, false), 5); /* and so is the first of these */
    assert_int_equal(conversion.changed, 4);
    assert_int_equal(views[PLAIN + WINDOW + RAM + 4].sight, SEES_NOTHING);
    assert_int_equal(convert(RAM + SIZE - 1, 3, true), 1);
    assert_int_equal(convert(RAM + SIZE, 1, true), -EFAULT);
}

static void the_wrap_cuts_off_all(void **state)
{
    (void)state;
    WITH_GAP(assert_int_equal(mmu_set_generation(&mmu, SPTE_GENERATION_MASK), 0));
    touch(RAM + 1, ACCESS_WRITE, false);
    touch(DEVICE, ACCESS_READ, false);
    uint64_t tables = watched_used - 1; /* without the root */
    WITH_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(OTHER), 8, 0), 0));
    assert_int_equal(seen.stores, 1);
    assert_int_equal(seen.cut, tables);
    assert_int_equal(views[WINDOW].sight, SEES_NOTHING);
    touch(RAM + 1, ACCESS_WRITE, false);
    touch(DEVICE, ACCESS_READ, false);
}

int main(void)
{
#define T(name, config)                                       \
    {                                                         \
#name "[" #config "]", name, setup, teardown, &config \
    }
    const struct CMUnitTest tests[] = {
        T(a_fault_links_from_the_root_down, all),
        T(a_fault_links_from_the_root_down, small_without_ad),
        T(a_stale_mmio_spte_is_replaced_in_one_store, all),
        T(another_cpu_is_faster, all),
        T(no_frame_faults_while_a_large_page_is_split, all),
        T(no_frame_faults_while_a_large_page_is_split, large_without_ad),
        T(an_execution_splits, nx),
        T(execution_of_a_tracked_page_that_is_read_only, nx),
        T(a_collapse_freezes_what_it_replaces, all),
        T(zaps_leave_nonpresent, all),
        T(zaps_leave_nonpresent, small_without_ad),
        T(a_remapped_frame_never_has_two_pages, all),
        T(a_remapped_frame_never_has_two_pages, small_without_ad),
        T(aging_in_place, all),
        T(aging_in_place, small_without_ad),
        T(logging_takes_one_right, all),
        T(logging_takes_one_right, small_without_ad),
        T(logging_takes_one_right, with_pml),
        T(logging_takes_one_right, large_without_ad),
        T(collecting_owes_one_flush, all),
        T(collecting_owes_one_flush, small_without_ad),
        T(collecting_owes_one_flush, with_pml),
        T(a_d_bit_set_in_between_is_not_lost, all),
        T(slots_come_and_go, all),
        T(slots_come_and_go, small_without_ad),
        T(the_wrap_cuts_off_all, all),
        {"aliases_go_together", aliases_go_together, setup_aliases, teardown, &all},
        {"conversions_hand_nothing_over", conversions_hand_nothing_over, setup_sides, teardown,
         &all},
        {"conversions_hand_nothing_over[small_without_ad]", conversions_hand_nothing_over,
         setup_sides, teardown, &small_without_ad},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
