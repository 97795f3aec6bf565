/* SPDX-License-Identifier: MIT */
/*
 * The machine's name (arch/x86/smbios.c): entry points of both kinds, in the BIOS area and by EFI,
 * structures as firmware has them, and each way in which they can be broken.
 */
#include "tests/unit/support.h"

#include "arch/x86/paging.h"
#include "arch/x86/smbios.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

/* ---- Physical memory: each mapping is a copy of just the bytes asked for, so that the sanitizer
 * sees who reads more -------------------------------------------------------------------------- */

#define BIOS       0xf0000u
#define HIGH       0x7f000000u
#define SPACE_SIZE 0x10000u

static uint8_t bios[SPACE_SIZE], high[SPACE_SIZE];
static void *copies[64];
static unsigned copy_count;

static uint8_t *at(uint64_t address)
{
    return address >= HIGH ? high + (address - HIGH) : bios + (address - BIOS);
}

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_CACHED);
    uint64_t start = base.v >= HIGH ? HIGH : BIOS;
    if (base.v < start || base.v - start > SPACE_SIZE || size > SPACE_SIZE - (base.v - start))
        return NULL;
    assert_true(copy_count < ARRAY_SIZE(copies));
    copies[copy_count] = malloc(size);
    return memcpy(copies[copy_count++], at(base.v), size);
}

static struct boot_info info;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&info, 0, sizeof(info));
    memset(bios, 0, sizeof(bios));
    memset(high, 0, sizeof(high));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (copy_count)
        free(copies[--copy_count]);
    return 0;
}

static void put(uint64_t address, uint64_t value, size_t size)
{
    memcpy(at(address), &value, size);
}

static void fix_sum(uint8_t *bytes, size_t size, size_t sum_at)
{
    bytes[sum_at] = 0;
    for (size_t i = 0; i < size; i++)
        if (i != sum_at)
            bytes[sum_at] = (uint8_t)(bytes[sum_at] - bytes[i]);
}

/* ---- What the firmware has ------------------------------------------------------------------- */

#define TABLE (HIGH + 0x1000)

static void entry_2(uint64_t address, uint64_t table, uint16_t size, uint16_t count)
{
    memcpy(at(address), "_SM_", 4);
    memcpy(at(address) + 16, "_DMI_", 5);
    at(address)[5] = 31;
    put(address + 22, size, 2);
    put(address + 24, table, 4);
    put(address + 28, count, 2);
    fix_sum(at(address), 31, 4);
}

static void entry_3(uint64_t address, uint64_t table, uint32_t size)
{
    memcpy(at(address), "_SM3_", 5);
    at(address)[6] = 24;
    put(address + 12, size, 4);
    put(address + 16, table, 8);
    fix_sum(at(address), 24, 5);
}

static uint64_t next;

/* Adds a structure with these formatted bytes (after the header) and strings. */
static void add(uint8_t type, const char *formatted, size_t size, const char *strings,
                size_t length)
{
    put(next, type, 1);
    put(next + 1, 4 + size, 1);
    memcpy(at(next + 4), formatted, size);
    memcpy(at(next + 4 + size), strings, length);
    next += 4 + size + length;
}
#define ADD(type, formatted, strings) \
    add(type, formatted, sizeof(formatted) - 1, strings, sizeof(strings))

/* As a computer of 2019 has it: vendor, version, segment and date of the BIOS; manufacturer,
 * product, version and serial number; something between them; the end. */
static uint32_t good_table(void)
{
    next = TABLE;
    ADD(0, "\1\2\0\xf0\3\xff",
        "American Megatrends Inc.\0F.42\0"
        "11/08/2019\0");
    ADD(2, "\1", "Board\0");
    ADD(126, "", "\0"); /* no strings: two zeros */
    ADD(1, "\1\2\3\4", "Example Corp.   \0Tower 3000\0Rev. A\0secret\0");
    ADD(127, "", "\0");
    return (uint32_t)(next - TABLE);
}
#define GOOD_LINE                                                                        \
    "machine: Example Corp. Tower 3000 Rev. A, firmware F.42 of 11/08/2019 by American " \
    "Megatrends Inc.\n"
#define NO_NAMES  "machine: its firmware does not name it (SMBIOS has no names)\n"
#define NO_SMBIOS "machine: its firmware does not name it (there is no SMBIOS)\n"
#define ONLY_BIOS                                                                                 \
    "machine: its firmware does not name it, firmware F.42 of 11/08/2019 by American Megatrends " \
    "Inc.\n"

static void expect(const char *line)
{
    support_reset();
    smbios_init(&info);
    assert_string_equal(support_log(), line);
}

static void test_both_entry_points_in_the_bios_area(void **state)
{
    (void)state;
    uint32_t size = good_table();
    entry_2(0xf4f40, TABLE, (uint16_t)size, 5);
    expect(GOOD_LINE);
    const struct smbios_names *names = smbios_names();
    assert_string_equal(names->vendor, "Example Corp.");
    assert_string_equal(names->product, "Tower 3000");
    assert_string_equal(names->version, "Rev. A");
    assert_string_equal(names->bios_vendor, "American Megatrends Inc.");
    assert_string_equal(names->bios_version, "F.42");
    assert_string_equal(names->bios_date, "11/08/2019");
    at(0xf4f40)[5] = 30; /* a mistake of the specification, 2.1 */
    fix_sum(at(0xf4f40), 31, 4);
    expect(GOOD_LINE);
    memset(bios, 0, sizeof(bios));
    entry_3(0xfffe0, TABLE, size);
    expect(GOOD_LINE);
    entry_2(0xf0000, HIGH, 100, 5); /* the newer one is preferred */
    expect(GOOD_LINE);
    memset(bios, 0, sizeof(bios));
    expect(NO_SMBIOS);
    assert_string_equal(smbios_names()->vendor, "");
}

static void test_entry_points_that_are_none(void **state)
{
    (void)state;
    uint32_t size = good_table();
    entry_3(0xf0008, TABLE, size); /* not at a multiple of 16 */
    expect(NO_SMBIOS);
    setup(NULL), good_table();
    entry_3(0xf0010, TABLE, size);
    at(0xf0010)[5]++;
    expect(NO_SMBIOS);
    setup(NULL), good_table();
    entry_3(0xf0010, TABLE, size);
    at(0xf0010)[6] = 23;
    expect(NO_SMBIOS);
    setup(NULL), good_table();
    memcpy(at(0xffff0), "_SM3_", 5); /* ends beyond the area */
    expect(NO_SMBIOS);
    memcpy(at(0xffff0), "_SM_\0\x20", 6);
    expect(NO_SMBIOS);
    setup(NULL), good_table();
    entry_2(0xffff0 - 16, TABLE, (uint16_t)size, 5);
    at(0xffff0 - 16)[5] = 33; /* longer than what is left */
    expect(NO_SMBIOS);
}

/* EFI's system table, with a configuration table of two entries. */
static void efi(uint32_t crc, const char *guid, uint64_t entry)
{
    static const char guids[2][17] = {
        "\x31\x2d\x9d\xeb\x88\x2d\xd3\x11\x9a\x16\x00\x90\x27\x3f\xc1\x4d",
        "\x44\x15\xfd\xf2\x94\x97\x2c\x4a\x99\x2e\xe5\xbb\xcf\x20\xe3\x94"};
    info.efi_system_table = HPA(HIGH + 0x8000);
    memcpy(at(HIGH + 0x8000), "IBI SYST", 8);
    put(HIGH + 0x8000 + 12, 120, 4);
    put(HIGH + 0x8000 + 16, crc, 4);
    put(HIGH + 0x8000 + 104, 2, 8);
    put(HIGH + 0x8000 + 112, HIGH + 0x9000, 8);
    memcpy(at(HIGH + 0x9000 + 24), guids[guid[0] - '2'], 16);
    put(HIGH + 0x9000 + 40, entry, 8);
}
#define EFI_CRC 0x42a2306du

static void test_entry_points_by_efi(void **state)
{
    (void)state;
    uint32_t size = good_table();
    efi(EFI_CRC, "2", HIGH + 0x2000);
    entry_2(HIGH + 0x2000, TABLE, (uint16_t)size, 5);
    expect(GOOD_LINE);
    efi(EFI_CRC, "3", HIGH + 0x3008);
    expect(NO_SMBIOS);
    entry_3(HIGH + 0x3008, TABLE, size);
    expect(GOOD_LINE);
    efi(EFI_CRC, "3", 0); /* cannot be mapped */
    expect(NO_SMBIOS);
    efi(EFI_CRC + 1, "3", HIGH + 0x3008); /* acpi_init() has said what is wrong with it */
    expect(NO_SMBIOS);
}

/* The firmware of a tablet: pointers have four bytes. */
#define EFI_CRC_32 0x293971d6u

static void test_entry_points_by_32_bit_efi(void **state)
{
    (void)state;
    uint32_t size = good_table();
    efi(EFI_CRC, "3", 0);
    memset(at(HIGH + 0x8000 + 24), 0, 96);
    put(HIGH + 0x8000 + 12, 72, 4);
    put(HIGH + 0x8000 + 16, EFI_CRC_32, 4);
    put(HIGH + 0x8000 + 64, 2, 4);
    put(HIGH + 0x8000 + 68, HIGH + 0x9000, 4);
    memmove(at(HIGH + 0x9000 + 20), at(HIGH + 0x9000 + 24), 16);
    put(HIGH + 0x9000 + 36, HIGH + 0x3008, 4);
    put(HIGH + 0x9000 + 40, UINT32_MAX, 4); /* not the upper half of it */
    entry_3(HIGH + 0x3008, TABLE, size);
    expect(GOOD_LINE);
    put(HIGH + 0x8000 + 12, 71, 4);
    expect(NO_SMBIOS);
}

static void test_structures_that_are_cut(void **state)
{
    (void)state;
    uint32_t size = good_table();
    /* Whatever length the entry point says, nothing behind it is read. */
    for (uint32_t cut = 0; cut <= size; cut++) {
        entry_3(0xf0000, TABLE, cut);
        support_reset();
        smbios_init(&info);
        teardown(NULL);
    }
    expect(GOOD_LINE);
    entry_3(0xf0000, TABLE, 0);
    expect(NO_NAMES);
    entry_3(0xf0000, TABLE, 52); /* the first structure */
    expect(ONLY_BIOS);
    entry_3(0xf0000, TABLE, 51);
    expect(NO_NAMES);
    entry_3(0xf0000, HIGH + SPACE_SIZE - 8, 4096); /* not all of it is memory */
    expect(NO_NAMES);
    memset(bios, 0, sizeof(bios));
    entry_2(0xf0000, TABLE, (uint16_t)size, 3); /* fewer structures than bytes */
    expect(ONLY_BIOS);
}

static void test_structures_that_are_wrong(void **state)
{
    (void)state;
    entry_3(0xf0000, TABLE, 0x1000);
    next = TABLE;
    ADD(1, "\5\0\1", "One\0"); /* numbers of strings that are not there, or none */
    ADD(127, "", "\0");
    expect("machine: One, firmware ? of ? by ?\n");
    memset(high, 0, sizeof(high));
    next = TABLE;
    ADD(1, "", "\0"); /* too short for what it should have */
    ADD(127, "", "\0");
    expect(NO_NAMES);
    memset(high, 0, sizeof(high));
    next = TABLE;
    ADD(127, "", "\0");
    ADD(1, "\1\1\1", "Behind the end\0");
    expect(NO_NAMES);
    memset(high, 0, sizeof(high));
    put(TABLE, 1, 1);
    put(TABLE + 1, 3, 1); /* a length below the header's */
    expect(NO_NAMES);
    memset(high, 'x', sizeof(high)); /* strings that never end */
    put(TABLE, 0x0401, 2);
    expect(NO_NAMES);
    memset(high, 0, sizeof(high));
    next = TABLE;
    ADD(1, "\1", "A name of more than sixty-three characters is cut, so that it fits into it\0");
    expect("machine: A name of more than sixty-three characters is cut, so that it f, "
           "firmware ? of ? by ?\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_both_entry_points_in_the_bios_area, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_points_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_points_by_efi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_points_by_32_bit_efi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_structures_that_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_structures_that_are_wrong, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
