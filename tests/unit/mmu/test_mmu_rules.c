/* SPDX-License-Identifier: MIT */
/* Rules whose violation shows only if something happens at an unlucky moment. */
#include "tests/unit/mmu/mmu_world.h"

#define RAM    0x200000ull
#define DEVICE 0xfe000000ull

static struct mmu mmu;
static const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true};

static int setup(void **state)
{
    (void)state;
    world_reset(WORLD_CAPS, &config);
    return mmu_create(&mmu) || mmu_slot_add(&mmu, 0, GPA(RAM), 512, 0);
}

static int teardown(void **state)
{
    (void)state;
    world_check(&mmu);
    mmu_destroy(&mmu);
    return support_pages_in_use() || support_warnings();
}

/* P3: the page was deleted between the exit and the fault, and the frame is MMIO now. The MMIO SPTE
 * has W, and its generation may have the bit that is MMU_WRITABLE in a leaf: neither is a right. */
static void a_fast_fault_on_a_device(void **state)
{
    (void)state;
    struct mmio_info info;
    unsigned level;
    assert_int_equal(mmu_set_generation(&mmu, 0x4000 - 1), 0); /* its bit 14 is at 58 */
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(0x10000000), 1, 0), 0);
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    uint64_t spte = mmu_spte(&mmu, GPA(DEVICE), &level);
    assert_true(spte & SPTE_MMU_WRITABLE && spte & EPT_WRITE);
    const uint32_t late = FAULT_PRESENT | FAULT_FINAL;
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE), ACCESS_WRITE | late, &info), FAULT_EMULATE);
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE), ACCESS_READ | late, &info), FAULT_EMULATE);
    assert_int_equal(mmu_stats(&mmu).fast_faults, 0);
}

/* P7: a fault that looked for a slot during an update cannot conclude anything. If it meets a leaf,
 * another CPU was faster: two generations with the mark may be equal. */
static void a_device_that_became_memory_meanwhile(void **state)
{
    (void)state;
    world_touch(&mmu, GPA(RAM), ACCESS_READ);
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    mmu.slots->generation |= SLOT_UPDATE_IN_PROGRESS;
    uint64_t generation = mmu_slot_generation(&mmu);
    gfn_t gfn = gpa_to_gfn(GPA(RAM));
    int result = tdp_map_mmio(mmu_self(&mmu), gpa_to_alias(GPA(RAM)), gfn, generation);
    assert_int_equal(result, FAULT_RETRY);
    assert_int_equal(hw_walk(mmu_eptp(&mmu), gfn, 1).result, HW_OK);
    mmu.slots->generation &= ~SLOT_UPDATE_IN_PROGRESS;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_fast_fault_on_a_device, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_became_memory_meanwhile, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
