/* SPDX-License-Identifier: MIT */
/*
 * The fast path of a fault: a default leaf over an empty entry, and the slot that was found last.
 * The result without checks must be the one that the slow path has after them (rules S13, F2, F9,
 * N10).
 */
#include "tests/unit/mmu/mmu_world.h"

#include "mmu/spte.h"
#include "mmu/transition.h"

#define CAPS_1G (WORLD_CAPS | EPT_CAP_1G)
#define CAPS_4K (WORLD_CAPS & ~(EPT_CAP_2M | EPT_CAP_1G))

static struct mmu mmu;

static int setup(void **state)
{
    (void)state;
    world_reset(CAPS_1G, &(struct mmu_config){.mmio_caching = true, .ad = true, .huge = true});
    return mmu_create(&mmu);
}

static int teardown(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    return support_pages_in_use() || support_warnings() ? -1 : 0;
}

static void add(uint32_t id, uint64_t gpa, uint64_t pages, uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&mmu, id, GPA(gpa), pages, flags), 0);
}

static int fault(uint64_t gpa, uint32_t access)
{
    struct mmio_info info;
    return mmu_fault(&mmu, GPA(gpa), access, &info);
}

static uint64_t spte_at(uint64_t gpa)
{
    unsigned level;
    return mmu_spte(&mmu, GPA(gpa), &level);
}

/* ---- Words ----------------------------------------------------------------------------------- */

/* The checks that the choke point skips for default leaves: no rule refuses them, and they count as
 * leaves only. */
static void assert_harmless(uint64_t spte, unsigned level)
{
    const uint64_t values[] = {SPTE_MMIO_VALUE, 0, SPTE_MMIO_NEVER};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        assert_null(spte_change_refused(SPTE_NONPRESENT, spte, level, values[i]));
    assert_true(spte_is_leaf(spte, level));
    assert_false(spte & SPTE_NX_SPLIT);
    assert_false(spte_change_owes_flush(SPTE_NONPRESENT, spte, level));
}

static void check_format(unsigned level, uint64_t address)
{
    uint64_t leaf = spte_default_leaf(HPA(address), level);
    assert_true(spte_is_default_leaf(leaf, level));
    assert_harmless(leaf, level);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t other = leaf ^ BIT(bit);
        bool aligned = bit >= PAGE_SHIFT + 9 * (level - 1);
        bool expected = aligned && bit < spte_format.caps.maxphyaddr;
        expected = expected || (level == EPT_LEVEL_4K && BIT(bit) == EPT_EXECUTE);
        assert_int_equal(spte_is_default_leaf(other, level), expected);
        bool was = expected || BIT(bit) & (EPT_ACCESSED | EPT_DIRTY);
        assert_int_equal(spte_was_default_leaf(other, level), was);
        assert_int_equal(spte_was_default_leaf(other ^ EPT_ACCESSED ^ EPT_DIRTY, level), was);
        if (expected)
            assert_harmless(other, level);
    }
}

/* Every MAXPHYADDR, with and without A/D bits, large pages, and execution of these. */
static void words(void **state)
{
    (void)state;
    for (unsigned width = 36; width <= 52; width++) {
        for (unsigned variant = 0; variant < 8; variant++) {
            struct ept_caps caps;
            bool large = variant & 1;
            assert_int_equal(ept_caps_parse(&caps, large ? CAPS_1G : CAPS_4K, width), 0);
            struct mmu_config config = {.ad = variant & 2, .huge = true, .nx_huge = variant & 4};
            assert_int_equal(mmu_setup(&caps, &config), 0);
            check_format(EPT_LEVEL_4K, BIT(width - 1));
            if (large)
                check_format(EPT_LEVEL_2M, BIT(width - 1));
            if (caps.page_1g)
                check_format(EPT_LEVEL_1G, BIT(width - 1));
            assert_int_equal(!(spte_format.default_leaf[EPT_LEVEL_2M].value & EPT_EXECUTE),
                             !large || config.nx_huge);
        }
    }
}

/* No entry is a default leaf where the CPU has no leaves. */
static void levels_without_leaves(void **state)
{
    (void)state;
    struct ept_caps caps;
    assert_int_equal(ept_caps_parse(&caps, CAPS_4K, 40), 0);
    assert_int_equal(mmu_setup(&caps, &(struct mmu_config){.huge = true}), 0);
    uint64_t leaf = spte_default_leaf(HPA(0), EPT_LEVEL_4K) | EPT_LARGE;
    for (unsigned level = EPT_LEVEL_2M; level <= EPT_LEVELS; level++) {
        const uint64_t words[] = {leaf, 0, 1, ~0ull, SPTE_NONPRESENT, SPTE_FROZEN};
        for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
            assert_false(spte_is_default_leaf(words[i], level));
            assert_false(spte_was_default_leaf(words[i], level));
        }
    }
}

/* The choke point counts a default leaf as it counts any other leaf. */
static void store(unsigned level)
{
    struct mmu_cpu *self = mmu_self(&mmu);
    uint64_t entry = SPTE_NONPRESENT, leaf = spte_default_leaf(HPA(0x40000000), level);
    struct mmu_stats before = mmu_stats(&mmu);
    uint64_t debt = tlb_debt(&mmu);
    assert_true(tdp_store(self, GFN(0), &entry, level, SPTE_NONPRESENT, leaf, DEBT_NONE));
    assert_true(entry == leaf);
    assert_int_equal(mmu_stats(&mmu).pages[level - 1], before.pages[level - 1] + 1);
    assert_int_equal(mmu_stats(&mmu).spte_changes, before.spte_changes + 1);
    assert_int_equal(tlb_debt(&mmu), debt);
    assert_false(tdp_store(self, GFN(0), &entry, level, SPTE_NONPRESENT, leaf, DEBT_NONE));
    assert_int_equal(mmu_stats(&mmu).spte_changes, before.spte_changes + 1);
    assert_int_equal(mmu_stats(&mmu).pages[level - 1], before.pages[level - 1] + 1);
    assert_true(tdp_store(self, GFN(0), &entry, level, leaf, SPTE_NONPRESENT, DEBT_ZAPPED));
    assert_int_equal(tlb_debt(&mmu), debt + 1);
}

/* Changes of A and D owe nothing, and are counted like others; a change of W is not among them. */
static void store_ad(void **state)
{
    (void)state;
    struct mmu_cpu *self = mmu_self(&mmu);
    uint64_t leaf = spte_default_leaf(HPA(0x40000000), EPT_LEVEL_4K), entry = leaf;
    struct mmu_stats before = mmu_stats(&mmu);
    uint64_t debt = tlb_debt(&mmu);
    assert_true(tdp_store(self, GFN(0), &entry, EPT_LEVEL_4K, leaf, leaf | EPT_DIRTY, DEBT_NONE));
    assert_false(tdp_store(self, GFN(0), &entry, EPT_LEVEL_4K, leaf, leaf | EPT_DIRTY, DEBT_NONE));
    assert_true(tdp_store(self, GFN(0), &entry, EPT_LEVEL_4K, leaf | EPT_DIRTY, leaf, DEBT_NONE));
    assert_true(
        tdp_store(self, GFN(0), &entry, EPT_LEVEL_4K, leaf, leaf & ~EPT_ACCESSED, DEBT_NONE));
    assert_true(entry == (leaf & ~EPT_ACCESSED));
    assert_int_equal(mmu_stats(&mmu).spte_changes, before.spte_changes + 3);
    assert_int_equal(mmu_stats(&mmu).pages[0], before.pages[0]);
    assert_int_equal(tlb_debt(&mmu), debt);
    entry = leaf;
    assert_true(tdp_store(self, GFN(0), &entry, EPT_LEVEL_4K, leaf, leaf & ~EPT_WRITE,
                          DEBT_WRITES_TRACKED));
    assert_int_equal(tlb_debt(&mmu), debt + 1);
}

/* T2, S14: removing a default leaf on the fast path is counted and owes a flush, and other entries
 * are not removed there. */
static void drop(unsigned level)
{
    struct mmu_cpu *self = mmu_self(&mmu);
    uint64_t leaf = spte_default_leaf(HPA(0x40000000), level);
    const uint64_t others[] = {leaf & ~EPT_WRITE, leaf | SPTE_NX_SPLIT, SPTE_NONPRESENT,
                               spte_nonleaf(HPA(0x40000000))};
    for (unsigned ad = 0; ad < 4; ad++) {
        uint64_t old = (leaf & ~EPT_ACCESSED) | ad * EPT_ACCESSED, entry = old;
        struct mmu_stats before = mmu_stats(&mmu);
        uint64_t debt = tlb_debt(&mmu);
        assert_false(tdp_drop_default(self, GFN(0), &entry, level, old ^ EPT_DIRTY,
                                      DEBT_ZAPPED)); /* the entry has changed */
        assert_true(tdp_drop_default(self, GFN(0), &entry, level, old, DEBT_ZAPPED));
        assert_true(entry == SPTE_NONPRESENT);
        assert_int_equal(mmu_stats(&mmu).pages[level - 1], before.pages[level - 1] - 1);
        assert_int_equal(mmu_stats(&mmu).spte_changes, before.spte_changes + 1);
        assert_int_equal(tlb_debt(&mmu), debt + 1);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        uint64_t entry = others[i];
        assert_false(tdp_drop_default(self, GFN(0), &entry, level, others[i], DEBT_ZAPPED));
        assert_true(entry == others[i]);
    }
}

static void drops(void **state)
{
    (void)state;
    drop(EPT_LEVEL_4K);
    drop(EPT_LEVEL_2M);
    drop(EPT_LEVEL_1G);
}

static void store_beyond_maxphyaddr(unsigned level)
{
    uint64_t entry = SPTE_NONPRESENT, leaf = spte_default_leaf(HPA(BIT(51)), level);
    bool done = tdp_store(mmu_self(&mmu), GFN(0), &entry, level, SPTE_NONPRESENT, leaf, DEBT_NONE);
    assert_false(done);
}

static void stores(void **state)
{
    (void)state;
    store(EPT_LEVEL_4K);
    store(EPT_LEVEL_2M);
    store(EPT_LEVEL_1G);
    expect_assert_failure(store_beyond_maxphyaddr(EPT_LEVEL_4K));
    expect_assert_failure(store_beyond_maxphyaddr(EPT_LEVEL_1G));
}

/* ---- Slots ----------------------------------------------------------------------------------- */

/* The hint is an index. It may be that of another slot by now, or of none, where the old contents
 * still cover the frame. */
static void the_last_slot_is_another(void **state)
{
    (void)state;
    add(1, 0x100000, 4, 0);
    add(2, 0x200000, 4, 0);
    add(3, 0x300000, 4, 0);
    assert_int_equal(fault(0x303000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(mmu_self(&mmu)->slot_hint, 2);
    assert_int_equal(fault(0x304000, ACCESS_WRITE), FAULT_EMULATE); /* one frame after it */
    assert_int_equal(fault(0x2ff000, ACCESS_WRITE), FAULT_EMULATE);
    assert_int_equal(mmu_slot_delete(&mmu, 3), 0);
    assert_true(mmu.slots->slot[2].base.v == 0x300);
    assert_int_equal(fault(0x303000, ACCESS_WRITE), FAULT_EMULATE);
    assert_int_equal(fault(0x203000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(mmu_self(&mmu)->slot_hint, 1);
    assert_int_equal(mmu_slot_delete(&mmu, 1), 0);
    assert_int_equal(fault(0x202000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(mmu_self(&mmu)->slot_hint, 0);
    assert_int_equal(mmu_stats(&mmu).slot_searches, 6);
    world_check(&mmu);
}

/* The next fault on a slot with attributes does not take the fast path. */
static void slots_with_wishes(void **state)
{
    (void)state;
    add(1, 0x100000, 4, 0);
    assert_int_equal(fault(0x100000, ACCESS_READ), FAULT_FIXED);
    assert_true(spte_is_default_leaf(spte_at(0x100000), EPT_LEVEL_4K));
    assert_int_equal(mmu_track(&mmu, GPA(0x101000)), 0);
    assert_int_equal(fault(0x101000, ACCESS_WRITE), FAULT_WRITE_PROTECTED);
    assert_int_equal(fault(0x101000, ACCESS_READ), FAULT_FIXED);
    assert_false(spte_at(0x101000) & (EPT_WRITE | SPTE_MMU_WRITABLE));
    assert_int_equal(mmu_untrack(&mmu, GPA(0x101000)), 0);

    add(2, 0x200000, 4, 0);
    assert_int_equal(fault(0x202000, ACCESS_READ), FAULT_FIXED);
    assert_int_equal(mmu_slot_flags(&mmu, 2, MEMSLOT_READONLY), 0);
    assert_int_equal(fault(0x202000, ACCESS_READ), FAULT_FIXED);
    assert_false(spte_at(0x202000) & (EPT_WRITE | SPTE_MMU_WRITABLE | SPTE_HOST_WRITABLE));
    assert_int_equal(fault(0x202000, ACCESS_WRITE), FAULT_EMULATE);
    world_check(&mmu);
}

/* F2: during an invalidation nothing is mapped, large or small. */
static void stale(void **state)
{
    (void)state;
    add(1, 0x200000, 512 + 1, 0);
    assert_int_equal(fault(0x200000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(fault(0x400000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(mmu_zap(&mmu, GPA(0x200000), 513), 0);
    mmu.invalidate_sequence++;
    assert_int_equal(fault(0x200000, ACCESS_WRITE), FAULT_RETRY);
    assert_int_equal(fault(0x400000, ACCESS_WRITE), FAULT_RETRY);
    assert_true(spte_at(0x400000) == SPTE_NONPRESENT);
    mmu.invalidate_sequence++;
    assert_int_equal(fault(0x200000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(fault(0x400000, ACCESS_WRITE), FAULT_FIXED);
    world_check(&mmu);
}

/* ---- What is there already ------------------------------------------------------------------- */

/* The blocks of a moved slot are not aligned as its frames are: no leaf can map one, and each frame
 * has its own page. */
static void blocks_askew(void **state)
{
    (void)state;
    add(1, 0x200000, 512, 0);
    assert_int_equal(fault(0x200000, ACCESS_WRITE), FAULT_FIXED);
    uint64_t block = spte_page(spte_at(0x200000)).v;
    assert_int_equal(mmu_slot_move(&mmu, 1, GPA(0x601000)), 0);
    assert_int_equal(fault(0x601000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(fault(0x7ff000, ACCESS_WRITE), FAULT_FIXED);
    assert_true(spte_page(spte_at(0x601000)).v == block);
    assert_true(spte_page(spte_at(0x7ff000)).v == block + 510 * PAGE_SIZE);
    assert_int_equal(mmu_stats(&mmu).pages[1], 0);
    world_check(&mmu);
}

/* W4, N1: FROZEN, a link, a large leaf and an MMIO SPTE where the fast path expects an empty entry.
 */
static void places_taken(void **state)
{
    (void)state;
    assert_int_equal(fault(0x100000, ACCESS_WRITE),
                     FAULT_EMULATE); /* an MMIO SPTE, over which a slot is added */
    add(1, 0x100000, 2, 0);
    assert_int_equal(fault(0x100000, ACCESS_WRITE), FAULT_FIXED);
    unsigned level;
    const uint64_t *sptep;
    (void)tdp_walk_to(&mmu, ALIAS(0x101), &level, &sptep);
    uint64_t *entry = phys_to_virt(virt_to_phys(sptep));
    *entry = SPTE_FROZEN;
    assert_int_equal(fault(0x101000, ACCESS_WRITE), FAULT_RETRY);
    assert_true(*entry == SPTE_FROZEN);
    *entry = SPTE_NONPRESENT;
    assert_int_equal(fault(0x101000, ACCESS_WRITE), FAULT_FIXED);
    assert_int_equal(fault(0x101000, ACCESS_WRITE), FAULT_SPURIOUS);
    world_check(&mmu);
}

/* N1: a fetch from a large page that may not be executed gets a small one. */
static void executed_large_page(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    world_reset(WORLD_CAPS, &(struct mmu_config){.ad = true, .huge = true, .nx_huge = true});
    assert_int_equal(mmu_create(&mmu), 0);
    add(1, 0x200000, 1024, 0);
    assert_int_equal(fault(0x200000, ACCESS_WRITE), FAULT_FIXED);
    assert_false(spte_at(0x200000) & EPT_EXECUTE);
    assert_int_equal(fault(0x400000, ACCESS_FETCH), FAULT_FIXED);
    assert_true(spte_at(0x400000) & EPT_EXECUTE);
    assert_int_equal(mmu_stats(&mmu).pages[0], 1);
    assert_int_equal(mmu_stats(&mmu).pages[1], 1);
    world_check(&mmu);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(words),
        T(levels_without_leaves),
        T(stores),
        T(drops),
        T(store_ad),
        T(the_last_slot_is_another),
        T(slots_with_wishes),
        T(stale),
        T(blocks_askew),
        T(places_taken),
        T(executed_large_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
