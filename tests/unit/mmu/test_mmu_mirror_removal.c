/* SPDX-License-Identifier: MIT */
/*
 * Protected VMs (rules X2 to X5): how pages leave the mirror by conversions and deletions, and what
 * happens when the secure side refuses an operation.
 */
#include "mirror_world.h"

/* ---- Conversion ------------------------------------------------------------------------------ */

static void a_conversion_takes_a_page_of_the_other_pool(void **state)
{
    (void)state;
    uint64_t word = 0x5ec4e7;
    start();
    assert_int_equal(td_accepts(RAM, 1), TDX_SUCCESS);
    uint64_t *private = td_page(RAM, 2);
    private[0] = word;
    hpa_t frame = virt_to_phys(private);
    unsigned left = pool_left;
    uint64_t pages = support_pages_in_use();

    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), 1);
    assert_int_equal(pool_left, left + 1);
    assert_null(map_frames[pool_index(frame)].owner);
    uint64_t *shared = td_page(SHARED | RAM, 2);
    assert_false(pool_has(virt_to_phys(shared)));
    assert_int_equal(shared[0], 0);
    assert_int_equal(td_touch(RAM, 1), -EACCES);
    shared[0] = 0x99;
    assert_int_equal(guest_read(&mmu, GPA(SHARED | RAM), &word, 8, ACCESS_READ), 0);
    assert_int_equal(word, 0x99);
    check_mirror();
    assert_true(support_pages_in_use() > pages);

    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, false), 1);
    assert_false(support_page_is_used(virt_to_phys(shared)));
    assert_int_equal(td_touch(SHARED | RAM, 1), -EACCES);
    assert_int_equal(td_touch(RAM, 1), -EACCES); /* PENDING */
    assert_int_equal(td_accepts(RAM, 1), TDX_SUCCESS);
    assert_int_equal(td_page(RAM, 1)[0], 0);
    stop();
}

/* 4 KiB of 2 MiB: the other 511 pages keep their contents. */
static void a_conversion_splits_a_large_page(void **state)
{
    (void)state;
    start();
    assert_int_equal(td_accepts(RAM, 2), TDX_SUCCESS);
    for (uint64_t i = 0; i < 512; i++)
        td_page(RAM + i * PAGE_SIZE, 2)[3] = i + 1;
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x21000), 1, true), 1);
    for (uint64_t i = 0; i < 512; i++) {
        if (i == 0x21)
            assert_int_equal(td_touch(RAM + i * PAGE_SIZE, 1), -EACCES);
        else
            assert_int_equal(td_page(RAM + i * PAGE_SIZE, 1)[3], i + 1);
    }
    assert_int_equal(td_page(SHARED | (RAM + 0x21000), 1)[3], 0);
    assert_int_equal(op_calls[OP_SPLIT], 1);
    check_mirror();
    /* All of it, in pieces; pages that were never touched change sides, too. */
    for (uint64_t at = 0, n; at < 1024; at += n) {
        n = (uint64_t)mmu_convert(&mmu, GPA(RAM + at * PAGE_SIZE), 1024 - at, true);
        assert_in_range(n, 1, CONVERT_FRAMES);
    }
    assert_int_equal(op_calls[OP_REMOVE], 512);
    assert_int_equal(level_of(RAM), 0);
    stop();
}

static void the_hypervisor_has_no_access(void **state)
{
    (void)state;
    uint64_t word = 1;
    start();
    assert_int_equal(td_accepts(RAM, 1), TDX_SUCCESS);
    td_page(RAM, 2)[0] = 7;
    assert_int_equal(guest_read(&mmu, GPA(RAM), &word, 8, ACCESS_READ), -EACCES);
    assert_int_equal(guest_read(&mmu, GPA(RAM), &word, 8, ACCESS_FETCH), -EACCES);
    assert_int_equal(guest_write(&mmu, GPA(RAM), &word, 8), -EACCES);
    assert_int_equal(guest_load(&mmu, GPA(RAM), &word, 8), -EACCES);
    assert_int_equal(guest_may_write(&mmu, GPA(RAM)), -EACCES);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(RAM), 8, 7, 8), -EACCES);
    assert_null(guest_page(&mmu, GPA(RAM), ACCESS_READ));
    assert_null(guest_page(&mmu, GPA(RAM), ACCESS_FETCH));
    assert_int_equal(td_page(RAM, 1)[0], 7);
    assert_int_equal(word, 1);
    stop();
}

/* ---- What concerns the shared half only ------------------------------------------------------ */

static void other_operations_leave_the_mirror_alone(void **state)
{
    (void)state;
    start();
    struct mmu_change move = {.kind = CHANGE_MOVE, .id = 1, .gpa = GPA(0x10000000)};
    assert_int_equal(td_accepts(RAM, 2), TDX_SUCCESS);
    assert_int_equal(td_accepts(RAM + 0x200000, 1), TDX_SUCCESS);
    td_page(RAM, 2)[0] = 5;
    uint64_t leaf = mmu_spte(&mmu, GPA(RAM), &(unsigned){0});
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x201000), 1, true), 1);
    assert_int_equal(td_touch(SHARED | (RAM + 0x201000), 2), FAULT_FIXED);

    assert_int_equal(mmu_zap(&mmu, GPA(RAM), PAGES), 0);
    assert_int_equal(level_of(SHARED | (RAM + 0x201000)), 0);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), PAGES), 0);
    assert_int_equal(mmu_set_generation(&mmu, mmu_slot_generation(&mmu) + 1), 0);
    assert_int_equal(mmu_nx_recover(&mmu), 0);
    assert_int_equal(mmu_host_remap(&mmu, GPA(RAM)), -EFAULT);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), -EACCES);
    assert_true(logged("writes to frame 0x200 cannot be tracked: the VM is protected"));
    assert_int_equal(mmu_slot_flags(&mmu, 1, MEMSLOT_LOG_DIRTY), -EINVAL);
    assert_int_equal(mmu_slot_flags(&mmu, 1, MEMSLOT_READONLY), -EINVAL);
    assert_int_equal(mmu_slot_add(&mmu, 9, GPA(0x7000000), 1, MEMSLOT_READONLY), -EINVAL);
    assert_true(logged("the memory of a protected VM can neither be read-only (8) nor logged"));
    assert_int_equal(mmu_change(&mmu, &move), -EINVAL);
    assert_true(logged("slot 1: the private memory of a protected VM cannot be moved"));
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 4, MEMSLOT_PINNED), 0);
    assert_int_equal(mmu_convert(&mmu, GPA(0x1000), 1, true), -EBUSY);
    assert_true(logged("frame 0x1 cannot be converted: its slot 2 is pinned"));

    assert_int_equal(mmu_spte(&mmu, GPA(RAM), &(unsigned){0}), leaf);
    assert_int_equal(td_page(RAM, 1)[0], 5);
    stop();
}

static void a_deleted_slot_gives_its_pages_back(void **state)
{
    (void)state;
    start();
    unsigned left = pool_left;
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x3ffff000), 1026, 0), 0);
    assert_int_equal(td_accepts(0x3ffff000, 1), TDX_SUCCESS);
    assert_int_equal(td_accepts(0x40000000, 2), TDX_SUCCESS);
    assert_int_equal(td_accepts(0x40200000, 2), TDX_SUCCESS);
    assert_int_equal(td_accepts(0x40400000, 1), TDX_SUCCESS);
    td_page(0x40000000, 2)[0] = 9;
    assert_int_equal(mmu_slot_delete(&mmu, 2), 0);
    assert_int_equal(level_of(0x40000000), 0);
    assert_true(left - pool_left <= 4); /* the external tables stay */
    assert_int_equal(td_touch(0x40000000, 1), -EFAULT);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x40000000), 1024, 0), 0);
    assert_int_equal(td_accepts(0x40000000, 1), TDX_SUCCESS);
    assert_int_equal(td_page(0x40000000, 1)[0], 0);
    stop();
}

/* ---- Refusals of the secure side ------------------------------------------------------------- */

/* An operation that is refused once leaves the mirror as it was; the next try succeeds. */
static void refused_when_a_page_is_added(void **state)
{
    (void)state;
    static const struct {
        enum mirror_op op;
        unsigned after;
        const char *text;
    } cases[] = {
        {OP_LINK, 0, "refuses to link a table for private frame 0 at level 3: status 0x80000200"},
        {OP_LINK, 1, "refuses to link a table for private frame 0x200 at level 2"},
        {OP_AUG, 0, "refuses to augment private frame 0x203 at level 1"},
        {OP_TAKE, 0, "no private frame is left for an external table of private frame 0"},
        {OP_TAKE, 2, "no private frame is left for the page of private frame 0x203"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t status;
        start();
        fail_next(cases[i].op, cases[i].after, 1);
        int error = mmu_td_accept(&mmu, GPA(RAM + 0x3000), 1, &status);
        assert_int_equal(error, cases[i].op == OP_TAKE ? -ENOMEM : -EIO);
        assert_true(logged(cases[i].text));
        assert_int_equal(level_of(RAM + 0x3000), 0);
        assert_int_equal(mmu_mirror_stats(&mmu).refused, cases[i].op != OP_TAKE);
        check_mirror();
        assert_int_equal(td_accepts(RAM + 0x3000, 1), TDX_SUCCESS);
        stop();
    }
}

static void prepare_large(void)
{
    start();
    assert_int_equal(td_accepts(RAM, 2), TDX_SUCCESS);
    for (uint64_t i = 0; i < 512; i++)
        td_page(RAM + i * PAGE_SIZE, 2)[0] = i + 1;
}

/* Block is refused: the page was not touched. Track, split or a frame is refused: the page stays
 * BLOCKED, and the next access of the guest splits it. Nothing is lost in either case. */
static void refused_when_a_large_page_is_split(void **state)
{
    (void)state;
    static const enum mirror_op ops[] = {OP_BLOCK, OP_TRACK, OP_SPLIT, OP_TAKE};
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        prepare_large();
        fail_next(ops[i], 0, 1);
        int64_t result = mmu_convert(&mmu, GPA(RAM + 0x5000), 1, true);
        assert_int_equal(result, ops[i] == OP_TAKE ? -ENOMEM : -EIO);
        bool blocked = ops[i] != OP_BLOCK;
        assert_int_equal(mmu_mirror_stats(&mmu).stuck, blocked ? 512 : 0);
        assert_int_equal(level_of(RAM), blocked ? 0 : 2);
        check_mirror();
        fail_next(OP_SPLIT, 0, blocked);
        assert_int_equal(td_touch(RAM, 1), blocked ? -EIO : FAULT_FIXED);
        for (uint64_t page = 0; page < 512; page++)
            assert_int_equal(td_page(RAM + page * PAGE_SIZE, 1)[0], page + 1);
        assert_int_equal(mmu_mirror_stats(&mmu).stuck, 0);
        assert_int_equal(level_of(RAM), blocked ? 1 : 2);
        check_mirror();
        assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, true), 1);
        assert_int_equal(td_touch(SHARED | (RAM + 0x5000), 1), FAULT_FIXED);
        stop();
    }
}

/* The frames that could not leave stay private, and are never given back; those before and after
 * them change sides. */
static void refused_when_pages_are_removed(void **state)
{
    (void)state;
    static const struct {
        enum mirror_op op;
        int64_t
            result; /* of the conversion of 8 pages, if the operation for the third is refused */
        unsigned stuck, shared;
    } cases[] = {
        {OP_BLOCK, 2, 0, 2},
        {OP_TRACK, -EIO, 8, 0},
        {OP_REMOVE, 2, 1, 7},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        start();
        for (uint64_t page = 0; page < 8; page++)
            assert_int_equal(td_accepts(RAM + page * PAGE_SIZE, 1), TDX_SUCCESS);
        unsigned left = pool_left, shared = 0;
        fail_next(cases[i].op, cases[i].op == OP_TRACK ? 0 : 2, 1);
        assert_int_equal(mmu_convert(&mmu, GPA(RAM), 8, true), cases[i].result);
        assert_int_equal(mmu_mirror_stats(&mmu).stuck, cases[i].stuck);
        assert_int_equal(pool_left, left + cases[i].shared);
        check_mirror();
        for (uint64_t page = 0; page < 8; page++)
            shared += td_touch(SHARED | (RAM + page * PAGE_SIZE), 1) == FAULT_FIXED;
        assert_int_equal(shared, cases[i].shared);
        if (cases[i].stuck) {
            assert_int_equal(td_touch(RAM + 0x2000, 1), -EACCES);
            assert_true(logged("private frame 0x202 is BLOCKED, because its removal has failed"));
        }
        for (uint64_t page = 0; page < 8; page++) /* the next try succeeds */
            assert_int_equal(mmu_convert(&mmu, GPA(RAM + page * PAGE_SIZE), 1, true), 1);
        assert_int_equal(mmu_mirror_stats(&mmu).stuck, 0);
        assert_int_equal(pool_left, left + 8);
        stop();
    }
}

/* A slot with a page that cannot be removed is deleted nevertheless. Its page stays with the VM. */
static void a_deletion_leaves_pages_that_are_stuck(void **state)
{
    (void)state;
    start();
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 64, 0), 0);
    for (uint64_t page = 1; page <= 64; page++)
        assert_int_equal(td_accepts(page * PAGE_SIZE, 1), TDX_SUCCESS);
    unsigned left = pool_left;
    fail_next(OP_REMOVE, 40, 1);
    assert_int_equal(mmu_slot_delete(&mmu, 2), 0);
    assert_int_equal(mmu_mirror_stats(&mmu).stuck, 1);
    assert_int_equal(pool_left, left + 63);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 64, 0), 0);
    fail_next(OP_BLOCK, 0, 1);
    assert_int_equal(td_accepts(0x1000, 1), TDX_SUCCESS);
    assert_int_equal(mmu_slot_delete(&mmu, 2), 0);
    assert_int_equal(pool_left, left + 63);
    stop();
}

/* Another CPU is in the guest: the removal waits until it has left. */
static void a_removal_waits_for_other_cpus(void **state)
{
    (void)state;
    start();
    assert_int_equal(td_accepts(RAM, 2), TDX_SUCCESS); /* the wait of its split, too */
    assert_int_equal(td_accepts(RAM + 0x201000, 1), TDX_SUCCESS);
    td_page(RAM + 0x201000, 2)[0] = 6;
    epoch_online(1, NULL);
    tlb_enter(&mmu, 1);
    kicks = 0;
    uint64_t flushes = mmu_invept_for(&mmu, DEBT_REMOVAL_TRACKED);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), 1);
    assert_true(kicks > 0);
    tlb_enter(&mmu, 1); /* pays, for this reason */
    assert_true(mmu_invept_for(&mmu, DEBT_REMOVAL_TRACKED) > flushes);
    assert_int_equal(td_accepts(RAM + 0x200000, 2), TDX_PAGE_SIZE_MISMATCH); /* not empty */
    assert_int_equal(td_page(RAM + 0x201000, 1)[0], 6);
    assert_int_equal(op_calls[OP_FREE], 0);
    epoch_offline(1);
    stop();
}

/* The epoch of somebody else is not over: track is called again after a wait. */
static void a_busy_epoch_is_waited_for(void **state)
{
    (void)state;
    start();
    assert_int_equal(td_accepts(RAM, 1), TDX_SUCCESS);
    fail_next(OP_TRACK, 0, 1);
    fail.status = TDX_PREVIOUS_TLB_EPOCH_BUSY;
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), 1);
    assert_int_equal(op_calls[OP_TRACK], 2);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversion_takes_a_page_of_the_other_pool),
        cmocka_unit_test(a_conversion_splits_a_large_page),
        cmocka_unit_test(the_hypervisor_has_no_access),
        cmocka_unit_test(other_operations_leave_the_mirror_alone),
        cmocka_unit_test(a_deleted_slot_gives_its_pages_back),
        cmocka_unit_test(refused_when_a_page_is_added),
        cmocka_unit_test(refused_when_a_large_page_is_split),
        cmocka_unit_test(refused_when_pages_are_removed),
        cmocka_unit_test(a_deletion_leaves_pages_that_are_stuck),
        cmocka_unit_test(a_removal_waits_for_other_cpus),
        cmocka_unit_test(a_busy_epoch_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
