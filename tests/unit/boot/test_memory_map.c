/* SPDX-License-Identifier: MIT */
/* The machine's memory map against a model that knows the kind of each page: entries in any order,
 * that overlap, end at 2^64 or wrap, and more of them than there is room for. */
#include "tests/unit/support.h"

#include "boot/boot_info_internal.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 4000u

static struct boot_info info;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&info, 0, sizeof(info));
    return 0;
}

static void add(uint64_t base, uint64_t size, uint32_t kind)
{
    assert_int_equal(boot_add_range(&info, base, size, kind), 0);
}

/* What the rest of the hypervisor relies on. */
static void assert_in_order(void)
{
    assert_true(info.range_count <= BOOT_RANGES);
    for (unsigned i = 0; i < info.range_count; i++) {
        const struct boot_range *range = &info.ranges[i];
        assert_true(range->size > 0 && range->base.v + range->size <= BIT(52));
        assert_true(range->kind >= BOOT_RAM && range->kind <= BOOT_BAD);
        if (i)
            assert_true(range[-1].base.v + range[-1].size <= range->base.v);
    }
}

static void assert_range(unsigned at, uint64_t base, uint64_t size, enum boot_memory kind)
{
    assert_true(at < info.range_count);
    assert_int_equal(info.ranges[at].base.v, base);
    assert_int_equal(info.ranges[at].size, size);
    assert_int_equal(info.ranges[at].kind, kind);
}

static void entries_are_sorted_and_joined(void **state)
{
    (void)state;
    add(0x5000, 0x1000, BOOT_RAM);
    add(0x1000, 0x1000, BOOT_RAM);
    add(0x3000, 0, BOOT_BAD); /* nothing */
    add(0x3000, 0x2000, BOOT_RAM);
    add(0x8000, 0x1000, BOOT_ACPI);
    add(0x2000, 0x1000, BOOT_RAM);
    assert_int_equal(info.range_count, 2);
    assert_range(0, 0x1000, 0x5000, BOOT_RAM);
    assert_range(1, 0x8000, 0x1000, BOOT_ACPI);
}

/* Whichever comes first; and the stricter one of two that are no RAM, too. */
static void the_stricter_one_of_two_holds(void **state)
{
    (void)state;
    static const enum boot_memory by_strictness[] = {BOOT_RAM, BOOT_ACPI, BOOT_NVS, BOOT_RESERVED,
                                                     BOOT_BAD};
    for (unsigned strict = 1; strict < ARRAY_SIZE(by_strictness); strict++)
        for (unsigned lax = 0; lax < strict; lax++)
            for (unsigned order = 0; order < 2; order++) {
                setup(state);
                if (order)
                    add(0x3000, 0x1000, by_strictness[strict]);
                add(0x1000, 0x5000, by_strictness[lax]);
                if (!order)
                    add(0x3000, 0x1000, by_strictness[strict]);
                assert_int_equal(info.range_count, 3);
                assert_range(0, 0x1000, 0x2000, by_strictness[lax]);
                assert_range(1, 0x3000, 0x1000, by_strictness[strict]);
                assert_range(2, 0x4000, 0x2000, by_strictness[lax]);
            }
    setup(state);
    add(0, 0x2000, BOOT_RAM);
    add(0x1000, 0x1000, 7); /* of a kind that we do not know */
    assert_range(0, 0, 0x1000, BOOT_RAM);
    assert_range(1, 0x1000, 0x1000, BOOT_RESERVED);
}

static void an_entry_may_end_at_the_end_of_all(void **state)
{
    (void)state;
    add(0x100000, 0x7f00000, BOOT_RAM);
    add(0xffff000000000000, 0x1000000000000, BOOT_RAM); /* no CPU has such addresses */
    assert_int_equal(info.range_count, 1);
    add(0xfffff00000, 0 - 0xfffff00000ull, BOOT_RESERVED);
    assert_range(1, 0xfffff00000, BIT(52) - 0xfffff00000, BOOT_RESERVED);
    setup(state);
    add(0, ~0ull, BOOT_RAM);
    assert_range(0, 0, BIT(52), BOOT_RAM);
}

static void an_entry_that_wraps(void **state)
{
    (void)state;
    add(0x1000, 0x4000, BOOT_RAM);
    add(0x2000, ~0ull - 0xfff, BOOT_RESERVED); /* all from there on, and nothing below */
    assert_int_equal(info.range_count, 2);
    assert_range(0, 0x1000, 0x1000, BOOT_RAM);
    assert_range(1, 0x2000, BIT(52) - 0x2000, BOOT_RESERVED);
    assert_int_equal(boot_add_range(&info, 0xfffffffffffff000, 0x2000, BOOT_RAM), -EINVAL);
    assert_non_null(strstr(support_log(), "boot information: memory map entry at "
                                          "0xfffffffffffff000 with size 0x2000 wraps around"));
}

static void ram_is_looked_up(void **state)
{
    (void)state;
    add(0x1000, 0x2000, BOOT_RAM);
    add(0x3000, 0x1000, BOOT_NVS);
    add(0x5000, 0x1000, BOOT_RAM);
    static const struct {
        uint64_t base, size;
        bool all, some;
    } rows[] = {
        {0x1000, 0x2000, true, true},   {0x1000, 0x2001, false, true}, {0xfff, 2, false, true},
        {0xfff, 1, false, false},       {0x2fff, 1, true, true},       {0x3000, 1, false, false},
        {0x4000, 0x1000, false, false}, {0x4000, 0x1001, false, true}, {0x5fff, 1, true, true},
        {0x6000, 1, false, false},      {0x5fff, 2, false, true},      {0, BIT(40), false, true},
        {0xfffff000, 1, false, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(boot_is_ram(&info, HPA(rows[i].base), rows[i].size), rows[i].all);
        assert_int_equal(boot_touches_ram(&info, HPA(rows[i].base), rows[i].size), rows[i].some);
    }
    assert_false(boot_is_ram(&info, HPA(0x5000), ~0ull)); /* base + size wraps */
}

/* ---- Many, at random, against a kind for each of some pages --------------------------------- */

#define PAGES 512u

static enum boot_memory model[PAGES]; /* 0: in no entry */

static unsigned strictness(enum boot_memory kind)
{
    return kind == BOOT_RESERVED ? BOOT_BAD * 2 - 1 : (unsigned)kind * 2;
}

static void any_entries_make_the_map_of_the_strictest(void **state)
{
    srand(1);
    for (unsigned round = 0; round < 3000; round++) {
        setup(state);
        memset(model, 0, sizeof(model));
        unsigned entries = (unsigned)rand() % 60;
        for (unsigned i = 0; i < entries; i++) {
            unsigned start = (unsigned)rand() % PAGES, count = (unsigned)rand() % 64;
            enum boot_memory kind = (enum boot_memory)(1 + rand() % 5);
            add(start * 0x1000ull, count * 0x1000ull, kind);
            for (unsigned p = start; p < start + count && p < PAGES; p++)
                if (!model[p] || strictness(kind) > strictness(model[p]))
                    model[p] = kind;
        }
        assert_in_order();
        unsigned at = 0;
        for (unsigned p = 0; p < PAGES; p++) {
            while (at < info.range_count &&
                   info.ranges[at].base.v + info.ranges[at].size <= p * 0x1000ull)
                at++;
            bool inside = at < info.range_count && info.ranges[at].base.v <= p * 0x1000ull;
            assert_int_equal(inside ? info.ranges[at].kind : 0, model[p]);
        }
        for (unsigned i = 1; i < info.range_count; i++) /* those that touch differ */
            assert_true(info.ranges[i - 1].base.v + info.ranges[i - 1].size <
                            info.ranges[i].base.v ||
                        info.ranges[i - 1].kind != info.ranges[i].kind);
    }
}

/* 268 and 312 ranges have been seen on PCs; any number is taken, at the price of the smallest. */
static void any_number_of_entries_is_taken(void **state)
{
    static const unsigned counts[] = {129, 268, 312, BOOT_RANGES - 6, ENTRIES_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        setup(state);
        add(0xfec00000, 0x1400000, BOOT_RESERVED);
        for (unsigned e = 0; e < counts[i]; e++)
            add(e * 0x3000ull, e % 7 ? 0x1000 : 0x2000, e % 3 ? BOOT_RAM : BOOT_RESERVED);
        add(BIT(32), BIT(40), BOOT_RAM);     /* what matters, whenever it comes, */
        add(0x4000000, 0x1000000, BOOT_RAM); /* and between what came before */
        assert_in_order();
        assert_true(boot_is_ram(&info, HPA(BIT(32)), BIT(40)));
        assert_true(boot_is_ram(&info, HPA(0x4000000), 0x1000000));
        for (unsigned e = 0; e < counts[i]; e++) { /* nothing that was reserved has become RAM */
            bool ram = boot_touches_ram(&info, HPA(e * 0x3000ull), 0x1000);
            assert_false(ram && e % 3 == 0);
            assert_true(ram || e % 3 == 0 || info.ranges_joined);
        }
        if (counts[i] < BOOT_RANGES)
            assert_int_equal(info.ranges_joined, 0);
        else
            assert_true(info.ram_lost >= (counts[i] - BOOT_RANGES) * 2 / 3 * 0x1000ull);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(entries_are_sorted_and_joined, setup),
        cmocka_unit_test_setup(the_stricter_one_of_two_holds, setup),
        cmocka_unit_test_setup(an_entry_may_end_at_the_end_of_all, setup),
        cmocka_unit_test_setup(an_entry_that_wraps, setup),
        cmocka_unit_test_setup(ram_is_looked_up, setup),
        cmocka_unit_test_setup(any_entries_make_the_map_of_the_strictest, setup),
        cmocka_unit_test_setup(any_number_of_entries_is_taken, setup),
    };
    return cmocka_run_group_tests_name("memory map", tests, NULL, NULL);
}
