/* SPDX-License-Identifier: MIT */
/* The tables that a VM's guest finds, read by the code that reads a real machine's. */
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "arch/x86/madt.h"
#include "arch/x86/paging.h"
#include "launch/firmware.h"
#include "vm/layout.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <string.h>

/* ---- The guest's BIOS area, and how it came to be -------------------------------------------- */

#define BIOS      0xe0000u
#define BIOS_SIZE 0x20000u

static uint8_t bios[BIOS_SIZE] __attribute__((aligned(16)));
static uint64_t page; /* where the slot is */
static int add_error, load_error;

int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages, uint32_t flags)
{
    (void)mmu;
    assert_int_equal(id, GUEST_FIRMWARE_SLOT);
    assert_int_equal(pages, 1);
    assert_int_equal(flags, MEMSLOT_READONLY);
    page = gpa.v;
    return add_error;
}

int guest_load(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu;
    assert_true(gpa.v >= page && gpa.v + size <= page + PAGE_SIZE);
    assert_true(gpa.v >= BIOS && gpa.v + size <= BIOS + BIOS_SIZE);
    memcpy(bios + (gpa.v - BIOS), buffer, size);
    return load_error;
}

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_CACHED);
    assert_true(base.v >= BIOS && base.v + size <= BIOS + BIOS_SIZE);
    return bios + (base.v - BIOS);
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(bios, 0xff, sizeof(bios)); /* as the guest sees the hole */
    add_error = load_error = 0;
    return 0;
}

/* ---------------------------------------------------------------------------------------------- */

static void every_count_of_cpus_is_found(void **state)
{
    for (unsigned cpus = 1; cpus <= VCPUS_MAX; cpus++) {
        const struct boot_info info = {0};
        struct madt madt;
        setup(state);
        assert_int_equal(firmware_add(NULL, cpus), 0);
        acpi_init(&info);
        assert_int_equal(madt_parse(acpi_table("APIC"), 0, &madt), 0);
        assert_int_equal(madt.count, cpus);
        assert_int_equal(madt.unused, 0);
        for (unsigned i = 0; i < cpus; i++)
            assert_int_equal(madt.apic_id[i], i);
        assert_string_equal(support_log(), "");
    }
}

/* As iasl compiles a table of the same contents, but for its own name and so the sum. */
static void the_bytes_of_a_madt(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        'A', 'P', 'I', 'C', 60,  0,   0,   0,   5,    0 /* sum */, 'E', 'P', 'T', 'V', 'I',
        'S', 'E', 'P', 'T', 'V', 'I', 'S', 'O', 'R',  1,           0,   0,   0,   'E', 'P',
        'T', 'V', 1,   0,   0,   0,   0,   0,   0xe0, 0xfe,        0,   0,   0,   0,   0,
        8,   0,   0,   1,   0,   0,   0,   0,   8,    1,           1,   1,   0,   0,   0};
    assert_int_equal(firmware_add(NULL, 2), 0);
    acpi_init(&(struct boot_info){0});
    const uint8_t *got = (const uint8_t *)acpi_table("APIC");
    assert_non_null(got);
    for (unsigned i = 0; i < sizeof(want); i++)
        if (i != 9 && got[i] != want[i])
            fail_msg("byte %u is %#x, not %#x", i, got[i], want[i]);
}

static void no_memory_is_passed_on(void **state)
{
    (void)state;
    load_error = -ENOMEM;
    assert_int_equal(firmware_add(NULL, 2), -ENOMEM);
    add_error = -EEXIST;
    assert_int_equal(firmware_add(NULL, 2), -EEXIST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_count_of_cpus_is_found, setup),
        cmocka_unit_test_setup(the_bytes_of_a_madt, setup),
        cmocka_unit_test_setup(no_memory_is_passed_on, setup),
    };
    return cmocka_run_group_tests_name("firmware", tests, NULL, NULL);
}
