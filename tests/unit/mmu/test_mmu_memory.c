/* SPDX-License-Identifier: MIT */
/*
 * Memory: accesses of the hypervisor to guest memory (decision D16); running out of host memory at
 * each allocation in turn; limits on what a hostile guest can use; and that all memory is freed.
 */
#include "tests/unit/mmu/mmu_world.h"

#include <string.h>

static struct mmu mmu;
static const struct mmu_config plain = {
    .mmio_caching = true, .ad = true, .huge = true, .slot_generation_start = 1};

static int setup(void **state)
{
    (void)state;
    world_reset(WORLD_CAPS, &plain);
    return mmu_create(&mmu);
}

static int teardown(void **state)
{
    (void)state;
    support_fail_allocations_after(UINT64_MAX);
    mmu_destroy(&mmu);
    return support_pages_in_use() == 0 ? 0 : -1;
}

static void add(uint32_t id, uint64_t gpa, uint64_t pages, uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&mmu, id, GPA(gpa), pages, flags), 0);
}

/* ---- The accessor ---------------------------------------------------------------------------- */

static void copies_across_pages_and_slots(void **state)
{
    (void)state;
    static unsigned char out[3 * 4096], in[3 * 4096];
    add(0, 0x100000, 2, 0);
    add(1, 0x102000, 2, 0);
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (unsigned char)(i * 7 + 1);
    assert_int_equal(guest_write(&mmu, GPA(0x100801), out, sizeof(out)), 0);
    assert_int_equal(guest_read(&mmu, GPA(0x100801), in, sizeof(in), ACCESS_READ), 0);
    assert_memory_equal(out, in, sizeof(out));
    assert_int_equal(mmu_stats(&mmu).spte_changes, 0); /* no SPTE is needed, and none is made */
    assert_int_equal(mmu_stats(&mmu).slot_searches, 0);

    struct world_access a =
        world_touch(&mmu, GPA(0x101000), ACCESS_READ); /* the guest sees the data */
    assert_memory_equal(phys_to_virt(a.page), out + 0x7ff, 4096);
    assert_int_equal(guest_read(&mmu, GPA(0x103801), in, 0x7ff, ACCESS_READ), 0);
    for (size_t i = 0; i < 0x7ff; i++)
        assert_int_equal(in[i], 0); /* it was never written */
}

static void bytes_without_a_slot(void **state)
{
    (void)state;
    uint64_t word = 0x1122334455667788;
    add(0, 0x100000, 1, 0);
    assert_int_equal(guest_write(&mmu, GPA(0x100ffc), &word, 8), -EFAULT);
    uint32_t half = 0;
    assert_int_equal(guest_read(&mmu, GPA(0x100ffc), &half, 4, ACCESS_FETCH), 0);
    assert_int_equal(half, 0x55667788); /* the bytes before the first bad one were written */
    assert_int_equal(guest_read(&mmu, GPA(0x100ffc), &word, 8, ACCESS_READ), -EFAULT);
    assert_int_equal(guest_read(&mmu, GPA(0xfffff), &word, 1, ACCESS_READ), -EFAULT);
    assert_int_equal(guest_read(&mmu, GPA(~0ull - 3), &word, 8, ACCESS_READ), -EFAULT);
    assert_int_equal(guest_read(&mmu, GPA(0xfffff), &word, 0, ACCESS_READ), 0);
}

/* Counted in pages, blocks, and slots; a page that was never touched is not there. */
static void pages_behind_the_slots(void **state)
{
    (void)state;
    uint64_t word = 1;
    add(0, 0x100000, 4, 0);
    add(1, 0x400000, 1024, 0);
    assert_int_equal(mmu_ram_pages(&mmu), 0);
    assert_int_equal(guest_write(&mmu, GPA(0x102ffc), &word, sizeof(word)), 0);
    assert_int_equal(mmu_ram_pages(&mmu), 2);
    (void)world_touch(&mmu, GPA(0x102000), ACCESS_WRITE);
    assert_int_equal(mmu_ram_pages(&mmu), 2);
    (void)world_touch(&mmu, GPA(0x600000), ACCESS_WRITE);
    assert_int_equal(mmu_ram_pages(&mmu), 2 + 512);
    assert_int_equal(mmu_slot_delete(&mmu, 0), 0);
    assert_int_equal(mmu_ram_pages(&mmu), 512);
}

static void read_only_memory(void **state)
{
    (void)state;
    uint32_t word = 0xf00d, back = 0;
    add(0, 0x100000, 1, MEMSLOT_READONLY);
    assert_int_equal(guest_write(&mmu, GPA(0x100000), &word, 4), -EFAULT);
    assert_int_equal(guest_may_write(&mmu, GPA(0x100000)), -EFAULT);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100000), 4, 0, 1), -EFAULT);
    assert_int_equal(guest_load(&mmu, GPA(0x100000), &word, 4), 0);
    assert_int_equal(guest_read(&mmu, GPA(0x100000), &back, 4, ACCESS_READ), 0);
    assert_int_equal(back, word);
}

static void compare_and_exchange(void **state)
{
    (void)state;
    uint64_t word = 0xaaaaaaaabbbbbbbb;
    add(0, 0x100000, 1, 0);
    assert_int_equal(guest_write(&mmu, GPA(0x100ff8), &word, 8), 0);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ff8), 8, word, word + 1), 0);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ff8), 8, word, word + 2), -EAGAIN);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ffc), 4, 0xaaaaaaaa, 0xcccccccc), 0);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ffc), 4, 0xaaaaaaaa, 1), -EAGAIN);
    assert_int_equal(guest_read(&mmu, GPA(0x100ff8), &word, 8, ACCESS_READ), 0);
    assert_true(word == 0xccccccccbbbbbbbc);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ffc), 8, 0, 1), -EINVAL);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ffe), 4, 0, 1), -EINVAL);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x100ff8), 2, 0, 1), -EINVAL);
    assert_int_equal(guest_cmpxchg(&mmu, GPA(0x200000), 8, 0, 1), -EFAULT);
}

static void page_pointers(void **state)
{
    (void)state;
    uint64_t word = 42;
    add(0, 0x200000, 1024, 0);
    assert_null(guest_page(&mmu, gfn_to_gpa(GFN(0x200)),
                           ACCESS_READ)); /* not populated yet, nor by this call */
    assert_null(guest_page(&mmu, gfn_to_gpa(GFN(0x100)), ACCESS_READ));
    assert_int_equal(guest_write(&mmu, GPA(0x3ff010), &word, 8), 0);
    assert_int_equal(((const uint64_t *)guest_page(&mmu, gfn_to_gpa(GFN(0x3ff)), ACCESS_READ))[2],
                     42);
    struct world_access a = world_touch(&mmu, GPA(0x3ff000), ACCESS_READ);
    assert_ptr_equal(guest_page(&mmu, gfn_to_gpa(GFN(0x3ff)), ACCESS_READ), phys_to_virt(a.page));
    uint64_t sequence = mmu_invalidate_sequence(&mmu);
    assert_int_equal(mmu_slot_delete(&mmu, 0), 0);
    assert_null(guest_page(&mmu, gfn_to_gpa(GFN(0x3ff)), ACCESS_READ));
    assert_int_equal(mmu_invalidate_sequence(&mmu), sequence + 2);
}

/* ---- Running out ----------------------------------------------------------------------------- */

/* A short life of a VM. Returns the first error, or 0. */
static int short_life(bool *alive)
{
    struct mmio_info info;
    char byte = 1;
    int error = mmu_create(&mmu);
    *alive = !error;
    if (!error)
        error = mmu_slot_add(&mmu, 0, GPA(0x1ff000), 514, 0);
    if (!error)
        error = mmu_slot_add(&mmu, 1, GPA(0x40000000), 3 * 512 * 512, 0); /* order 2 directory */
    const uint64_t gpas[] = {0x1ff000, 0x200000, 0x400000, 0xfe000000, 0x40000000, 0x8000000000};
    for (size_t i = 0; !error && i < ARRAY_SIZE(gpas); i++) {
        int outcome = mmu_fault(&mmu, GPA(gpas[i]), ACCESS_WRITE, &info);
        error = outcome < 0 ? outcome : 0;
    }
    if (!error)
        error = guest_write(&mmu, GPA(0x7ffff000), &byte, 1);
    if (!error)
        error = mmu_slot_move(&mmu, 0, GPA(0x10000000));
    if (!error)
        error = mmu_slot_delete(&mmu, 1);
    return error;
}

/* Each allocation fails once, with all later ones: the result is -ENOMEM and a message, the tables
 * are consistent, and every page is freed. */
static void each_allocation_fails_in_turn(void **state)
{
    (void)state;
    bool alive;
    mmu_destroy(&mmu);
    support_fail_allocations_after(1u << 20);
    unsigned failures = 0;
    for (uint64_t n = 0;; n++) {
        support_reset();
        support_fail_allocations_after(n);
        int error = short_life(&alive);
        if (alive) {
            world_check(&mmu);
            mmu_destroy(&mmu);
        }
        assert_int_equal(support_pages_in_use(), 0);
        assert_int_equal(support_warnings(), 0);
        if (!error)
            break;
        assert_int_equal(error, -ENOMEM);
        assert_non_null(strstr(support_log(), "memory"));
        failures++;
    }
    assert_in_range(failures, 12, 100);
    support_reset();
    assert_int_equal(mmu_create(&mmu), 0); /* for the teardown */
}

/* Without 2 MiB blocks the pages are allocated one by one. */
static void no_block_is_no_error(void **state)
{
    (void)state;
    struct mmio_info info;
    add(0, 0x200000, 512, 0);
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    static hpa_t hoard[SUPPORT_RAM_PAGES / 512];
    unsigned hoarded = 0;
    hpa_t words = page_alloc(0), page = page_alloc(0); /* two single pages stay free */
    while (!page_is_none(hoard[hoarded] = page_alloc(9)))
        hoarded++;
    page_free(words, 0);
    page_free(page, 0);
    assert_int_equal(mmu_fault(&mmu, GPA(0x200000), ACCESS_WRITE, &info), FAULT_FIXED);
    assert_int_equal(mmu_stats(&mmu).pages[0], 1);
    assert_int_equal(mmu_stats(&mmu).pages[1], 0);
    while (hoarded)
        page_free(hoard[--hoarded], 9);
}

/* A guest that touches MMIO everywhere gets a table for each access, up to a limit. */
static void scattered_accesses_cost_the_guest_not_the_host(void **state)
{
    (void)state;
    add(0, 0x200000, 512, 0);
    world_touch(&mmu, GPA(0x200000), ACCESS_WRITE);
    uint64_t most = 0;
    for (uint64_t i = 1; i < 3000; i++) {
        struct world_access a = world_touch(&mmu, GPA(i << 27), ACCESS_READ);
        assert_int_equal(a.outcome, FAULT_EMULATE);
        most = support_pages_in_use() > most ? support_pages_in_use() : most;
    }
    assert_in_range(most, 512, 512 + 512 + 16); /* the block, and the same number of tables */
    assert_in_range(mmu_stats(&mmu).full_zaps, 5, 50);
    assert_int_equal(world_touch(&mmu, GPA(0x200000), ACCESS_WRITE).outcome, FAULT_FIXED);
    world_check(&mmu);
}

/* The limit grows with the memory: a guest that touches all of it never reaches the limit. */
static void all_of_a_large_slot(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    support_reset();
    struct mmu_config small = plain;
    small.huge = false;
    assert_int_equal(mmu_setup(&spte_format.caps, &small), 0);
    assert_int_equal(mmu_create(&mmu), 0);
    struct mmio_info info;
    add(0, 0x1ff000, 1024 * 512, 0);
    for (uint64_t i = 0; i < 1024; i++)
        assert_int_equal(mmu_fault(&mmu, GPA(0x1ff000 + (i << 21)), ACCESS_WRITE, &info),
                         FAULT_FIXED);
    assert_int_equal(mmu_stats(&mmu).full_zaps, 0);
    assert_int_equal(mmu_stats(&mmu).pages[0], 1024);
    assert_true(mmu_stats(&mmu).tables > 1024);
    world_check(&mmu);
}

/* The iterator visits each entry of a range once, parents first (rule W1). */
static void the_walk_is_in_pre_order(void **state)
{
    (void)state;
    struct tdp_iter iter;
    add(0, 0x3fe000, 4, 0); /* two frames on each side of a 2 MiB border */
    for (uint64_t gpa = 0x3fe000; gpa < 0x402000; gpa += 0x1000)
        world_touch(&mmu, GPA(gpa), ACCESS_READ);
    static const struct {
        uint64_t gfn;
        unsigned level;
    } expected[] = {{0x3ff, 4}, {0x3ff, 3}, {0x3ff, 2}, {0x3ff, 1},
                    {0x400, 2}, {0x400, 1}, {0x401, 1}};
    unsigned n = 0;
    tdp_for_each(&iter, &mmu, GFN(0x3ff), GFN(0x402))
    {
        assert_true(n < ARRAY_SIZE(expected));
        assert_int_equal(iter.gfn.v, expected[n].gfn);
        assert_int_equal(iter.level, expected[n].level);
        n++;
    }
    assert_int_equal(n, ARRAY_SIZE(expected));
    n = 0;
    tdp_for_each(&iter, &mmu, GFN(0x400), GFN(0x400)) n++;
    assert_int_equal(n, 0);
    tdp_for_each(&iter, &mmu, GFN(BIT(36) - 1), GFN(BIT(36))) n++;
    assert_int_equal(n, 1); /* the last entry of the root, empty */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(copies_across_pages_and_slots),
        T(bytes_without_a_slot),
        T(pages_behind_the_slots),
        T(read_only_memory),
        T(compare_and_exchange),
        T(page_pointers),
        T(each_allocation_fails_in_turn),
        T(no_block_is_no_error),
        T(scattered_accesses_cost_the_guest_not_the_host),
        T(all_of_a_large_slot),
        T(the_walk_is_in_pre_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
