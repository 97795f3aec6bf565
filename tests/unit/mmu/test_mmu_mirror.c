/* SPDX-License-Identifier: MIT */
/*
 * Protected VMs (rules X2 to X5): which pages a private access finds, what the external tables have
 * after each change of the mirror, and how the initial image is added.
 */
#include "mirror_world.h"

/* ---- Pages ----------------------------------------------------------------------------------- */

static void a_mirror_needs_its_shared_bit_and_no_memory(void **state)
{
    (void)state;
    struct secure_td other = {.root_level = EPT_LEVEL_1G, .gfn_end = 1ull << 27};
    world_reset(WORLD_CAPS, &usual);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &other), -EINVAL);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_SHARED), 0);
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &other), -EINVAL);
    assert_true(logged("can have no mirror: its shared bit must be 39, and its only stolen bit"));
    mmu_destroy(&mmu);

    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    other.root_level = EPT_LEVEL_2M;
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &other), -EINVAL);
    assert_true(logged("must cover 512 GiB by entries of 1 GiB"));
    other.root_level = EPT_LEVEL_1G;
    other.gfn_end--;
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &other), -EINVAL);
    other.gfn_end++;
    support_fail_allocations_after(0);
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &other), -ENOMEM);
    support_fail_allocations_after(UINT64_MAX);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &other), -EINVAL);
    assert_true(logged("it has memory already"));
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

static void a_fault_adds_a_page_that_is_pending(void **state)
{
    (void)state;
    start();
    struct mmio_info info;
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_READ | FAULT_FINAL, &info), FAULT_FIXED);
    assert_int_equal(state_of(RAM, 1), SECURE_PENDING);
    assert_int_equal(level_of(RAM), 1);
    assert_int_equal(level_of(RAM + PAGE_SIZE), 0);
    check_mirror();
    assert_int_equal(td_touch(RAM, 1), -EACCES);
    assert_true(logged("an access to private frame 0x200, which is PENDING at level 1: the guest "
                       "must accept a page before it uses it"));
    td.pending_ve = true;
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE | FAULT_FINAL, &info), FAULT_VE);
    td.pending_ve = false;
    assert_int_equal(td_accepts(RAM, 1), TDX_SUCCESS);
    assert_int_equal(td_touch(RAM, 4), FAULT_FIXED);
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE | FAULT_FINAL, &info), FAULT_SPURIOUS);
    stop();
}

static void an_accepted_page_is_zero_and_is_kept(void **state)
{
    (void)state;
    uint64_t status;
    start();
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 1, &status), -EAGAIN);
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 1, &status), 0);
    assert_int_equal(status, TDX_SUCCESS);
    uint64_t *page = td_page(RAM, 2);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(page[i], 0);
    page[7] = 0x1234;
    assert_int_equal(td_accepts(RAM, 1), TDX_PAGE_ALREADY_ACCEPTED);
    assert_int_equal(td_page(RAM, 1)[7], 0x1234);
    hpa_t found;
    unsigned level;
    assert_int_equal(mmu_gpa_to_pfn(&mmu, GPA(RAM), &found, &level), 0);
    assert_ptr_equal(phys_to_virt(found), page);
    stop();
}

static void a_large_page_is_accepted_at_once(void **state)
{
    (void)state;
    start();
    assert_int_equal(td_accepts(RAM + 0x200000, 2), TDX_SUCCESS);
    assert_int_equal(level_of(RAM + 0x200000), 2);
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t gpa = RAM + 0x200000 + i * PAGE_SIZE;
        hpa_t found;
        unsigned level;
        uint64_t *page = td_page(gpa, 2);
        assert_int_equal(page[0] | page[511], 0);
        assert_int_equal(mmu_gpa_to_pfn(&mmu, GPA(gpa), &found, &level), 0);
        assert_ptr_equal(phys_to_virt(found), page); /* with the offset in the large page (W3) */
    }
    assert_int_equal(op_calls[OP_AUG], EPT_ENTRIES / SECURE_PIECE);
    stop();
}

/* Where no large leaf fits, the guest is told to accept small pages. Where it is only the
 * hypervisor that has none, it accepts 512 small ones at once. */
static void a_large_page_needs_room_memory_and_one_side(void **state)
{
    (void)state;
    start();
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x40001000), 1024, 0), 0);
    assert_int_equal(td_accepts(0x40000000 + 0x400000, 2), TDX_PAGE_SIZE_MISMATCH); /* its end */
    uint64_t status;
    assert_int_equal(mmu_td_accept(&mmu, GPA(0x40000000), 2, &status), -EFAULT);
    assert_int_equal(td_accepts(0x40200000, 2), TDX_SUCCESS);

    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, true), 1);
    assert_int_equal(td_accepts(RAM, 2), TDX_PAGE_SIZE_MISMATCH);
    assert_int_equal(level_of(RAM), 1);

    fail_next(OP_TAKE, 0, 1); /* no block of 2 MiB is left, but small pages are */
    assert_int_equal(td_accepts(RAM + 0x200000, 2), TDX_SUCCESS);
    assert_int_equal(level_of(RAM + 0x200000), 1);
    pool_left = 0;
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM + 0x6000), 1, &status), -ENOMEM);
    assert_true(logged("no private frame is left for the page of private frame 0x206"));
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM + 0x400000), 1, &status), -ENOMEM);
    assert_true(logged("no private frame is left for an external table of private frame 0x600"));
    pool_left = POOL_FRAMES;
    for (unsigned i = 0; i < POOL_FRAMES; i++)
        pool_left -= pool_taken[i];
    assert_int_equal(td_accepts(RAM + 0x400000, 2), TDX_SUCCESS);
    stop();
}

static bool pauses;
static bool does_pause(void)
{
    return pauses;
}

static void accept_large_as_small(const struct mmu_config *config)
{
    uint64_t status;
    td_create(config);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_td_finalise(&mmu), 0);
    support_pauses = does_pause;
    pauses = true;
    unsigned tries = 0;
    while (mmu_td_accept(&mmu, GPA(RAM), 2, &status) == -EAGAIN)
        tries++;
    assert_int_equal(tries, 1 + 511 / 8 + 1); /* the first makes the table; eight at a time */
    assert_int_equal(status, TDX_SUCCESS);
    for (uint64_t i = 0; i < 512; i++)
        assert_int_equal(td_page(RAM + i * PAGE_SIZE, 2)[0], 0);
    assert_int_equal(level_of(RAM + 0x1ff000), 1);
    assert_int_equal(level_of(RAM + 0x200000), 0);
    assert_int_equal(td_accepts(RAM, 2), TDX_PAGE_ALREADY_ACCEPTED);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, true), 1);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, false), 1);
    assert_int_equal(td_accepts(RAM, 2), TDX_PAGE_SIZE_MISMATCH); /* 511 are MAPPED */
    assert_int_equal(td_accepts(RAM + 0x5000, 1), TDX_SUCCESS);
    stop();
}

static void small_pages_where_large_ones_are_off(void **state)
{
    (void)state;
    struct mmu_config small = usual;
    small.huge = false;
    accept_large_as_small(&small);
    small = usual;
    small.nx_huge = true;
    accept_large_as_small(&small);
}

/* The table of small pages that have been converted is freed when it is empty. If that is refused,
 * it is tried again when the guest needs a page there. */
static void an_empty_table_gives_way_to_a_large_page(void **state)
{
    (void)state;
    static const enum mirror_op ops[] = {OP_BLOCK, OP_TRACK, OP_FREE, OP_READ};
    for (unsigned i = 0; i <= ARRAY_SIZE(ops); i++) {
        uint64_t status;
        start();
        assert_int_equal(td_accepts(RAM + 0x1000, 1), TDX_SUCCESS);
        unsigned left = pool_left;
        assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x1000), 1, true), 1);
        assert_int_equal(td_accepts(RAM, 2), TDX_PAGE_SIZE_MISMATCH); /* not of one side */
        assert_int_equal(op_calls[OP_FREE], 0);
        assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x1000), 1, false), 1);
        if (i < ARRAY_SIZE(ops)) {
            fail_next(ops[i], 0, 1);
            assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 2, &status), -EIO);
            check_mirror();
        }
        if (i % 2 && i < ARRAY_SIZE(ops)) { /* a small page there */
            assert_int_equal(td_accepts(RAM + 0x2000, 1), TDX_SUCCESS);
            assert_int_equal(level_of(RAM + 0x2000), 1);
            assert_int_equal(td_touch(RAM + 0x2000, 2), FAULT_FIXED);
            assert_int_equal(pool_left, left);
        } else {
            assert_int_equal(td_accepts(RAM, 2), TDX_SUCCESS);
            assert_int_equal(level_of(RAM), 2);
            assert_int_equal(td_touch(RAM + 0x2000, 2), FAULT_FIXED);
            assert_int_equal(pool_left, left + 2 - 512);
        }
        stop();
    }
}

/* Another CPU has asked for the large page, which is PENDING. */
static void a_small_accept_splits_a_large_page(void **state)
{
    (void)state;
    uint64_t status;
    start();
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 2, &status), -EAGAIN);
    assert_int_equal(td_accepts(RAM + 0x3000, 1), TDX_SUCCESS);
    assert_int_equal(level_of(RAM), 1);
    assert_int_equal(state_of(RAM, 1), SECURE_PENDING);
    assert_int_equal(state_of(RAM + 0x3000, 1), SECURE_MAPPED);
    assert_int_equal(td_touch(RAM + 0x3000, 2), FAULT_FIXED);
    assert_int_equal(mmu_stats(&mmu).splits, 1);
    stop();
}

static void accept_of_what_is_not_private(void **state)
{
    (void)state;
    uint64_t status;
    start();
    assert_int_equal(mmu_td_accept(&mmu, GPA(SHARED | RAM), 1, &status), 0);
    assert_int_equal(status, TDX_OPERAND_INVALID);
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM + 0x1000), 2, &status), 0);
    assert_int_equal(status, TDX_OPERAND_INVALID);
    assert_int_equal(mmu_td_accept(&mmu, GPA(0x7f000000), 1, &status), -EFAULT);
    assert_true(logged("no memslot covers private frame 0x7f000"));
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), 1);
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 1, &status), -EACCES);
    assert_true(logged("a private access to frame 0x200, which is shared"));
    assert_int_equal(td_touch(RAM, 1), -EACCES);
    assert_int_equal(td_touch(0x7f000000, 1), -EFAULT);
    stop();
}

static void interrupt_aug(enum mirror_op op, gfn_t gfn)
{
    (void)gfn;
    if (op == OP_AUG)
        pauses = op_calls[OP_AUG] % 2 == 0;
}

/* Clearing a large page is interrupted; the page is kept, and used for the next large one. */
static void a_large_page_is_cleared_in_pieces(void **state)
{
    (void)state;
    uint64_t status;
    start();
    support_pauses = does_pause;
    op_hook = interrupt_aug;
    fail_next(OP_AUG, 0, 5);
    fail.status = TDX_INTERRUPTED_RESUMABLE;
    unsigned left = pool_left;
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 2, &status), -EAGAIN);
    assert_int_equal(op_calls[OP_AUG], 2);
    assert_int_equal(level_of(RAM), 0);
    assert_true(mmu.mirror.clearing);
    assert_int_equal(left - pool_left, 512 + 1);
    assert_int_equal(td_accepts(RAM, 2), TDX_SUCCESS);
    assert_int_equal(op_calls[OP_AUG], 5 + EPT_ENTRIES / SECURE_PIECE);
    assert_false(mmu.mirror.clearing);
    assert_int_equal(left - pool_left, 512 + 1);
    stop();
}

static unsigned retried;
static gpa_t frozen; /* what is accepted */
static void fault_beside(enum mirror_op op, gfn_t gfn)
{
    struct mmio_info info;
    (void)gfn;
    if (op != OP_LINK && op != OP_AUG)
        return;
    op_hook = NULL;
    assert_int_equal(mmu_fault(&mmu, frozen, ACCESS_READ, &info), FAULT_RETRY);
    op_hook = fault_beside;
    retried++;
}

/* W4: what another CPU does while an operation is called finds the entry FROZEN. */
static void nobody_acts_on_a_frozen_entry(void **state)
{
    (void)state;
    uint64_t status;
    start();
    op_hook = fault_beside;
    frozen = GPA(RAM);
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM), 1, &status), -EAGAIN);
    assert_int_equal(retried, 3); /* two tables and the page */
    frozen = GPA(RAM + 0x200000);
    assert_int_equal(mmu_td_accept(&mmu, GPA(RAM + 0x200000), 2, &status), -EAGAIN);
    assert_int_equal(retried, 3 + EPT_ENTRIES / SECURE_PIECE);
    op_hook = NULL;
    stop();
}

/* ---- The initial image ----------------------------------------------------------------------- */

static const uint64_t image[512] = {1, 2, 3, [511] = 4};

static void lie(enum mirror_op op, gfn_t gfn)
{
    hpa_t page = HPA(0);
    enum secure_state state;
    if (op != OP_READ)
        return;
    op_hook = NULL; /* the secure side has another page there than mmu/ believes */
    assert_int_equal(secure_read(&td, gfn, 1, &page, &state), TDX_SUCCESS);
    assert_int_equal(secure_range_block(&td, gfn, 1), TDX_SUCCESS);
    assert_int_equal(secure_track(&td), TDX_SUCCESS);
    assert_int_equal(secure_page_remove(&td, gfn, 1), TDX_SUCCESS);
    op_give(&td, page, 1);
    pool_taken[pool_index(page)] = true;
    hpa_t other = op_take(&td, 1);
    assert_int_equal(secure_page_add(&td, gfn, other, image), TDX_SUCCESS);
}

static void the_initial_image_is_verified(void **state)
{
    (void)state;
    td_create(&usual);
    measured = 0;
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 1, MEMSLOT_SHARED), 0);
    assert_int_equal(mmu_td_add(&mmu, GFN(0x200), image), 0);
    assert_memory_equal(td_page(RAM, 1), image, PAGE_SIZE); /* needs no ACCEPT */
    assert_int_equal(mmu_td_add(&mmu, GFN(0x200), image), -EEXIST);
    assert_true(logged("private frame 0x200 has been added to the VM already"));
    assert_int_equal(mmu_td_add(&mmu, GFN(0x1), image), -EACCES);
    assert_int_equal(mmu_td_add(&mmu, GFN(0x100), image), -EFAULT);
    assert_int_equal(measured, 1);
    check_mirror();

    op_hook = lie;
    assert_int_equal(mmu_td_add(&mmu, GFN(0x201), image), -EIO);
    assert_true(logged("private frame 0x201 was added as page"));
    assert_true(logged("but the secure side has"));
    op_hook = NULL;

    struct mmio_info info; /* a fault before the VM is finalised adds nothing */
    assert_int_equal(mmu_fault(&mmu, GPA(RAM + 0x5000), ACCESS_READ, &info), -EIO);
    assert_true(logged("refuses to augment private frame 0x205 at level 1: status "
                       "0xc000060800000000"));
    assert_int_equal(mmu_td_finalise(&mmu), 0);
    assert_int_equal(mmu_td_finalise(&mmu), -EIO);
    assert_int_equal(mmu_td_add(&mmu, GFN(0x205), image), -EIO);
    assert_true(logged("refuses to add private frame 0x205 at level 1"));
    assert_int_equal(td_accepts(RAM, 1), TDX_PAGE_ALREADY_ACCEPTED);
    td_destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mirror_needs_its_shared_bit_and_no_memory),
        cmocka_unit_test(a_fault_adds_a_page_that_is_pending),
        cmocka_unit_test(an_accepted_page_is_zero_and_is_kept),
        cmocka_unit_test(a_large_page_is_accepted_at_once),
        cmocka_unit_test(a_large_page_needs_room_memory_and_one_side),
        cmocka_unit_test(small_pages_where_large_ones_are_off),
        cmocka_unit_test(an_empty_table_gives_way_to_a_large_page),
        cmocka_unit_test(a_small_accept_splits_a_large_page),
        cmocka_unit_test(accept_of_what_is_not_private),
        cmocka_unit_test(a_large_page_is_cleared_in_pieces),
        cmocka_unit_test(nobody_acts_on_a_frozen_entry),
        cmocka_unit_test(the_initial_image_is_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
