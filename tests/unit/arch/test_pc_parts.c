/* SPDX-License-Identifier: MIT */
/*
 * Which of a PC's old parts are there (arch/x86/pc_parts.c), by the tables of old, new and broken
 * firmware; and on which machines the ports of emulators are written (arch/x86/emulator.c).
 */
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "arch/x86/emulator.h"
#include "arch/x86/host_pci.h"
#include "arch/x86/pc_parts.h"
#include "lib/bits.h"

#include <string.h>

static uint8_t fadt[276], madt[44];
static bool has_fadt, has_madt;

const struct acpi_header *acpi_table(const char *signature)
{
    if (!strcmp(signature, "FACP"))
        return has_fadt ? (const struct acpi_header *)fadt : NULL;
    return has_madt ? (const struct acpi_header *)madt : NULL;
}

static void put(uint8_t *at, uint64_t value, size_t size)
{
    memcpy(at, &value, size);
}

/* Tables with these contents; `fadt_revision` 0: there is no FADT. */
static void expect(uint8_t fadt_revision, uint16_t boot, uint32_t flags, uint32_t madt_flags,
                   const char *line)
{
    has_fadt = fadt_revision;
    has_madt = true;
    put(fadt + 4, sizeof(fadt), 4);
    fadt[8] = fadt_revision;
    put(fadt + 109, boot, 2);
    put(fadt + 112, flags, 4);
    put(madt + 4, sizeof(madt), 4);
    put(madt + 40, madt_flags, 4);
    support_reset();
    pc_parts_init();
    assert_string_equal(support_log(), line);
}

#define NO_VGA   4
#define NO_RTC   0x20
#define KEYBOARD 2
#define REDUCED  BIT(20)

static void test_parts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PC_PARTS; i++)
        assert_true(pc_has((enum pc_part)i)); /* as long as nothing is known */
    expect(5, NO_VGA | NO_RTC, REDUCED, 0,
           "legacy: by ACPI, this machine has no 8259s, no PIT, no RTC, no keyboard controller, no "
           "VGA\n");
    for (unsigned i = 0; i < PC_PARTS; i++)
        assert_false(pc_has((enum pc_part)i));
    expect(6, KEYBOARD, 0, 1, "");
    for (unsigned i = 0; i < PC_PARTS; i++)
        assert_true(pc_has((enum pc_part)i));
    expect(5, KEYBOARD | NO_RTC, 0, 1, "legacy: by ACPI, this machine has no RTC\n");
    assert_false(pc_has(PC_RTC));
    assert_true(pc_has(PC_PIT));
}

static void test_bits_that_old_tables_do_not_define(void **state)
{
    (void)state;
    expect(1, 0, REDUCED, 1, "");
    expect(3, NO_VGA | NO_RTC, REDUCED, 1,
           "legacy: by ACPI, this machine has no keyboard controller\n");
    expect(4, NO_VGA | NO_RTC | KEYBOARD, REDUCED, 1, "legacy: by ACPI, this machine has no VGA\n");
}

static void test_tables_that_are_missing_or_short(void **state)
{
    (void)state;
    expect(0, 0, 0, 1, "");
    expect(5, 0, 0, 1, "legacy: by ACPI, this machine has no keyboard controller\n");
    put(fadt + 4, 115, 4);
    put(madt + 4, 43, 4);
    put(madt + 40, 0, 4);
    support_reset();
    pc_parts_init();
    assert_string_equal(support_log(), "");
    has_madt = has_fadt = false;
    pc_parts_init();
    assert_string_equal(support_log(), "");
    assert_true(pc_has(PC_I8042) && pc_has(PC_PIC));
}

/* ---- Emulators ------------------------------------------------------------------------------- */

static bool has_pci;
static uint32_t bridge;

bool host_pci_port_exists(void)
{
    return has_pci;
}

uint32_t host_pci_port_read(uint32_t address)
{
    assert_int_equal(address, 0x80000000);
    return bridge;
}

void host_pci_port_write(uint32_t address, uint32_t value)
{
    (void)address, (void)value;
    fail();
}

static void test_emulators(void **state)
{
    (void)state;
    static const uint32_t emulated[] = {0x12378086, 0x71908086, 0x71928086, 0x01228086};
    static const uint32_t real[] = {0x29c08086, 0x9b618086, 0x14501022, 0x12378087, UINT32_MAX};
    has_pci = true;
    for (unsigned i = 0; i < ARRAY_SIZE(emulated); i++) {
        bridge = emulated[i];
        assert_true(emulator_has_ports(false));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(real); i++) {
        bridge = real[i];
        assert_false(emulator_has_ports(false));
        assert_true(emulator_has_ports(true)); /* QEMU's Q35 */
    }
    has_pci = false;
    assert_true(emulator_has_ports(false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_bits_that_old_tables_do_not_define),
        cmocka_unit_test(test_tables_that_are_missing_or_short),
        cmocka_unit_test(test_emulators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
