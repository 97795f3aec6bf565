/* SPDX-License-Identifier: MIT */
/* Where local APICs have their pages: vCPUs that move theirs, on one bus and with real APICs. Each
 * vCPU reaches its APIC at its own page only, and nothing else that has a place can be covered. */
#include "tests/unit/support.h"

#include "lib/errno.h"
#include "vm/vm.h"

#include <string.h>

/* RAM ends here. */
#define RAM_END 0x8000000ull
static int ram_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, unsigned access)
{
    (void)mmu, (void)access;
    memset(buffer, 0, size);
    return gpa.v < RAM_END ? 0 : -EFAULT;
}
#define guest_read ram_read
#include "vm/apic_base.c"

#define VCPUS 3u
#define NEW   0xfed40000ull

static struct vm vm;
static struct vcpu vcpus[VCPUS];
static uint8_t device;

static uint64_t usual_read(void *own, struct mmio_vcpu *mmio, uint64_t offset, unsigned size)
{
    (void)own;
    return lapic_mmio_ops.read(&container_of(mmio, struct vcpu, mmio)->lapic, mmio, offset, size);
}

static uint64_t device_read(void *own, struct mmio_vcpu *mmio, uint64_t offset, unsigned size)
{
    (void)mmio, (void)offset, (void)size;
    assert_ptr_equal(own, &device);
    return 0xde;
}

static void drop(void *own, struct mmio_vcpu *mmio, uint64_t offset, unsigned size, uint64_t value)
{
    (void)own, (void)mmio, (void)offset, (void)size, (void)value;
}

static const struct bus_ops usual_ops = {.name = "apic", .read = usual_read, .write = drop};
static const struct bus_ops device_ops = {.name = "device", .read = device_read, .write = drop};

static void ignore(void *context)
{
    (void)context;
}

static const struct lapic_host host = {
    .interrupt = ignore, .timer = ignore, .reachable = ignore, .lint0 = ignore};

static void prepare(uint64_t shared)
{
    memset(&vm, 0, sizeof(vm));
    memset(vcpus, 0, sizeof(vcpus));
    vm.words.legacy = 1;
    vm.words.shared = shared;
    bus_init(&vm.mmio_bus, "mmio", ~0ull);
    uint64_t bit = shared ? BIT(shared) : 0;
    assert_int_equal(bus_add(&vm.mmio_bus, GUEST_LAPIC | bit, 0x1000, &usual_ops, NULL), 0);
    assert_int_equal(bus_add(&vm.mmio_bus, (NEW + 0x3800) | bit, 0x10, &device_ops, &device), 0);
    for (unsigned i = 0; i < VCPUS; i++) {
        vcpus[i].vm = &vm;
        vcpus[i].index = (uint8_t)i;
        vcpus[i].apic_page = GUEST_LAPIC;
        lapic_init(&vcpus[i].lapic, i, &host, &vcpus[i]);
    }
}

static uint32_t at(unsigned vcpu, uint64_t address)
{
    if (vm.words.shared)
        address |= BIT(vm.words.shared);
    return (uint32_t)bus_read(&vm.mmio_bus, &vcpus[vcpu].mmio, address, 4);
}

/* Each vCPU has its APIC at its own page, and at no other one. */
static void check(void)
{
    static const uint64_t pages[] = {GUEST_LAPIC, NEW, NEW + 0x1000, 1ull << 36};
    for (unsigned i = 0; i < VCPUS; i++)
        for (unsigned page = 0; page < ARRAY_SIZE(pages); page++) {
            uint32_t want = pages[page] == vcpus[i].apic_page ? i << 24 : ~0u;
            if (at(i, pages[page] + 0x20) != want)
                fail_msg("vCPU %u: the ID at %#lx is %#x", i, pages[page], at(i, pages[page] + 32));
        }
    assert_int_equal(at(0, NEW + 0x3800), 0xde);
}

static void each_vcpu_has_its_own(void **state)
{
    (void)state;
    for (uint64_t shared = 0; shared <= 39; shared += 39) {
        prepare(shared);
        uint64_t sequence = bus_sequence(&vm.mmio_bus);
        check();
        assert_true(apic_page_move(&vcpus[1], NEW));
        assert_true(bus_sequence(&vm.mmio_bus) != sequence); /* nothing of before holds */
        check();
        assert_true(apic_page_move(&vcpus[2], NEW)); /* where another one is */
        check();
        assert_true(apic_page_move(&vcpus[0], 1ull << 36));
        check();
        assert_true(apic_page_move(&vcpus[2], NEW + 0x1000));
        check();
        assert_true(apic_page_move(&vcpus[1], GUEST_LAPIC));
        check();
        for (unsigned i = 0; i < VCPUS; i++)
            assert_true(apic_page_move(&vcpus[i], GUEST_LAPIC));
        check();
    }
}

static void writes_reach_the_own_one(void **state)
{
    (void)state;
    prepare(0);
    assert_true(apic_page_move(&vcpus[0], NEW));
    bus_write(&vm.mmio_bus, &vcpus[0].mmio, NEW + 0x80, 4, 0x30);
    bus_write(&vm.mmio_bus, &vcpus[1].mmio, NEW + 0x80, 4, 0x40);
    bus_write(&vm.mmio_bus, &vcpus[0].mmio, GUEST_LAPIC + 0x80, 4, 0x50);
    assert_int_equal(at(0, NEW + 0x80), 0x30);
    assert_int_equal(at(1, GUEST_LAPIC + 0x80), 0);
}

static void places_of_others(void **state)
{
    (void)state;
    prepare(0);
    static const uint64_t taken[] = {0, RAM_END - 0x1000, NEW + 0x3000};
    for (unsigned i = 0; i < ARRAY_SIZE(taken); i++) {
        uint64_t sequence = bus_sequence(&vm.mmio_bus);
        assert_false(apic_page_move(&vcpus[0], taken[i]));
        assert_true(bus_sequence(&vm.mmio_bus) == sequence);
        check();
    }
    assert_true(apic_page_move(&vcpus[0], RAM_END));
    assert_true(apic_page_move(&vcpus[0], NEW + 0x2000) && apic_page_move(&vcpus[0], NEW + 0x4000));
}

static void only_with_legacy(void **state)
{
    (void)state;
    prepare(0);
    vm.words.legacy = 0;
    assert_false(apic_page_move(&vcpus[0], NEW));
    assert_true(apic_page_move(&vcpus[0], GUEST_LAPIC));
    check();
}

static void a_full_bus(void **state)
{
    (void)state;
    prepare(0);
    for (unsigned i = 2; i < BUS_REGIONS; i++)
        assert_int_equal(bus_add(&vm.mmio_bus, 0xd0000000 + i * 0x1000ull, 16, &device_ops, NULL),
                         0);
    assert_false(apic_page_move(&vcpus[0], NEW));
    check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_vcpu_has_its_own),
        cmocka_unit_test(writes_reach_the_own_one),
        cmocka_unit_test(places_of_others),
        cmocka_unit_test(only_with_legacy),
        cmocka_unit_test(a_full_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
