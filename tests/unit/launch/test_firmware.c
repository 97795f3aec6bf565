/* SPDX-License-Identifier: MIT */
/* The tables that a VM's guest finds: the CPUs, read by the code that reads a real machine's, and
 * byte for byte what Intel's compiler makes of the same descriptions. */
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "arch/x86/madt.h"
#include "arch/x86/paging.h"
#include "launch/firmware.h"
#include "vm/layout.h"
#include "lib/bits.h"

#include <string.h>

/* ---- The guest's BIOS area, and how it came to be -------------------------------------------- */

#define BIOS      0xe0000u
#define BIOS_SIZE 0x20000u

static uint8_t bios[BIOS_SIZE] __attribute__((aligned(16)));
static struct load_plan plan;

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu;
    bool tables = gpa.v == BIOS && size <= PAGE_SIZE;
    assert_true(tables || (gpa.v == 0xffff0 && size <= 16));
    memcpy(bios + (gpa.v - BIOS), buffer, size);
    return 0;
}

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_CACHED);
    assert_true(base.v >= BIOS && base.v + size <= BIOS + BIOS_SIZE);
    return bios + (base.v - BIOS);
}

/* Makes the tables of a VM, and finds them as its guest would. */
static void firmware_of(const struct guest_image *image)
{
    support_reset();
    memset(bios, 0, sizeof(bios));
    memset(&plan, 0xee, sizeof(plan));
    plan_init(&plan);
    assert_int_equal(firmware_plan(&plan, image), EXIT_OK);
    assert_int_equal(plan.count, image->pc && !image->td ? 2 : 1);
    assert_int_equal(plan.records[0].kind, LOAD_FIRMWARE);
    assert_false(plan.records[0].measured);
    unsigned index = 0;
    uint64_t done = 0;
    enum exit_code code = EXIT_OK;
    while (!plan_copy_piece(NULL, image, &plan, &index, &done, &code))
        ;
    assert_int_equal(code, EXIT_OK);
    acpi_init(&(struct boot_info){0});
}

static void firmware(unsigned cpus, bool pc)
{
    firmware_of(&(struct guest_image){.name = "g", .cpus = cpus, .pc = pc});
}

static uint64_t get(const void *table, size_t offset, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, (const uint8_t *)table + offset, size);
    return value;
}

static void compare(const struct acpi_header *table, const uint8_t *want, size_t size)
{
    const uint8_t *got = (const uint8_t *)table;
    assert_non_null(table);
    assert_int_equal(table->length, sizeof(*table) + size);
    for (unsigned i = 0; i < size; i++)
        if (got[sizeof(*table) + i] != want[i])
            fail_msg("byte %u is %#x, not %#x", i, got[sizeof(*table) + i], want[i]);
}

/* ---------------------------------------------------------------------------------------------- */

static void every_count_of_cpus_is_found(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * VCPUS_MAX; i++) {
        unsigned cpus = i / 2 + 1;
        bool pc = i & 1;
        struct madt madt;
        firmware(cpus, pc);
        assert_int_equal(madt_parse(acpi_table("APIC"), 0, &madt), 0);
        assert_int_equal(madt.count, cpus);
        assert_int_equal(madt.unused, 0);
        for (unsigned n = 0; n < cpus; n++)
            assert_int_equal(madt.apic_id[n], n);
        assert_int_equal(!!acpi_table("FACP"), pc);
        assert_string_equal(support_log(), "");
    }
}

/* The expected bytes are those that the assembler makes of the instructions that write 0 and then 6
 * to port 0xcf9 and halt. */
static void the_code_at_the_reset_vector(void **state)
{
    (void)state;
    static const uint8_t want[16] = {0xba, 0xf9, 0x0c, 0x30, 0xc0, 0xee,
                                     0xb0, 6,    0xee, 0xf4, 0xeb, 0xfd};
    firmware(1, true);
    assert_memory_equal(bios + 0xffff0 - BIOS, want, sizeof(want));
    firmware(1, false);
    assert_memory_equal(bios + 0xffff0 - BIOS, (uint8_t[16]){0}, 16);
}

/* A TD has the mailbox that wakes its CPUs as the last entry of its MADT, and no real mode in which
 * code at the reset vector could run. */
static void a_td_has_a_mailbox(void **state)
{
    (void)state;
    static const uint8_t want[] = {0x10, 16, 0, 0, 0, 0, 0, 0, 0, 0x10, 0xff, 0xff, 0, 0, 0, 0};
    struct madt madt;
    for (unsigned cpus = 1; cpus <= VCPUS_MAX; cpus++) {
        firmware_of(&(struct guest_image){.name = "g", .cpus = cpus, .pc = true, .td = true});
        const struct acpi_header *table = acpi_table("APIC");
        assert_int_equal(madt_parse(table, 0, &madt), 0);
        assert_int_equal(madt.count, cpus);
        assert_int_equal(table->length, 44 + 8 * cpus + 12 + sizeof(want));
        assert_memory_equal((const uint8_t *)table + table->length - 16, want, sizeof(want));
        assert_memory_equal(bios + GUEST_RESET - BIOS, (uint8_t[16]){0}, 16);
    }
}

/* The expected bytes are what iasl makes of tables with these contents, after their headers. */
static void the_bytes_of_a_madt(void **state)
{
    (void)state;
    static const uint8_t want[] = {0, 0, 0xe0, 0xfe, 0, 0, 0, 0, /* no 8259s */
                                   0, 8, 0,    0,    1, 0, 0, 0, 0,    8,    1, 1, 1, 0,
                                   0, 0, 1,    12,   0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0};
    firmware(2, false);
    compare(acpi_table("APIC"), want, sizeof(want) - 12);
    const uint8_t *got = (const uint8_t *)acpi_table("APIC");
    assert_memory_equal(got, "APIC", 4);
    assert_int_equal(got[8], 5);
    assert_memory_equal(got + 10, "EPTVISEPTVISOR\1\0\0\0EPTV\1\0\0", 26);
    firmware(2, true);
    compare(acpi_table("APIC"), want, sizeof(want));
}

/* iasl 20200925 makes this of

    Name (_S5, Package () {5, 0, 0, 0})
    Scope (\_SB) {
        Device (COM1) {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate () {
                IO (Decode16, 0x3F8, 0x3F8, 1, 8)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {4}
            })
        }
        Device (RTC) {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x70, 0x70, 1, 2) })
        }
    }
*/
static const uint8_t dsdt_bytes[] = {
    0x08, 0x5f, 0x53, 0x35, 0x5f, 0x12, 0x07, 0x04, 0x0a, 0x05, 0x00, 0x00, 0x00, 0x10, 0x43,
    0x06, 0x5f, 0x53, 0x42, 0x5f, 0x5b, 0x82, 0x31, 0x43, 0x4f, 0x4d, 0x31, 0x08, 0x5f, 0x48,
    0x49, 0x44, 0x0c, 0x41, 0xd0, 0x05, 0x01, 0x08, 0x5f, 0x55, 0x49, 0x44, 0x00, 0x08, 0x5f,
    0x43, 0x52, 0x53, 0x11, 0x16, 0x0a, 0x13, 0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08,
    0x89, 0x06, 0x00, 0x03, 0x01, 0x04, 0x00, 0x00, 0x00, 0x79, 0x00, 0x5b, 0x82, 0x28, 0x52,
    0x54, 0x43, 0x5f, 0x08, 0x5f, 0x48, 0x49, 0x44, 0x0c, 0x41, 0xd0, 0x0b, 0x00, 0x08, 0x5f,
    0x55, 0x49, 0x44, 0x00, 0x08, 0x5f, 0x43, 0x52, 0x53, 0x11, 0x0d, 0x0a, 0x0a, 0x47, 0x01,
    0x70, 0x00, 0x70, 0x00, 0x01, 0x02, 0x79, 0x00};

static void the_bytes_of_the_dsdt(void **state)
{
    (void)state;
    firmware(1, true);
    uint64_t dsdt = get(acpi_table("FACP"), 140, 8);
    compare(acpi_table_at(HPA(dsdt), "DSDT"), dsdt_bytes, sizeof(dsdt_bytes));
    assert_int_equal(get(acpi_table("FACP"), 40, 4), dsdt);
}

/* iasl 20200925 makes this of

        Device (VR08) {
            Name (_HID, "LNRO0005")
            Name (_UID, 8)
            Name (_CCA, 1)
            Name (_CRS, ResourceTemplate () {
                Memory32Fixed (ReadWrite, 0xFE208000, 0x200)
                Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) {10}
            })
        }
*/
static const uint8_t net_bytes[] = {
    0x5b, 0x82, 0x42, 0x04, 0x56, 0x52, 0x30, 0x38, 0x08, 0x5f, 0x48, 0x49, 0x44, 0x0d,
    0x4c, 0x4e, 0x52, 0x4f, 0x30, 0x30, 0x30, 0x35, 0x00, 0x08, 0x5f, 0x55, 0x49, 0x44,
    0x0a, 0x08, 0x08, 0x5f, 0x43, 0x43, 0x41, 0x01, 0x08, 0x5f, 0x43, 0x52, 0x53, 0x11,
    0x1a, 0x0a, 0x17, 0x86, 0x09, 0x00, 0x01, 0x00, 0x80, 0x20, 0xfe, 0x00, 0x02, 0x00,
    0x00, 0x89, 0x06, 0x00, 0x01, 0x01, 0x0a, 0x00, 0x00, 0x00, 0x79, 0x00};

/* Sets `bytes` to those of the device VR0n, which lies n pages above the first disk. */
static void bytes_of(uint8_t bytes[sizeof(net_bytes)], uint8_t n, uint8_t line)
{
    memcpy(bytes, net_bytes, sizeof(net_bytes));
    bytes[7] = (uint8_t)(n < 10 ? '0' + n : 'A' + n - 10);
    bytes[29] = n;
    bytes[50] = (uint8_t)(n << 4);
    bytes[sizeof(net_bytes) - 6] = line;
}

/* The most devices that a VM can have, of which these are the last ones. With PCI, none of them is
 * described. */
static void the_bytes_of_virtio_devices(void **state)
{
    (void)state;
    uint8_t want[3][sizeof(net_bytes)];
    struct guest_image image = {
        .name = "g", .cpus = 1, .pc = true, .disks = 8, .net = true, .hvc = true, .rng = true};
    bytes_of(want[0], 8, 10);
    bytes_of(want[1], 9, 11);
    bytes_of(want[2], 10, 9);
    assert_memory_equal(want[0], net_bytes, sizeof(net_bytes));
    firmware_of(&image);
    uint64_t address = get(acpi_table("FACP"), 140, 8);
    const struct acpi_header *dsdt = acpi_table_at(HPA(address), "DSDT");
    assert_non_null(dsdt);
    assert_true(dsdt->length > sizeof(*dsdt) + sizeof(want));
    assert_memory_equal((const uint8_t *)dsdt + dsdt->length - sizeof(want), want, sizeof(want));
    image.pci = true;
    firmware_of(&image);
    dsdt = acpi_table_at(HPA(get(acpi_table("FACP"), 140, 8)), "DSDT");
    for (size_t at = 0; at + 8 <= dsdt->length; at++)
        assert_memory_not_equal((const char *)dsdt + at, "LNRO0005", 8);
}

/* iasl 20200925 makes this of

        Device (PCI0) {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_CCA, 1)
            Name (_CRS, ResourceTemplate () {
                IO (Decode16, 0xCF8, 0xCF8, 1, 8)
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                             ReadWrite, 0, 0xE0100000, 0xFBFFFFFF, 0, 0x1BF00000)
            })
            Name (_PRT, Package () {
                Package () {0x0001FFFF, 0, 0, 17}, … Package () {0x001FFFFF, 0, 0, 23}
            })
            Method (_OSC, 4) { Return (Arg3) }
        }
        Device (MBRD) {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0xE0000000, 0x100000) })
        }
*/
static const uint8_t bridge_bytes[] = {
    0x5b, 0x82, 0x45, 0x1f, 0x50, 0x43, 0x49, 0x30, 0x08, 0x5f, 0x48, 0x49, 0x44, 0x0c, 0x41, 0xd0,
    0x0a, 0x08, 0x08, 0x5f, 0x43, 0x49, 0x44, 0x0c, 0x41, 0xd0, 0x0a, 0x03, 0x08, 0x5f, 0x55, 0x49,
    0x44, 0x00, 0x08, 0x5f, 0x53, 0x45, 0x47, 0x00, 0x08, 0x5f, 0x42, 0x42, 0x4e, 0x00, 0x08, 0x5f,
    0x43, 0x43, 0x41, 0x01, 0x08, 0x5f, 0x43, 0x52, 0x53, 0x11, 0x37, 0x0a, 0x34, 0x47, 0x01, 0xf8,
    0x0c, 0xf8, 0x0c, 0x01, 0x08, 0x88, 0x0d, 0x00, 0x02, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x87, 0x17, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x10, 0xe0, 0xff, 0xff, 0xff, 0xfb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x1b, 0x79,
    0x00, 0x08, 0x5f, 0x50, 0x52, 0x54, 0x12, 0x47, 0x17, 0x1f};
static const uint8_t after_routing_bytes[] = {
    0x14, 0x08, 0x5f, 0x4f, 0x53, 0x43, 0x04, 0xa4, 0x6b, 0x5b, 0x82, 0x2c, 0x4d, 0x42,
    0x52, 0x44, 0x08, 0x5f, 0x48, 0x49, 0x44, 0x0c, 0x41, 0xd0, 0x0c, 0x02, 0x08, 0x5f,
    0x55, 0x49, 0x44, 0x00, 0x08, 0x5f, 0x43, 0x52, 0x53, 0x11, 0x11, 0x0a, 0x0e, 0x86,
    0x09, 0x00, 0x01, 0x00, 0x00, 0x00, 0xe0, 0x00, 0x00, 0x10, 0x00, 0x79, 0x00};

static void the_bytes_of_a_pci_bus(void **state)
{
    (void)state;
    uint8_t want[1024];
    size_t size = sizeof(bridge_bytes);
    memcpy(want, bridge_bytes, size);
    for (uint8_t device = 1; device < 32; device++) {
        const uint8_t element[] = {0x12,   0x0b, 0x04, 0x0c, 0xff, 0xff,
                                   device, 0,    0,    0,    0x0a, (uint8_t)(16 + device % 8)};
        memcpy(want + size, element, sizeof(element));
        size += sizeof(element);
    }
    memcpy(want + size, after_routing_bytes, sizeof(after_routing_bytes));
    size += sizeof(after_routing_bytes);
    firmware_of(&(struct guest_image){.name = "g", .cpus = 1, .pc = true, .pci = true});
    uint64_t address = get(acpi_table("FACP"), 140, 8);
    const struct acpi_header *dsdt = acpi_table_at(HPA(address), "DSDT");
    assert_non_null(dsdt);
    assert_memory_equal((const uint8_t *)dsdt + dsdt->length - size, want, size);
    /* The configuration spaces of bus 0 in segment 0. */
    compare(acpi_table("MCFG"), (uint8_t[24]){[11] = 0xe0}, 24);
    firmware(1, true);
    assert_null(acpi_table("MCFG"));
}

/* By the offsets of ACPI 6.5, table 5.9. */
static void the_fields_of_the_fadt(void **state)
{
    (void)state;
    static const struct {
        size_t offset, size;
        uint64_t value;
    } rows[] = {
        {4, 4, 276},          {8, 1, 6},       {131, 1, 5}, /* 6.5 */
        {36, 4, 0},           {132, 8, 0},                  /* no FACS */
        {45, 8, 0},           {53, 8, 0},      {56, 8, 0},  /* no SCI, SMI or PM1 blocks */
        {109, 2, 0x5},                                      /* no 8042, no VGA, an RTC */
        {112, 4, 0x101531}, /* hardware-reduced, with a reset register */
        {116, 4, 0x01000801}, {120, 8, 0xcf9}, {128, 1, 6},
        {208, 4, 0x03002001}, {212, 8, 0x608}, /* PM timer */
        {244, 4, 0x01000801}, {248, 8, 0x600}, /* sleep control */
        {256, 4, 0x01000801}, {260, 8, 0x601}, /* sleep status */
    };
    firmware(1, true);
    const struct acpi_header *fadt = acpi_table("FACP");
    assert_non_null(fadt);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (get(fadt, rows[i].offset, rows[i].size) != rows[i].value)
            fail_msg("offset %zu is %#lx", rows[i].offset, get(fadt, rows[i].offset, rows[i].size));
}

/* The memory map declares the tables as ACPI memory, and the rest of the BIOS area as reserved. */
static void the_memory_map(void **state)
{
    (void)state;
    struct guest_range ram[GUEST_RAM_PIECES];
    struct guest_map_range map[GUEST_MAP_RANGES];
    static const struct guest_map_range want[] = {
        {0, 0xa0000, BOOT_RAM},           {0xa0000, 0x40000, BOOT_RESERVED},
        {0xe0000, 0x1000, BOOT_ACPI},     {0xe1000, 0x1f000, BOOT_RESERVED},
        {0x100000, 0xbff00000, BOOT_RAM}, {0x100000000, 0x40000000, BOOT_RAM},
    };
    guest_layout(4ull << 30, ram);
    assert_int_equal(guest_memory_map(ram, false, false, map), ARRAY_SIZE(want));
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(map[i].base, want[i].base);
        assert_int_equal(map[i].size, want[i].size);
        assert_int_equal(map[i].kind, want[i].kind);
    }
    assert_int_equal(guest_memory_map(ram, true, true, map), ARRAY_SIZE(want) + 2);
    assert_int_equal(map[5].base, 0xe0000000);
    assert_int_equal(map[5].size, 0x100000);
    assert_int_equal(map[5].kind, BOOT_RESERVED);
    assert_int_equal(map[6].base, GUEST_SHIM);
    guest_layout(2ull << 20, ram);
    assert_int_equal(guest_memory_map(ram, false, false, map), ARRAY_SIZE(want) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_count_of_cpus_is_found),
        cmocka_unit_test(the_code_at_the_reset_vector),
        cmocka_unit_test(a_td_has_a_mailbox),
        cmocka_unit_test(the_bytes_of_a_madt),
        cmocka_unit_test(the_bytes_of_the_dsdt),
        cmocka_unit_test(the_bytes_of_virtio_devices),
        cmocka_unit_test(the_bytes_of_a_pci_bus),
        cmocka_unit_test(the_fields_of_the_fadt),
        cmocka_unit_test(the_memory_map),
    };
    return cmocka_run_group_tests_name("firmware", tests, NULL, NULL);
}
