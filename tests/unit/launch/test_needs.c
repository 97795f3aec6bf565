/* SPDX-License-Identifier: MIT */
/* The memory that is reserved for a VM suffices for all that its guest can make the hypervisor
 * allocate, however it behaves. */
#include "tests/unit/mmu/mmu_world.h"

#include "vm/layout.h"
#include "launch/needs.h"

#include <stdlib.h>

#define BIOS_PAGES ((GUEST_MIDDLE - GUEST_BIOS) >> PAGE_SHIFT)

static struct mmu mmu;
static struct vm_needs needs;

struct shape {
    uint64_t ram;
    bool huge, ad;
    unsigned shared, execute_only;
};

static void start(const struct shape *shape)
{
    const struct mmu_config config = {.mmio_caching = true, .ad = shape->ad, .huge = shape->huge};
    struct guest_range ram[GUEST_RAM_PIECES];
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    if (shape->shared)
        assert_int_equal(mmu_steal_bit(&mmu, shape->shared, STOLEN_SHARED), 0);
    if (shape->execute_only)
        assert_int_equal(mmu_steal_bit(&mmu, shape->execute_only, STOLEN_EXECUTE_ONLY), 0);
    guest_layout(shape->ram, ram);
    assert_int_equal(mmu_slot_add(&mmu, GUEST_FIRMWARE_SLOT, GPA(GUEST_BIOS), BIOS_PAGES, 0), 0);
    for (uint32_t i = 0; i < GUEST_RAM_PIECES; i++)
        if (ram[i].size)
            assert_int_equal(mmu_slot_add(&mmu, i, ram[i].base, ram[i].size >> PAGE_SHIFT, 0), 0);
    const struct vm_size size = {
        .ram = shape->ram, .vcpus = 1, .pcpus = 1, .vcpu_size = 1, .sides = shape->shared};
    vm_needs(&needs, &size);
}

static void reach(uint64_t gpa, uint32_t access)
{
    struct mmio_info info;
    for (unsigned tries = 0; mmu_fault(&mmu, GPA(gpa), access | FAULT_FINAL, &info) == FAULT_RETRY;)
        assert_true(tries++ < 8);
    assert_true(support_pages_in_use() <= needs.ram + needs.tables + needs.slots);
}

static void touch_ram(const struct shape *shape, uint64_t alias)
{
    struct guest_range ram[GUEST_RAM_PIECES];
    guest_layout(shape->ram, ram);
    for (uint64_t at = GUEST_BIOS; at < GUEST_MIDDLE; at += PAGE_SIZE)
        reach(alias | at, alias ? ACCESS_FETCH : ACCESS_WRITE);
    for (unsigned i = 0; i < GUEST_RAM_PIECES; i++)
        for (uint64_t at = 0; at < ram[i].size; at += PAGE_SIZE)
            reach(alias | (ram[i].base.v + at), alias ? ACCESS_FETCH : ACCESS_WRITE);
}

static const struct shape shapes[] = {
    {2 << 20, false, true, 0, 0},    {6 << 20, true, true, 0, 0},   {31 << 20, false, false, 0, 0},
    {30 << 20, false, true, 39, 38}, {30 << 20, true, true, 39, 0}, {8 << 20, false, true, 0, 38},
};

static void all_of_its_ram(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        start(&shapes[i]);
        touch_ram(&shapes[i], 0);
        if (shapes[i].execute_only)
            touch_ram(&shapes[i], 1ull << shapes[i].execute_only);
        mmu_destroy(&mmu);
        assert_int_equal(support_pages_in_use(), 0);
    }
}

/* Addresses far from each other get tables of their own, and the guest decides how many. No fault
 * takes much longer for this, and the reserved memory suffices. */
static void anywhere(void **state)
{
    (void)state;
    srandom(1);
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        start(&shapes[i]);
        touch_ram(&shapes[i], 0);
        uint64_t freed = 0, most = 0, zaps = 0;
        uint64_t shared = shapes[i].shared ? 1ull << shapes[i].shared : 0;
        unsigned bits = shapes[i].execute_only ? 38 : shapes[i].shared ? 39 : 40;
        for (unsigned n = 0; n < 30000; n++) {
            uint64_t before = support_pages_in_use();
            reach(shared | (((uint64_t)random() << 21) & ((1ull << bits) - 1)), ACCESS_READ);
            uint64_t now = support_pages_in_use();
            freed += before > now ? before - now : 0;
            most = before > now + most ? before - now : most;
        }
        zaps = mmu_stats(&mmu).full_zaps;
        assert_in_range(zaps, 10, 30000 / 100);
        assert_true(freed > 5000);
        assert_in_range(most, 1, 2 * TABLE_CACHE + 2); /* in one fault */
        mmu_destroy(&mmu);
        assert_int_equal(support_pages_in_use(), 0);
    }
}

static void sums(void **state)
{
    (void)state;
    const struct vm_size small = {.ram = 2 << 20, .vcpus = 1, .pcpus = 1, .vcpu_size = 5000};
    struct vm_size size = small;
    vm_needs(&needs, &small);
    uint64_t sum = vm_needs_sum(&needs);
    assert_int_equal(needs.vcpus, 13);
    size.limit = 5 << 20;
    vm_needs(&needs, &size);
    assert_int_equal(vm_needs_sum(&needs), sum + (5 << 8));
    size.disks = 17;
    vm_needs(&needs, &size);
    assert_int_equal(vm_needs_sum(&needs), sum + (5 << 8) + 17);
    size.disks = 0;
    size.net = 16;
    vm_needs(&needs, &size);
    assert_int_equal(vm_needs_sum(&needs), sum + (5 << 8) + 16);
    /* td_pages() includes the private memory of a TD; the rest is reserved for the memory that it
 * shares. */
    size = small, size.td = 7;
    vm_needs(&needs, &size);
    assert_int_equal(vm_needs_sum(&needs), sum + 7);
    size.ram = 512 << 20;
    vm_needs(&needs, &size);
    assert_int_equal(needs.ram, (512 / 8 + 68) << 8);
    size = small, size.vcpus = 4;
    vm_needs(&needs, &size);
    assert_int_equal(vm_needs_sum(&needs), sum + 3 * 13);
    size = small, size.ram = 200 << 20;
    vm_needs(&needs, &size);
    assert_true(vm_needs_sum(&needs) > sum + 198 * 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_its_ram),
        cmocka_unit_test(anywhere),
        cmocka_unit_test(sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
