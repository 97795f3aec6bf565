/* SPDX-License-Identifier: MIT */
/*
 * More operations that are done in pieces (see test_mmu_pieces.c): copying a block, recovering
 * large pages, and the end of a VM.
 */
#include "tests/unit/mmu/mmu_pieces.h"

/* ---- Moving a block -------------------------------------------------------------------------- */

/* Writes of the hypervisor to a block that is being copied appear in the copy, in the part that has
 * been copied as well as in the rest, and nothing else of the copy changes. No fault maps the block
 * meanwhile. */
static void writes_follow_to_the_copy(void **state)
{
    (void)state;
    struct mmu_change change = {.kind = CHANGE_REMAP, .gpa = GPA(SLOT)};
    uint64_t value = 0, at = SLOT + 511 * PAGE_SIZE, old;
    struct mmio_info info;
    start(false);
    slot(0);
    hpa_t before = world_touch(&mmu, GPA(SLOT), 1).page;
    tlb_leave(0);
    want_from_now_on();
    while (mmu_change(&mmu, &change) == -EINPROGRESS) {
        support_pauses = NULL;
        for (unsigned i = 0; i < 2 && at >= SLOT; i++, at -= 0xf000) {
            value = 1000 + at;
            assert_int_equal(guest_read(&mmu, GPA(at), &old, 8, ACCESS_READ), 0);
            assert_int_equal(i ? guest_cmpxchg(&mmu, GPA(at), 8, old, value)
                               : guest_write(&mmu, GPA(at), &value, 8),
                             0);
            assert_int_equal(guest_cmpxchg(&mmu, GPA(at), 8, value + 1, 0), -EAGAIN);
            assert_int_equal(guest_read(&mmu, GPA(at), &old, 8, ACCESS_READ), 0);
            assert_int_equal(old, value);
        }
        assert_int_equal(mmu.lock.state, 0);
        want_from_now_on();
        mmu.slots_lock.taken = 1; /* so that the fault does not continue the change */
        assert_int_equal(mmu_fault(&mmu, GPA(SLOT), 1 | FAULT_FINAL, &info), FAULT_RETRY);
        mmu.slots_lock.taken = 0;
    }
    support_pauses = NULL;
    assert_true(at < SLOT + 0x20000); /* the writes went to all parts of the block */
    assert_int_not_equal(world_touch(&mmu, GPA(SLOT), 1).page.v, before.v);
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t page = SLOT + i * PAGE_SIZE;
        assert_int_equal(read_word(page), (511 - i) % 15 == 0 ? 1000 + page : i + 1);
    }
    assert_int_equal(mmu_host_remap(&mmu, GPA(SLOT + PAGES * PAGE_SIZE)), -EFAULT);
    stop();
}

/* ---- Recovery of large pages ----------------------------------------------------------------- */

#define EXECUTED 200u /* blocks, of which a recovery handles four */

static void execute_blocks(void)
{
    const struct mmu_config config = {.ad = true, .huge = true, .nx_huge = true};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    freed = pauses = 0;
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), EXECUTED * 512, 0), 0);
    for (uint64_t i = 0; i < EXECUTED; i++) {
        assert_int_equal(world_touch(&mmu, GPA(SLOT + i * 0x200000), 2).outcome, FAULT_FIXED);
        assert_int_equal(world_touch(&mmu, GPA(SLOT + i * 0x200000), 4).outcome, FAULT_FIXED);
    }
    tlb_leave(0);
    assert_int_equal(mmu_stats(&mmu).nx_splits, EXECUTED);
}

/* Recovery is a chore of the VM, in pieces. A second recovery continues after the first one. */
static void recovery_in_pieces(void **state)
{
    (void)state;
    execute_blocks();
    for (unsigned i = 0; i < 2; i++) {
        unsigned times = 0;
        assert_false(mmu_has_chores(&mmu));
        mmu_nx_begin(&mmu);
        do {
            uint64_t changes = mmu_stats(&mmu).spte_changes;
            assert_true(mmu_has_chores(&mmu));
            assert_int_equal(mmu.lock.state, 0);
            times++;
            (void)mmu_do_chore(&mmu);
            assert_true(mmu_stats(&mmu).spte_changes <= changes + 1);
        } while (mmu_nx_recovers(&mmu));
        assert_int_equal(times, 4);
    }
    assert_int_equal(mmu_stats(&mmu).nx_splits, EXECUTED - 8);
    for (uint64_t i = 0; i < EXECUTED; i++) {
        unsigned level;
        (void)mmu_spte(&mmu, GPA(SLOT + i * 0x200000), &level);
        assert_int_equal(level, i < 8 ? 2 : 1);
    }
    stop();
}

/* A recovery that finds nothing is also done in pieces, and ends. */
static void recovery_finds_nothing(void **state)
{
    (void)state;
    unsigned times = 0;
    execute_blocks();
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    mmu_nx_begin(&mmu);
    while (mmu_nx_recovers(&mmu)) {
        assert_int_equal(mmu_nx_piece(&mmu), 0);
        assert_true(++times < 50);
    }
    assert_true(times > 20);
    assert_int_equal(mmu_stats(&mmu).nx_splits, EXECUTED); /* the log needs small pages */
    stop();
}

/* ---- The end of a VM ------------------------------------------------------------------------- */

/* A VM with tables, pages, blocks and slots is destroyed in short pieces, and nothing is left. */
static void the_end_is_in_pieces(void **state)
{
    (void)state;
    for (unsigned logs = 0; logs < 2; logs++) {
        unsigned times = 0;
        start(false);
        slot(logs ? 16 : 0); /* mapped by small pages or by large ones */
        for (uint64_t i = 0; i < 20; i++)
            assert_int_equal(
                mmu_slot_add(&mmu, 10 + (uint32_t)i, GPA(PLACE + i * 0x40001000), 511, 0), 0);
        for (uint64_t i = 0; i < 20 * 511; i++)
            write_word(PLACE + i % 20 * 0x40001000 + i / 20 * PAGE_SIZE, i);
        tlb_leave(0);
        uint64_t before = freed;
        while (!mmu_destroy_piece(&mmu)) {
            assert_true(freed - before <= 160);
            before = freed;
            times++;
        }
        assert_true(times > 20 * 4);
        assert_int_equal(support_pages_in_use(), 0);
        assert_int_equal(support_warnings(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_follow_to_the_copy),
        cmocka_unit_test(recovery_in_pieces),
        cmocka_unit_test(recovery_finds_nothing),
        cmocka_unit_test(the_end_is_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
