/* SPDX-License-Identifier: MIT */
/*
 * The cost of three designs of stolen bits for the same accesses: table pages, SPTE stores, exits.
 * docs/STOLEN_BITS.md has the numbers; this test fails when they change.
 *
 *   roots    the design in use: a root for each value; each access makes the entry that it needs.
 *   twins    one table in which each page has the entries of all its aliases: the access that
 *            makes one of them makes the others, too. Measured by faulting them in together.
 *   shared   the aliases are other indices of the same tables, and the entry at which they part
 *            removes the rights. Measured by accesses at the plain address, plus that entry.
 */
#include "tests/unit/mmu/mmu_world.h"

#define RAM     0x40000000ull
#define FRAMES  4096u /* 16 MiB */
#define CODE    BIT(38)
#define FETCHED 8u /* one page in this number is also executed through its execute-only address */

static struct mmu mmu;

enum design {
    ROOTS,
    TWINS,
    TABLES_SHARED,
};

struct cost {
    uint64_t exits, stores, tables, zap_stores;
};

static unsigned count_exits(uint64_t gpa, unsigned access)
{
    struct world_access a = world_touch(&mmu, GPA(gpa), access);
    assert_int_equal(a.outcome, FAULT_FIXED);
    return a.violations;
}

static void run_code(enum design design, uint64_t gpa, struct cost *cost)
{
    cost->exits += count_exits(design == TABLES_SHARED ? gpa : CODE | gpa, ACCESS_FETCH);
}

static void write_page(enum design design, uint64_t gpa, struct cost *cost)
{
    unsigned exits = count_exits(gpa, ACCESS_WRITE);
    cost->exits += exits;
    if (exits && design == TWINS) /* one exit makes both */
        count_exits(CODE | gpa, ACCESS_FETCH);
}

/* Every page is written, and some are executed; then all of it is zapped. */
static struct cost cost_of(enum design design, bool huge)
{
    struct cost cost = {0};
    struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = huge};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_EXECUTE_ONLY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), FRAMES, 0), 0);
    for (uint64_t i = 0; i < FRAMES; i++) {
        uint64_t gpa = RAM + i * PAGE_SIZE;
        write_page(design, gpa, &cost);
        if (i % FETCHED == 0)
            run_code(design, gpa, &cost);
    }
    struct mmu_stats stats = mmu_stats(&mmu);
    cost.stores = stats.spte_changes + (design == TABLES_SHARED); /* the entry at which they part */
    cost.tables = stats.tables + 1;                               /* and the composite */
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), FRAMES), 0);
    cost.zap_stores = mmu_stats(&mmu).spte_changes - stats.spte_changes;
    world_check(&mmu);
    mmu_destroy(&mmu);
    return cost;
}

static void expect(enum design design, bool huge, struct cost want)
{
    static const char *const names[] = {"roots", "twins", "shared"};
    struct cost got = cost_of(design, huge);
    print_message("%s, %s: %lu exits, %lu stores, %lu table pages, %lu stores of the zap\n",
                  names[design], huge ? "2 MiB" : "4 KiB", got.exits, got.stores, got.tables,
                  got.zap_stores);
    assert_int_equal(got.exits, want.exits);
    assert_int_equal(got.stores, want.stores);
    assert_int_equal(got.tables, want.tables);
    assert_int_equal(got.zap_stores, want.zap_stores);
}

static void small_pages(void **state)
{
    (void)state;
    expect(ROOTS, false, (struct cost){4608, 4627, 20, 4608});
    expect(TWINS, false, (struct cost){4096, 8211, 20, 8192});
    expect(TABLES_SHARED, false, (struct cost){4096, 4107, 11, 4096});
}

static void large_pages(void **state)
{
    (void)state;
    expect(ROOTS, true, (struct cost){16, 19, 4, 16});
    expect(TWINS, true, (struct cost){8, 19, 4, 16});
    expect(TABLES_SHARED, true, (struct cost){8, 11, 3, 8});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_pages),
        cmocka_unit_test(large_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
