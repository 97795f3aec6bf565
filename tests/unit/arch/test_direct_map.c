/* SPDX-License-Identifier: MIT */
/*
 * Blocks that leave the direct map: exactly the block is not translated any more, whatever leaves
 * map it, every other address is translated as before at each store, and showing the block again
 * restores it (rule X16). Devices and tables that come into it, with the stricter of the memory
 * types that are asked for (rule N118). And the windows onto what has left: the last two pointers
 * are valid, and a frame that has a window gets no other.
 */
#include "arch/x86/direct_map.h"
#include "arch/x86/pte.h"
#include "arch/x86/window.h"
#include "tests/unit/support.h"

#include <string.h>

#define GIB       0x40000000ull
#define MIB2      0x200000ull
#define RAM       (PTE_P | PTE_W | PTE_G | PTE_NX)
#define ACCESSED  0x60ull   /* the CPU has set A and D */
#define GIANT     (1 * GIB) /* mapped by one leaf of 1 GiB */
#define LARGE     (2 * GIB) /* mapped by leaves of 2 MiB */
#define SMALL     (3 * GIB) /* its first 2 MiB are mapped by leaves of 4 KiB */
#define READ_ONLY (2 * GIB + 100 * MIB2)

static hpa_t root, small_table;
static uint64_t *pdpt;

static hpa_t table(void)
{
    hpa_t page = page_alloc(0);
    if (!page_is_none(page))
        memset(phys_to_virt(page), 0, PAGE_SIZE);
    return page;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    root = table();
    hpa_t level3 = table(), level2 = table(), other = table();
    small_table = table();
    *pte_of(root, DIRECT_MAP, 4) = level3.v | PTE_P | PTE_W;
    pdpt = phys_to_virt(level3);
    pdpt[1] = GIANT | RAM | PTE_PS | ACCESSED;
    pdpt[2] = level2.v | PTE_P | PTE_W;
    pdpt[3] = other.v | PTE_P | PTE_W;
    for (unsigned i = 0; i < 512; i++)
        *pte_of(level2, DIRECT_MAP + i * MIB2, 2) = (LARGE + i * MIB2) | RAM | PTE_PS;
    *pte_of(level2, READ_ONLY, 2) &= ~PTE_W;
    *pte_of(other, 0, 2) = small_table.v | PTE_P | PTE_W;
    for (unsigned i = 0; i < 512; i++)
        *pte_of(small_table, i * PAGE_SIZE, 1) = (SMALL + i * PAGE_SIZE) | RAM | ACCESSED;
    return 0;
}

/* What the CPU finds: the physical address and the rights; 0: nothing. */
static uint64_t translate(uint64_t physical)
{
    hpa_t at = root;
    for (unsigned level = 4;; level--) {
        uint64_t entry = *pte_of(at, DIRECT_MAP + physical, level);
        if (!(entry & PTE_P))
            return 0;
        if (level == 1 || entry & PTE_PS) {
            uint64_t base = entry & PTE_ADDRESS, inside = physical & (pte_size(level) - 1);
            return (base + inside) | (entry & (PTE_W | PTE_NX | PTE_G | PTE_P));
        }
        at = HPA(entry & PTE_ADDRESS);
    }
}

static const uint64_t looked_at[] = {
    GIANT,
    GIANT + MIB2 - 4096,
    GIANT + MIB2,
    GIANT + 2 * MIB2 - 4096,
    GIANT + 2 * MIB2,
    2 * GIB - 4096,
    LARGE,
    LARGE + MIB2,
    LARGE + 2 * MIB2,
    3 * GIB - 4096,
    SMALL,
    SMALL + MIB2 - 4096,
};

/* Everything is translated to itself but the block at `hidden`. */
static void check_map(uint64_t hidden)
{
    for (unsigned i = 0; i < ARRAY_SIZE(looked_at); i++) {
        uint64_t address = looked_at[i];
        bool out = address - hidden < MIB2;
        assert_int_equal(translate(address), out ? 0 : address | (RAM & ~ACCESSED));
        assert_int_equal(direct_is_hidden(root, HPA(address)), out);
    }
}

static void only_the_block_leaves(void **state)
{
    (void)state;
    static const uint64_t blocks[] = {GIANT + MIB2, LARGE + MIB2, SMALL, GIANT, LARGE};
    check_map(0);
    for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_true(direct_hide(root, HPA(blocks[i]), table));
        check_map(blocks[i]);
        direct_show(root, HPA(blocks[i]));
        check_map(0);
    }
    assert_false(direct_is_hidden(root, HPA(0)));       /* not RAM */
    assert_false(direct_is_hidden(root, HPA(5 * GIB))); /* without a table */
}

/* What a CPU with L1TF could load by an entry that is not present is not the guest's memory. */
static void a_hidden_entry_has_no_address(void **state)
{
    (void)state;
    assert_true(direct_hide(root, HPA(LARGE + MIB2), table));
    uint64_t entry = *pte_of(HPA(pdpt[2] & PTE_ADDRESS), DIRECT_MAP + LARGE + MIB2, 2);
    assert_int_equal(entry & (PTE_ADDRESS | PTE_P), 0);
    assert_true(direct_hide(root, HPA(SMALL), table));
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(*pte_of(small_table, i * PAGE_SIZE, 1) & (PTE_ADDRESS | PTE_P), 0);
}

static void a_giant_page_stays_split(void **state)
{
    (void)state;
    uint64_t before = pdpt[1];
    support_fail_allocations_after(0);
    assert_false(direct_hide(root, HPA(GIANT + MIB2), table));
    assert_int_equal(pdpt[1], before);
    support_fail_allocations_after(1);
    assert_true(direct_hide(root, HPA(GIANT + MIB2), table));
    assert_true(direct_hide(root, HPA(GIANT + 2 * MIB2), table)); /* needs no table any more */
    uint64_t pages = support_pages_in_use();
    direct_show(root, HPA(GIANT + MIB2));
    check_map(GIANT + 2 * MIB2);
    direct_show(root, HPA(GIANT + 2 * MIB2));
    assert_int_equal(support_pages_in_use(), pages);
    check_map(0);
}

static void mistakes_are_bugs(void **state)
{
    (void)state;
    expect_assert_failure((void)!direct_hide(root, HPA(LARGE + PAGE_SIZE), table));
    expect_assert_failure((void)!direct_hide(root, HPA(READ_ONLY), table)); /* the image's */
    expect_assert_failure((void)!direct_hide(root, HPA(5 * GIB), table));
    expect_assert_failure(direct_show(root, HPA(LARGE)));
    assert_true(direct_hide(root, HPA(LARGE), table));
    expect_assert_failure((void)!direct_hide(root, HPA(LARGE), table));
    assert_true(direct_hide(root, HPA(SMALL), table));
    expect_assert_failure((void)!direct_hide(root, HPA(SMALL), table));
}

/* ---- Devices --------------------------------------------------------------------------------- */

#define DEVICE (PTE_W | PTE_G | PTE_NX)
#define AREA   (5 * GIB)

/* The entry that maps the address, and its level. */
static uint64_t leaf(uint64_t physical, unsigned *level)
{
    hpa_t at = root;
    for (*level = 4;; --*level) {
        uint64_t entry = *pte_of(at, DIRECT_MAP + physical, *level);
        if (*level == 1 || !(entry & PTE_P) || entry & PTE_PS)
            return entry;
        at = HPA(entry & PTE_ADDRESS);
    }
}

static uint64_t type_of(uint64_t physical)
{
    unsigned level;
    return leaf(physical, &level) & PTE_TYPE;
}

static void a_device_is_mapped(void **state)
{
    (void)state;
    unsigned level;
    assert_int_equal(direct_add(root, AREA, AREA + 2 * PAGE_SIZE, DEVICE, table), DIRECT_DONE);
    assert_int_equal(translate(AREA), AREA | RAM);
    assert_int_equal(translate(AREA + PAGE_SIZE), (AREA + PAGE_SIZE) | RAM);
    assert_int_equal(translate(AREA + 2 * PAGE_SIZE), 0);
    assert_int_equal(direct_add(root, 0, PAGE_SIZE, DEVICE, table), DIRECT_DONE);
    assert_int_equal(translate(0), RAM & ~PTE_W); /* the BIOS data, which are only read */
    leaf(AREA, &level);
    assert_int_equal(level, 1);
}

/* What is mapped as a table of the firmware and then wanted as a device's register is uncached;
 * afterwards the table is, too. */
static void the_stricter_type_stays(void **state)
{
    (void)state;
    static const uint64_t wc = DEVICE | PTE_WC, uc = DEVICE | PTE_UC;
    const uint64_t end = AREA + 3 * PAGE_SIZE;
    assert_int_equal(direct_add(root, AREA, end, DEVICE, table), DIRECT_DONE);
    assert_int_equal(direct_add(root, AREA + PAGE_SIZE, end, wc, table), DIRECT_RETYPED);
    assert_int_equal(direct_add(root, end - PAGE_SIZE, end, uc, table), DIRECT_RETYPED);
    assert_int_equal(direct_add(root, end - PAGE_SIZE, end, uc, table), DIRECT_DONE);
    assert_int_equal(direct_add(root, AREA, end, DEVICE, table), DIRECT_DONE);
    assert_int_equal(type_of(AREA), 0);
    assert_int_equal(type_of(AREA + PAGE_SIZE), PTE_WC);
    assert_int_equal(type_of(end - PAGE_SIZE), PTE_UC);
    assert_int_equal(translate(end - PAGE_SIZE), (end - PAGE_SIZE) | RAM);
}

static void ram_is_no_device(void **state)
{
    (void)state;
    static const uint64_t places[] = {GIANT, LARGE + MIB2, SMALL};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        unsigned level;
        uint64_t at = places[i], before = leaf(at, &level);
        assert_int_equal(direct_add(root, at, at + PAGE_SIZE, DEVICE, table), DIRECT_DONE);
        assert_int_equal(direct_add(root, at, at + PAGE_SIZE, DEVICE | PTE_UC, table),
                         DIRECT_IS_RAM);
        assert_int_equal(leaf(at, &level), before);
    }
}

/* 1 MiB, and then whole leaves; cached memory of the firmware gets small ones. */
static void large_areas_need_few_tables(void **state)
{
    (void)state;
    unsigned level;
    uint64_t start = AREA + MIB2 / 2, end = AREA + 128 * MIB2 + PAGE_SIZE;
    uint64_t before = support_pages_in_use();
    assert_int_equal(direct_add(root, start, end, DEVICE | PTE_UC, table), DIRECT_DONE);
    assert_int_equal(support_pages_in_use() - before, 3); /* of levels 2 and 1 */
    leaf(AREA + MIB2, &level);
    assert_int_equal(level, 2);
    for (uint64_t at = start; at < end; at += PAGE_SIZE) {
        assert_int_equal(translate(at), at | RAM);
        assert_int_equal(type_of(at), PTE_UC);
    }
    assert_int_equal(translate(start - PAGE_SIZE), 0);
    assert_int_equal(translate(end), 0);
    start = AREA + 256 * MIB2;
    assert_int_equal(direct_add(root, start, start + MIB2, DEVICE, table), DIRECT_DONE);
    leaf(start, &level);
    assert_int_equal(level, 1);
    assert_int_equal(direct_add(root, start, start + MIB2, DEVICE | PTE_UC, table), DIRECT_RETYPED);
    assert_int_equal(type_of(start + MIB2 - PAGE_SIZE), PTE_UC);
}

static void no_table_is_left_for_a_device(void **state)
{
    (void)state;
    support_fail_allocations_after(1);
    assert_int_equal(direct_add(root, AREA, AREA + PAGE_SIZE, DEVICE, table), DIRECT_NO_TABLE);
    assert_int_equal(translate(AREA), 0);
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* Opens a window as page_window() does. Returns its number. */
static unsigned open_window(uint64_t *entries, struct window_cpu *cpu, uint64_t frame, bool *open)
{
    unsigned chosen = window_choose(entries, cpu, HPA(frame), open);
    assert_true(chosen < WINDOWS_PER_CPU);
    if (!*open)
        entries[chosen] = frame | WINDOW_FLAGS;
    entries[chosen] |= ACCESSED; /* the CPU has used it */
    assert_int_equal(entries[chosen] & PTE_ADDRESS, frame);
    return chosen;
}

static void the_last_two_windows_stay_open(void **state)
{
    (void)state;
    uint64_t entries[WINDOWS_PER_CPU] = {0}, seed = 88172645463325252ull, last_frame = 0;
    struct window_cpu cpu = {0};
    unsigned last = 0, misses = 0;
    for (unsigned i = 0; i < 100000; i++) {
        bool open;
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t frame = (1 + (seed >> 20) % (i % 2 ? 3 : 12)) * PAGE_SIZE;
        unsigned chosen = open_window(entries, &cpu, frame, &open);
        misses += !open;
        if (i)
            assert_int_equal(entries[last] & PTE_ADDRESS, last_frame);
        for (unsigned w = 0; w < WINDOWS_PER_CPU; w++) /* each frame has one window */
            assert_true(w == chosen || (entries[w] & PTE_ADDRESS) != frame);
        last = chosen;
        last_frame = frame;
    }
    assert_true(misses > 10000 && misses < 60000);
}

static void a_walk_finds_its_windows_open(void **state)
{
    (void)state;
    uint64_t entries[WINDOWS_PER_CPU] = {0};
    struct window_cpu cpu = {0};
    unsigned misses = 0;
    for (unsigned i = 0; i < 1000; i++)
        for (unsigned level = 0; level < 5; level++) {
            bool open;
            (void)open_window(entries, &cpu, (level + 1) * PAGE_SIZE, &open);
            misses += !open;
        }
    assert_int_equal(misses, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_device_is_mapped, setup),
        cmocka_unit_test_setup(the_stricter_type_stays, setup),
        cmocka_unit_test_setup(ram_is_no_device, setup),
        cmocka_unit_test_setup(large_areas_need_few_tables, setup),
        cmocka_unit_test_setup(no_table_is_left_for_a_device, setup),
        cmocka_unit_test_setup(only_the_block_leaves, setup),
        cmocka_unit_test_setup(a_hidden_entry_has_no_address, setup),
        cmocka_unit_test_setup(a_giant_page_stays_split, setup),
        cmocka_unit_test_setup(mistakes_are_bugs, setup),
        cmocka_unit_test(the_last_two_windows_stay_open),
        cmocka_unit_test(a_walk_finds_its_windows_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
