/* SPDX-License-Identifier: MIT */
/*
 * The table of CPUID's answers contains each leaf and subleaf of an invented CPU, and says what is
 * returned for those that the CPU does not have. test_features.c tests the answers, and
 * guest/programs/cpuid.c tests what guests see.
 */
#include "tests/unit/support.h"
#include "tests/unit/vm/cpuid_oracle.h"

#include "lib/bits.h"

#include <string.h>

static const struct row {
    uint32_t leaf, subleaf;
    struct cpuid answer;
} rows[] = {
    {0, 0, {0x1b, 1, 2, 3}},
    {1, 0, {0x606a6, 0x10800, 0xfffa3203, 0x1f8bfbff}},
    {2, 0, {1, 2, 3, 4}},
    /* Two caches, and the end of the list. */
    {4, 0, {0x121, 5, 6, 7}},
    {4, 1, {0x143, 5, 6, 8}},
    /* EAX: subleaf 1 is the last one. */
    {7, 0, {1, 0xf, 0xe, 0xd}},
    {7, 1, {0x20, 0, 0, 0}},
    /* A level of threads and one of cores. */
    {0xb, 0, {0, 1, 0x100, 0}},
    {0xb, 1, {2, 3, 0x201, 0}},
    /* x87, SSE, AVX, the three components of AVX-512, PKRU; supervisor component 8, which only the
     * compacted format has; component 10, which is aligned. */
    {0xd, 0, {0x2e7, 2696, 2696, 0}},
    {0xd, 1, {0xf, 2696, 0x500, 0}},
    {0xd, 2, {256, 576, 0, 0}},
    {0xd, 5, {64, 1088, 0, 0}},
    {0xd, 6, {512, 1152, 0, 0}},
    {0xd, 7, {1024, 1664, 0, 0}},
    {0xd, 8, {128, 0, 1, 0}},
    {0xd, 9, {8, 2688, 0, 0}},
    {0xd, 10, {8, 0, 3, 0}},
    {0x10, 3, {5, 5, 5, 5}},
    {0x18, 0, {2, 0, 0, 0}},
    {0x18, 2, {7, 7, 7, 7}},
    {0x1b, 0, {1, 1, 1, 1}},
    {0x40000000, 0, {0x40000001, 9, 9, 9}},
    {0x40000001, 0, {39, 38, 0, 0}},
    {0x40000100, 0, {0x40000101, 8, 8, 8}},
    {0x40000101, 0, {7, 0, 0, 0}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, 0x121, 0x2c100800}},
    {0x80000008, 0, {0x3028, 0, 0, 0}},
};

/* If a leaf ignores ECX, the CPU's answer is the same for each value. */
static bool chooses(uint32_t leaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].leaf == leaf && rows[i].subleaf)
            return true;
    return leaf == 0x1b;
}

static struct cpuid fake(const void *context, uint32_t leaf, uint32_t subleaf)
{
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].leaf == leaf && (rows[i].subleaf == subleaf || !chooses(leaf)))
            return rows[i].answer;
    return (struct cpuid){0};
}

static struct cpuid looked_up(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_entry *entry = oracle_entry(table, leaf, subleaf);
    return entry ? entry->answer : (struct cpuid){0};
}

static struct cpuid_table table;

static void every_answer_is_found(void **state)
{
    (void)state;
    static const uint32_t ranges[] = {0,
                                      CPUID_LEAF_HYPERVISOR,
                                      CPUID_LEAF_KVM,
                                      CPUID_LEAF_KVM + 0x100,
                                      CPUID_LEAF_EXTENDED,
                                      0x20000000,
                                      0xffffff00};
    memset(&table, 0xcc, sizeof(table));
    cpuid_table_fill(&table, fake, NULL);
    assert_int_equal(table.left_out, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(ranges) * 0x100; i++) {
        uint32_t leaf = ranges[i / 0x100] + i % 0x100;
        for (uint32_t subleaf = 0; subleaf < 70; subleaf++) {
            struct cpuid right = fake(NULL, leaf, subleaf), got = looked_up(&table, leaf, subleaf);
            assert_memory_equal(&got, &right, sizeof(got));
        }
        struct cpuid last = looked_up(&table, leaf, ~0u), right = fake(NULL, leaf, ~0u);
        assert_memory_equal(&last, &right, sizeof(last));
    }
}

/* The properties on which the fast path of the exit depends. */
static void entries_say_what_they_are(void **state)
{
    (void)state;
    cpuid_table_fill(&table, fake, NULL);
    assert_int_equal(table.entries[0].leaf, 0);
    unsigned own = 0;
    for (unsigned i = 0; i < table.count; i++) {
        const struct cpuid_entry *e = &table.entries[i],
                                 *first = cpuid_table_first(&table, e->leaf);
        assert_int_equal(first->leaf, e->leaf);
        assert_ptr_equal(first + e->subleaf, e);
        assert_true(!e->plain || (!e->own && !e->subleaves && !e->subleaf));
        assert_true(e->subleaf == 0 || e->subleaf < first->subleaves);
        own |= 1u << e->own;
    }
    assert_int_equal(own, (1u << CPUID_OWN_COUNT) - 1);
    assert_int_equal(oracle_entry(&table, 1, 5)->own, CPUID_OWN_FEATURES);
    assert_int_equal(oracle_entry(&table, 7, 0)->own, CPUID_OWN_EXTENDED);
    assert_int_equal(oracle_entry(&table, 7, 1)->own, CPUID_OWN_NONE);
    assert_int_equal(oracle_entry(&table, 0xb, 1)->own, CPUID_OWN_TOPOLOGY + 1);
    assert_int_equal(oracle_entry(&table, 0xb, 2)->own, CPUID_OWN_TOPOLOGY + 2);
    assert_int_equal(oracle_entry(&table, 0xd, 1)->own, CPUID_OWN_XSAVE + 1);
    assert_int_equal(oracle_entry(&table, 0xd, 2)->own, CPUID_OWN_NONE);
}

/* SDM 2A, CPUID: above the highest leaf, the answer is that of the highest basic leaf. */
static void beyond_the_highest(void **state)
{
    (void)state;
    static const uint32_t above[] = {0x1c,       0x3fffffff, 0x50000000, 0x7fffffff,
                                     0x80000009, 0xbfffffff, 0xc0000000, 0xffffffff};
    static const uint32_t zeros[] = {0x40000002, 0x400000ff, 0x40000102, 0x40000200, 0x4fffffff};
    static const uint32_t present[] = {0x1b, 5, 0x80000008, 0x80000003, 0x40000000, 0x40000101};
    static const struct cpuid_entry zero;
    cpuid_table_fill(&table, fake, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(above); i++) {
        assert_int_not_equal(cpuid_table_first(&table, above[i])->leaf, above[i]);
        assert_int_equal(cpuid_table_instead(&table, above[i])->leaf, 0x1b);
        assert_int_equal(cpuid_table_instead(&table, above[i])->subleaf, 0);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(zeros); i++) {
        assert_int_not_equal(cpuid_table_first(&table, zeros[i])->leaf, zeros[i]);
        assert_memory_equal(cpuid_table_instead(&table, zeros[i]), &zero, sizeof(zero));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(present); i++)
        assert_int_equal(cpuid_table_first(&table, present[i])->leaf, present[i]);
}

/* A CPU whose ranges are all as long as they can be. */
static struct cpuid long_ranges(const void *context, uint32_t leaf, uint32_t subleaf)
{
    const uint32_t *first = context;
    (void)subleaf;
    return leaf == *first ? (struct cpuid){leaf + 0x3f, 1, 0, 0} : (struct cpuid){.edx = leaf};
}

/* Each leaf of each range has a place of its own. */
static void places_do_not_collide(void **state)
{
    (void)state;
    static const struct {
        uint32_t first, count;
    } ranges[] = {
        {0, 64}, {CPUID_LEAF_HYPERVISOR, 16}, {CPUID_LEAF_KVM, 16}, {CPUID_LEAF_EXTENDED, 64}};
    bool taken[256] = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
        cpuid_table_fill(&table, long_ranges, &ranges[i].first);
        for (uint32_t n = 0; n < ranges[i].count; n++) {
            uint32_t leaf = ranges[i].first + n;
            assert_int_equal(cpuid_table_first(&table, leaf)->leaf, leaf);
            assert_false(taken[cpuid_table_place(leaf)]);
            taken[cpuid_table_place(leaf)] = true;
        }
    }
}

static struct cpuid talkative(const void *context, uint32_t leaf, uint32_t subleaf)
{
    (void)context, (void)subleaf;
    return (struct cpuid){leaf & 0x3fffffff ? ~0u : ~0u >> (leaf == 0), 1, 0xffff, 4};
}

/* A CPU with more leaves than the table holds: the answers in the table are correct, leaf 0 names
 * the last leaf that is there, and the other leaves are above it. */
static void more_than_there_is_room_for(void **state)
{
    (void)state;
    cpuid_table_fill(&table, talkative, NULL);
    assert_int_equal(table.count, CPUID_ENTRIES);
    assert_true(table.left_out > 0);
    uint32_t last = table.entries[CPUID_ENTRIES - 1].leaf;
    assert_in_range(last, 8, 0x3f);
    for (uint32_t leaf = 0; leaf < 0x80; leaf++) {
        const struct cpuid_entry *first = cpuid_table_first(&table, leaf);
        assert_int_equal(first->leaf == leaf, leaf <= last);
        assert_int_equal(first->subleaf, 0);
        struct cpuid right = talkative(NULL, leaf, 0);
        if (leaf && leaf <= last)
            assert_memory_equal(&first->answer, &right, sizeof(right));
    }
    assert_int_equal(table.entries[0].answer.eax, last);
    assert_int_equal(cpuid_table_instead(&table, CPUID_LEAF_EXTENDED)->leaf, last);
    assert_int_not_equal(cpuid_table_first(&table, CPUID_LEAF_EXTENDED)->leaf, CPUID_LEAF_EXTENDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_found), cmocka_unit_test(entries_say_what_they_are),
        cmocka_unit_test(beyond_the_highest),    cmocka_unit_test(more_than_there_is_room_for),
        cmocka_unit_test(places_do_not_collide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
