/* SPDX-License-Identifier: MIT */
/* Firmware tables are input: what is found in good ones, and what is said of broken ones. */
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "arch/x86/madt.h"
#include "arch/x86/paging.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

/* ---- Physical memory: a window, of which each mapping is a copy of just the bytes asked for, so
 * that the sanitizer sees who reads more ------------------------------------------------------- */

#define WINDOW      0x7fe0000u
#define WINDOW_SIZE 0x40000u
#define BIOS        0xe0000u
#define BIOS_SIZE   0x20000u

#define LOW_SIZE 0xa0000u

static uint8_t window[WINDOW_SIZE], bios[BIOS_SIZE], low[LOW_SIZE];
static void *copies[4096];
static unsigned copy_count;

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_CACHED);
    const uint8_t *from;
    if (base.v >= WINDOW && base.v + size <= WINDOW + WINDOW_SIZE && base.v + size >= base.v)
        from = window + (base.v - WINDOW);
    else if (base.v >= BIOS && base.v + size <= BIOS + BIOS_SIZE)
        from = bios + (base.v - BIOS);
    else if (base.v + size <= LOW_SIZE)
        from = low + base.v;
    else
        return NULL;
    assert_true(copy_count < ARRAY_SIZE(copies));
    copies[copy_count] = malloc(size);
    return memcpy(copies[copy_count++], from, size);
}

static struct boot_info info;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&info, 0, sizeof(info));
    memset(window, 0, sizeof(window));
    memset(bios, 0, sizeof(bios));
    memset(low, 0, sizeof(low));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (copy_count)
        free(copies[--copy_count]);
    return 0;
}

/* ---- Good tables ----------------------------------------------------------------------------- */

#define RSDP     0x7fe0010u
#define XSDT     0x7fe1000u
#define RSDT     0x7fe2000u
#define MADT     0x7fe3000u
#define OTHER    0x7fe4000u
#define EFI      0x7fe5000u
#define EFI_LIST 0x7fe6000u

static uint8_t *at(uint32_t physical)
{
    return physical >= WINDOW ? window + (physical - WINDOW)
           : physical >= BIOS ? bios + (physical - BIOS)
                              : low + physical;
}

static void put(uint8_t *to, uint64_t value, size_t size)
{
    memcpy(to, &value, size);
}

static void fix_sum(uint8_t *bytes, size_t size, size_t sum_at)
{
    bytes[sum_at] = 0;
    for (size_t i = 0; i < size; i++)
        if (i != sum_at)
            bytes[sum_at] = (uint8_t)(bytes[sum_at] - bytes[i]);
}

static void table(uint32_t physical, const char *signature, uint32_t length)
{
    memcpy(at(physical), signature, 4);
    put(at(physical) + 4, length, 4);
    fix_sum(at(physical), length, 9);
}

static void rsdp(uint32_t physical, uint8_t revision)
{
    uint8_t *to = at(physical);
    memcpy(to, "RSD PTR ", 8);
    to[15] = revision;
    put(to + 16, RSDT, 4);
    fix_sum(to, 20, 8);
    if (revision < 2)
        return;
    put(to + 20, 36, 4);
    put(to + 24, XSDT, 8);
    fix_sum(to, 36, 32);
}

/* A MADT that both roots list, with entries of two enabled CPUs, a disabled one and something
 * else. */
static void good_tables(void)
{
    static const uint8_t entries[] = {
        0, 8,  0, 0, 1,    0,    0,    0,                            /* CPU 0 */
        0, 8,  1, 2, 1,    0,    0,    0,                            /* CPU 2 */
        0, 8,  2, 4, 2,    0,    0,    0,                            /* may come later */
        1, 12, 0, 0, 0,    0,    0xc0, 0xfe, 0, 0, 0, 0,             /* I/O APIC */
        9, 16, 0, 0, 0,    1,    0,    0,    1, 0, 0, 0, 9, 0, 0, 0, /* CPU 256 */
        9, 16, 0, 0, 2,    0,    0,    0,    1, 0, 0, 0, 1, 0, 0, 0, /* CPU 2 again */
        9, 16, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1, 0, 0, 0, /* nobody */
    };
    memcpy(at(MADT) + 44, entries, sizeof(entries));
    table(MADT, "APIC", 44 + sizeof(entries));
    table(OTHER, "HPET", 56);
    put(at(XSDT) + 36, OTHER, 8);
    put(at(XSDT) + 44, MADT, 8);
    table(XSDT, "XSDT", 52);
    put(at(RSDT) + 36, OTHER, 4);
    put(at(RSDT) + 40, MADT, 4);
    table(RSDT, "RSDT", 44);
    rsdp(RSDP, 2);
    rsdp(0xe0020, 2);
}

static uint32_t crc(const uint8_t *bytes, size_t size)
{
    uint32_t value = ~0u;
    for (size_t i = 0; i < size * 8; i++) {
        uint32_t bit = ((uint32_t)bytes[i / 8] >> i % 8 ^ value) & 1;
        value = value >> 1 ^ (bit ? 0xedb88320u : 0);
    }
    return ~value;
}

static void efi_tables(void)
{
    static const uint8_t guid[16] = {0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11,
                                     0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81};
    memcpy(at(EFI), "IBI SYST", 8);
    put(at(EFI) + 12, 120, 4);
    put(at(EFI) + 104, 2, 8);
    put(at(EFI) + 112, EFI_LIST, 8);
    memcpy(at(EFI_LIST) + 24, guid, 16);
    put(at(EFI_LIST) + 40, RSDP, 8);
    put(at(EFI) + 16, 0, 4);
    put(at(EFI) + 16, crc(at(EFI), 120), 4);
    info.efi_system_table = HPA(EFI);
}

static struct madt parse(void)
{
    struct madt madt;
    acpi_init(&info);
    (void)!madt_parse(acpi_table("APIC"), 2, &madt);
    return madt;
}

static void assert_found(void)
{
    struct madt madt = parse();
    assert_int_equal(madt.count, 3);
    assert_int_equal(madt.apic_id[0], 2); /* the boot CPU */
    assert_int_equal(madt.apic_id[1], 0);
    assert_int_equal(madt.apic_id[2], 256);
    assert_int_equal(madt.unused, 0);
}

static void assert_alone(const char *message)
{
    struct madt madt = parse();
    if (!strstr(support_log(), message))
        fail_msg("\"%s\" is not in\n%s", message, support_log());
    assert_int_equal(madt.count, 1);
    assert_int_equal(madt.apic_id[0], 2);
}

static void the_rsdp_is_found(void **state)
{
    (void)state;
    good_tables();
    assert_found(); /* in the BIOS area */
    memset(bios, 0, sizeof(bios));
    memcpy(info.rsdp, at(RSDP), 36);
    info.rsdp_size = 36;
    assert_found(); /* from the loader */
    info.rsdp_size = 0;
    efi_tables();
    assert_found();
    assert_string_equal(support_log(), "");
}

/* Every multiple of 16 at which it fits, with 36 bytes and with the 20 of ACPI 1.0. */
static void any_place_of_the_bios_counts(void **state)
{
    (void)state;
    static const struct {
        uint32_t at;
        uint8_t revision;
    } places[] = {{0xe0000, 2}, {0xe0000, 0}, {0xfffd0, 2}, {0xfffe0, 0},
                  {0x9fc00, 2}, {0x9fc00, 0}, {0x9ffd0, 2}, {0x9ffe0, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        setup(NULL);
        good_tables();
        memset(bios, 0, sizeof(bios));
        put(at(0x40e), 0x9fc0, 2);
        rsdp(places[i].at, places[i].revision);
        assert_found();
        assert_string_equal(support_log(), "");
        teardown(NULL);
    }
}

/* Where the BIOS notes no EBDA, or one in its own data, nothing is looked for. */
static void an_ebda_that_is_none(void **state)
{
    (void)state;
    static const uint16_t segments[] = {0, 0x3f, 0xa000, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        good_tables();
        memset(bios, 0, sizeof(bios));
        rsdp(0x3f0, 0); /* in the BIOS' data */
        put(at(0x40e), segments[i], 2);
        assert_alone("ACPI has no usable table");
    }
    memset(bios, 0, sizeof(bios));
    rsdp(0x9f800 + 1024, 2); /* beyond its first KiB */
    put(at(0x40e), 0x9f80, 2);
    assert_alone("ACPI has no usable table");
}

/* Of 36 bytes that are said to be there, 20 are. */
static void a_short_copy_of_the_loader(void **state)
{
    (void)state;
    good_tables();
    memset(bios, 0, sizeof(bios));
    memcpy(info.rsdp, at(RSDP), 36);
    info.rsdp_size = 20;
    assert_found(); /* by the RSDT */
    assert_non_null(strstr(support_log(), "the RSDP from the loader is of revision 2 but has no "
                                          "more than 20 bytes; only its older half is used"));
    info.rsdp_size = 19;
    assert_alone("ACPI has no usable table");
}

static void revision_0_has_the_rsdt_only(void **state)
{
    (void)state;
    good_tables();
    rsdp(0xe0020, 0);
    put(at(0xe0020) + 24, 1, 8); /* not its */
    assert_found();
}

/* ---- Broken ones ----------------------------------------------------------------------------- */

static void a_broken_rsdp_is_named(void **state)
{
    (void)state;
    good_tables();
    at(0xe0020)[9]++;
    assert_alone("the RSDP from the BIOS area is not used: its 20 bytes sum to 0x1");
    at(0xe0020)[9]--;
    at(0xe0020)[33]++; /* the newer half: the RSDT is there still */
    assert_found();
    assert_non_null(strstr(support_log(), "only its older half is used"));
}

static void a_broken_copy_of_the_loader_is_not_the_end(void **state)
{
    (void)state;
    good_tables();
    memcpy(info.rsdp, at(RSDP), 36);
    info.rsdp[17]++;
    info.rsdp_size = 36;
    assert_found();
    assert_non_null(strstr(support_log(), "the RSDP from the loader is not used"));
}

static void a_broken_root_is_replaced_by_the_other(void **state)
{
    (void)state;
    good_tables();
    at(XSDT)[20]++;
    assert_found();
    assert_non_null(strstr(support_log(), "XSDT at 0x7fe1000 is not used: its 52 bytes do not"));
    at(RSDT)[20]++;
    assert_alone("RSDT at 0x7fe2000 is not used");
}

static void lengths_are_checked(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 35, 0x400001, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        good_tables();
        put(at(MADT) + 4, bad[i], 4);
        assert_alone("the table APIC at 0x7fe3000 is not used: its length is");
    }
    good_tables();
    put(at(MADT) + 4, 0x300000, 4);
    assert_alone("reach beyond physical memory");
}

static void tables_in_the_void_are_skipped(void **state)
{
    (void)state;
    good_tables();
    put(at(XSDT) + 36, 0x123456789000, 8);
    table(XSDT, "XSDT", 52);
    assert_found();
    const char *said = strstr(support_log(), "the address of a table, 0x123456789000");
    assert_non_null(said);
    assert_non_null(acpi_table("APIC")); /* whoever asks for the next one need not hear it again */
    assert_null(strstr(said + 1, "the address of a table"));
    put(at(XSDT) + 44, 0, 8);
    table(XSDT, "XSDT", 49); /* the last entry is cut off */
    assert_alone("ACPI has no usable table");
}

static void a_broken_efi_table_is_named(void **state)
{
    (void)state;
    good_tables();
    memset(bios, 0, sizeof(bios));
    efi_tables();
    at(EFI)[50]++;
    assert_alone("is not used: its CRC is");
    efi_tables();
    at(EFI)[0]++;
    assert_alone("there is no EFI system table at 0x7fe5000");
    efi_tables();
    put(at(EFI) + 12, 119, 4);
    assert_alone("there is no EFI system table at 0x7fe5000");
    efi_tables();
    put(at(EFI) + 104, 129, 8);
    put(at(EFI) + 16, 0, 4);
    put(at(EFI) + 16, crc(at(EFI), 120), 4);
    assert_alone("it lists 129 tables");
}

/* The entries begin at 44; the first is 8 long. */
static void broken_entries_are_named(void **state)
{
    (void)state;
    static const struct {
        unsigned offset;
        uint8_t value;
        const char *message;
    } broken[] = {
        {45, 0, "offset 44 does not fit into the table: its length is 0"},
        {45, 1, "offset 44 does not fit into the table: its length is 1"},
        {45, 255, "offset 44 does not fit into the table: its length is 255"},
        {45, 7, "offset 44 is a local APIC of length 7"},
        {81, 15, "offset 80 is a local x2APIC of length 15"},
        {113, 17, "offset 112 does not fit into the table: its length is 17"},
        {113, 15, "offset 112 is a local x2APIC of length 15"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(broken); i++) {
        good_tables();
        at(MADT)[broken[i].offset] = broken[i].value;
        table(MADT, "APIC", 128);
        assert_alone(broken[i].message);
    }
    good_tables();
    table(MADT, "APIC", 113);
    assert_alone("offset 112 is cut off: bytes left: 1");
    table(MADT, "APIC", 43);
    assert_alone("ACPI has no usable table");
}

static void more_cpus_than_places_are_counted(void **state)
{
    (void)state;
    good_tables();
    for (unsigned i = 0; i < 110; i++) { /* ten of them twice */
        const uint8_t entry[8] = {0, 8, 0, (uint8_t)(i < 100 ? i : 190 - i), 1};
        memcpy(at(MADT) + 44 + 8 * i, entry, 8);
    }
    const uint8_t large[16] = {9, 16, 0, 0, 0, 0, 1, 0, 1}; /* 65536 */
    memcpy(at(MADT) + 44 + 880, large, sizeof(large));
    table(MADT, "APIC", 44 + 880 + 16);
    struct madt madt = parse();
    assert_int_equal(madt.count, CPUS_MAX);
    assert_int_equal(madt.unused, 100 - CPUS_MAX + 1);
    assert_string_equal(support_log(), "MADT: 37 CPUs are left out, because at most 64 are used; "
                                       "their APIC IDs: 64-99, 65536\n");
    for (unsigned i = 0; i < 200; i++) /* more than can be named */
        at(MADT)[44 + 8 * (i % 110) + 3] = (uint8_t)(i * 2);
    table(MADT, "APIC", 44 + 880 + 16);
    madt = parse();
    assert_int_equal(madt.count, CPUS_MAX);
    assert_non_null(strstr(support_log(), ", ...\n"));
}

/* Whatever is in a table whose sum is right: no byte beyond it is read, and no CPU comes twice. */
static void any_madt_is_survived(void **state)
{
    (void)state;
    srand(1);
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t length = 44 + (uint32_t)rand() % 120;
        for (uint32_t i = 44; i < length; i++)
            at(MADT)[i] = (uint8_t)(rand() % (rand() % 3 ? 17 : 256));
        table(MADT, "APIC", length);
        struct acpi_header *copy = malloc(length);
        struct madt madt;
        memcpy(copy, at(MADT), length);
        int error = madt_parse(copy, 7, &madt);
        assert_true(!error || madt.count == 1);
        for (unsigned i = 0; i < madt.count; i++)
            for (unsigned j = 0; j < i; j++)
                assert_int_not_equal(madt.apic_id[i], madt.apic_id[j]);
        free(copy);
        if (round % 1000 == 0)
            support_reset();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_rsdp_is_found),
        TEST(any_place_of_the_bios_counts),
        TEST(an_ebda_that_is_none),
        TEST(a_short_copy_of_the_loader),
        TEST(revision_0_has_the_rsdt_only),
        TEST(a_broken_rsdp_is_named),
        TEST(a_broken_copy_of_the_loader_is_not_the_end),
        TEST(a_broken_root_is_replaced_by_the_other),
        TEST(lengths_are_checked),
        TEST(tables_in_the_void_are_skipped),
        TEST(a_broken_efi_table_is_named),
        TEST(broken_entries_are_named),
        TEST(more_cpus_than_places_are_counted),
        TEST(any_madt_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
