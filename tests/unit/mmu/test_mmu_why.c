/* SPDX-License-Identifier: MIT */
/*
 * mmu_why() in states that last for a moment only: another CPU is changing an entry, a slot or a
 * page. Each is made by hand or by a change that is stopped halfway, is explained, and then the
 * exit is handled, which must do what was said. test_mmu_adversary.c asks before each exit of its
 * random runs. Also what each CPU owes, and why.
 */
#include "tests/unit/mmu/mmu_explained.h"

#include <string.h>

#define RAM    0x200000ull
#define PAGES  16ull
#define DEVICE 0xfe000000ull

static struct mmu mmu;

static void start(unsigned l1tf_cache_bits)
{
    const struct mmu_config config = {
        .mmio_caching = true, .ad = true, .huge = true, .l1tf_cache_bits = l1tf_cache_bits};
    world_reset(WORLD_CAPS, &config);
    for (unsigned cpu = 0; cpu < 2; cpu++)
        epoch_online(cpu, NULL);
    memset(&mmu, 0, sizeof(mmu));
    memset(&explained, 0, sizeof(explained));
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(world_touch(&mmu, GPA(RAM), 2).outcome, FAULT_FIXED);
    assert_int_equal(world_touch(&mmu, GPA(DEVICE), 2).outcome, FAULT_EMULATE);
}

static int setup(void **state)
{
    (void)state;
    start(0);
    return 0;
}

/* The lowest entry, for writing it by hand. */
static uint64_t *entry(uint64_t gpa)
{
    unsigned level;
    const uint64_t *sptep;
    (void)tdp_walk_to(&mmu, gpa_to_alias(GPA(gpa)), &level, &sptep);
    return (uint64_t *)(uintptr_t)sptep;
}

/* Explains an access, and has its exit handled. */
static struct mmu_why exit_as_explained(uint64_t gpa, unsigned access)
{
    struct mmu_why why;
    struct mmio_info info;
    uint32_t error_code = FAULT_RESERVED;
    int result = FAULT_INVALID;
    explain(&mmu, GPA(gpa), access, &why);
    struct hw_translation t = hw_walk(mmu_eptp(&mmu), gpa_to_gfn(GPA(gpa)), access);
    assert_int_not_equal(t.result, HW_OK);
    if (t.result == HW_VIOLATION)
        error_code = access | FAULT_FINAL | (t.permission ? FAULT_PRESENT : 0);
    else
        result = mmu_mmio_check(&mmu, GPA(gpa), &info);
    if (result == FAULT_INVALID)
        result = mmu_fault(&mmu, GPA(gpa), error_code, &info);
    check_explained(&mmu, GPA(gpa), &why, t.result, error_code, result);
    return why;
}

#define EXPECT(gpa, access, name, last)                       \
    do {                                                      \
        struct mmu_why said = exit_as_explained(gpa, access); \
        assert_int_equal(said.exit[0].why, WHY_##name);       \
        assert_int_equal(said.end, WHY_END_##last);           \
    } while (0)

static void memory_and_devices(void **state)
{
    (void)state;
    struct mmu_why why;
    explain(&mmu, GPA(RAM), EPT_WRITE, &why);
    assert_int_equal(why.exits, 0);
    assert_int_equal(why.end, WHY_END_MEMORY);
    assert_true(why.has_slot && why.populated && !why.changing);
    assert_int_equal(why.slot.id, 1);
    assert_int_equal(why.path.lowest, 1);
    EXPECT(RAM + PAGE_SIZE, EPT_READ, MAP_NEW, MEMORY);
    EXPECT(DEVICE, EPT_READ, MMIO_CURRENT, DEVICE);
    EXPECT(DEVICE + PAGE_SIZE, EPT_READ, MMIO_STORED, DEVICE);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x40000000), 1, 0), 0);
    EXPECT(DEVICE, EPT_READ, MMIO_RENEWED, DEVICE);
    assert_int_equal(mmu_slot_add(&mmu, 3, GPA(DEVICE), 1, 0), 0);
    why = exit_as_explained(DEVICE, EPT_WRITE);
    assert_int_equal(why.exit[0].stale, WHY_MMIO_COVERED);
    assert_int_equal(why.exit[0].why, WHY_MAP_NEW);
    assert_int_equal(why.end, WHY_END_MEMORY);
}

/* A stale MMIO SPTE of what is read-only memory now: the first exit maps it, and the write that
 * follows is emulated. */
static void one_exit_after_the_other(void **state)
{
    (void)state;
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(DEVICE), 1, MEMSLOT_READONLY), 0);
    struct mmu_why why = exit_as_explained(DEVICE, EPT_WRITE);
    assert_int_equal(why.exits, 2);
    assert_int_equal(why.exit[0].stale, WHY_MMIO_COVERED);
    assert_int_equal(why.exit[0].result, FAULT_FIXED);
    assert_int_equal(why.exit[1].cpu, CPU_VIOLATION);
    assert_int_equal(why.exit[1].why, WHY_READ_ONLY);
    assert_int_equal(why.end, WHY_END_DEVICE);
    EXPECT(DEVICE, EPT_WRITE, READ_ONLY, DEVICE);
}

static void frozen_entries(void **state)
{
    (void)state;
    uint64_t *leaf = entry(RAM), *mmio = entry(DEVICE), was = *leaf;
    *leaf = SPTE_FROZEN;
    EXPECT(RAM, EPT_READ, MAP_FROZEN, REPEATS);
    *mmio = SPTE_FROZEN;
    EXPECT(DEVICE, EPT_READ, MMIO_FROZEN, REPEATS);
    *leaf = was;
    *mmio = SPTE_NONPRESENT;
}

/* The leaf says that the slot is read-only, which it is no more. */
static void an_outdated_leaf(void **state)
{
    (void)state;
    uint64_t *leaf = entry(RAM), was = *leaf;
    *leaf &= ~(SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE | EPT_WRITE);
    EXPECT(RAM, EPT_WRITE, MAP_OUTDATED, REPEATS);
    *leaf = was;
}

static void a_restored_right(void **state)
{
    (void)state;
    *entry(RAM) &= ~EPT_WRITE;
    EXPECT(RAM, EPT_WRITE, WRITE_RESTORED, MEMORY);
}

static void invalidations(void **state)
{
    (void)state;
    mmu.invalidate_sequence++;
    EXPECT(RAM + PAGE_SIZE, EPT_READ, PAGES_LEAVE, REPEATS);
    mmu.invalidate_sequence++;
}

static void an_update_of_the_slots(void **state)
{
    (void)state;
    mmu.slots->generation |= SLOT_UPDATE_IN_PROGRESS;
    struct mmu_why why = exit_as_explained(DEVICE, EPT_READ);
    assert_int_equal(why.exit[0].stale, WHY_MMIO_UPDATING);
    assert_int_equal(why.exit[0].why, WHY_MMIO_STORED);
    mmu.slots->generation &= ~SLOT_UPDATE_IN_PROGRESS;
}

static void a_real_misconfiguration(void **state)
{
    (void)state;
    uint64_t *leaf = entry(RAM), was = *leaf;
    *leaf = (was & ~EPT_MEMTYPE) | field_put(2, EPT_MEMTYPE);
    EXPECT(RAM, EPT_READ, BROKEN, REFUSED);
    *leaf = was;
}

static void frames_beyond_mmio_sptes(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    start(36);
    EXPECT(1ull << 38, EPT_WRITE, TOO_HIGH, DEVICE);
}

static bool always(void)
{
    return true;
}

/* A deletion that is stopped after its first step: the fault helps, and the guest repeats. */
static void a_slot_that_leaves(void **state)
{
    (void)state;
    struct mmu_change change = {.kind = CHANGE_DELETE, .id = 1};
    support_pauses = always;
    while (!(memslots(&mmu)->slot[0].flags & MEMSLOT_INVALID))
        assert_int_equal(mmu_change(&mmu, &change), -EINPROGRESS);
    struct mmu_why why = exit_as_explained(RAM + PAGE_SIZE, EPT_READ);
    assert_int_equal(why.exit[0].why, WHY_SLOT_LEAVES);
    assert_int_equal(why.end, WHY_END_REPEATS);
    assert_true(why.changing);
    assert_int_equal(why.change, CHANGE_DELETE);
    assert_int_equal(why.change_slot, 1);
    support_pauses = NULL;
    int result;
    do {
        result = mmu_change(&mmu, &change);
    } while (result == -EINPROGRESS);
    assert_int_equal(result, 0);
}

static void tracked_pages(void **state)
{
    (void)state;
    struct track_opening opening = {0};
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    EXPECT(RAM, EPT_WRITE, TRACKED, TRACKED);
    assert_int_equal(mmu_track_open(&mmu, &opening, GPA(RAM)), 0);
    struct mmu_why why = exit_as_explained(RAM, EPT_WRITE);
    assert_int_equal(why.end, WHY_END_MEMORY);
    assert_true(why.open);
    assert_int_equal(why.tracked, 1);
    mmu_track_close(&mmu, &opening);
}

/* A CPU that has been in the guest owes, for each reason since it paid; nobody else does. */
static void debts(void **state)
{
    (void)state;
    assert_false(mmu_why_debt(&mmu, 1).known);
    tlb_enter(&mmu, support_cpu);
    tlb_leave(support_cpu);
    struct why_debt debt = mmu_why_debt(&mmu, 0);
    assert_true(debt.known && !debt.owes && !debt.inside);
    assert_int_equal(debt.reasons, 0);
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
    debt = mmu_why_debt(&mmu, 0);
    assert_true(debt.owes && !debt.inside);
    assert_int_equal(debt.reasons, BIT(DEBT_ZAPPED));
    assert_int_equal(world_touch(&mmu, GPA(RAM), 2).outcome, FAULT_FIXED);
    tlb_leave(support_cpu);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    assert_int_equal(mmu_why_debt(&mmu, 0).reasons, BIT(DEBT_WRITES_TRACKED));
    assert_false(mmu_why_debt(&mmu, 1).owes);
    tlb_enter(&mmu, support_cpu);
    assert_true(mmu_why_debt(&mmu, 0).inside && !mmu_why_debt(&mmu, 0).owes);
    tlb_leave(support_cpu);
}

static int teardown(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(memory_and_devices),
        TEST(one_exit_after_the_other),
        TEST(frozen_entries),
        TEST(an_outdated_leaf),
        TEST(a_restored_right),
        TEST(invalidations),
        TEST(an_update_of_the_slots),
        TEST(a_real_misconfiguration),
        TEST(frames_beyond_mmio_sptes),
        TEST(a_slot_that_leaves),
        TEST(tracked_pages),
        TEST(debts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
