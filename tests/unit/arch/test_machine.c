/* SPDX-License-Identifier: MIT */
/* What the log says of the machine around the CPUs (rule N89): units that remap DMA, nodes of
 * memory, and devices that were left active; with tables of real machines, and with broken ones. */
#include "tests/unit/support.h"

#include "arch/x86/bus_masters.h"
#include "arch/x86/dmar.h"
#include "arch/x86/paging.h"
#include "arch/x86/srat.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

static void expect_log(const char *text)
{
    assert_string_equal(support_log(), text);
    support_reset();
}

/* A table, allocated with exactly its length, so that reading beyond it ends the test. */
static struct acpi_header *table(const void *content, size_t size, size_t header, uint8_t revision)
{
    uint8_t *bytes = calloc(1, header + size);
    struct acpi_header *acpi = (struct acpi_header *)bytes;
    memcpy(bytes + header, content, size);
    acpi->length = (uint32_t)(header + size);
    acpi->revision = revision;
    return acpi;
}

/* ---- Units that remap DMA -------------------------------------------------------------------- */

#define UNIT_GPU 0xfed90000u
#define UNIT_ALL 0xfed91000u

static struct {
    uint64_t base;
    uint32_t registers[1024];
} units[20];
static unsigned unit_count, maps;

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_UNCACHED);
    assert_int_equal(size, 4096);
    assert_int_equal(base.v % 4096, 0);
    maps++;
    for (unsigned i = 0; i < unit_count; i++)
        if (units[i].base == base.v)
            return units[i].registers;
    return NULL;
}

static void add_unit(uint64_t base, uint64_t cap, uint64_t ecap, uint32_t status)
{
    uint32_t *registers = units[unit_count].registers;
    units[unit_count++].base = base;
    registers[2] = (uint32_t)cap;
    registers[3] = (uint32_t)(cap >> 32);
    registers[4] = (uint32_t)ecap;
    registers[7] = status;
}

/* The DMAR of a laptop: a unit for the display, one for everything else with its I/O APIC and HPET,
 * and two reserved regions. */
static const uint8_t laptop[] = {
    0,    0,    24,   0, 0, 0, 0,    0, 0, 0,    0xd9, 0xfe, 0, 0, 0,    0, /* DRHD, display */
    1,    8,    0,    0, 0, 0, 2,    0,                                     /* its scope: 00:02.0 */
    0,    0,    32,   0, 1, 0, 0,    0, 0, 0x10, 0xd9, 0xfe, 0, 0, 0,    0, /* DRHD, all others */
    3,    8,    0,    0, 2, 0, 0x1e, 7, 4, 8,    0,    0,    0, 0, 0x1e, 6, /* I/O APIC, HPET */
    1,    0,    24,   0, 0, 0, 0,    0, 0, 0,    0,    0x8b, 0, 0, 0,    0, 0xff,
    0xff, 0x7f, 0x8f, 0, 0, 0, 0,
};

/* The flags of the table are before its first entry. */
static struct acpi_header *dmar_table(const void *content, size_t size, uint8_t flags)
{
    struct acpi_header *acpi = table(content, size, 48, 1);
    ((uint8_t *)acpi)[36] = 38; /* the host's address width, less 1 */
    ((uint8_t *)acpi)[37] = flags;
    return acpi;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(units, 0, sizeof(units));
    unit_count = maps = 0;
    return 0;
}

static struct dmar look_at(struct acpi_header *acpi)
{
    struct dmar dmar;
    memset(&dmar, 0xff, sizeof(dmar));
    dmar_read(acpi, &dmar);
    dmar_log(&dmar);
    free(acpi);
    return dmar;
}

static void units_that_are_off(void **state)
{
    (void)state;
    add_unit(UNIT_GPU, 0x1c0000c40660462, 0x29a00f0505e, 0);
    ((uint8_t *)units[0].registers)[0x100] = 1; /* what is none of our business */
    add_unit(UNIT_ALL, 0xd2008c40660462, 0xf050da, 0);
    struct dmar dmar = look_at(dmar_table(laptop, sizeof(laptop), 1));
    assert_int_equal(dmar.count, 2);
    assert_false(dmar.no_x2apic);
    expect_log("iommu: 2 by ACPI's DMAR, at 0xfed90000, 0xfed91000; could translate 48 bits and "
               "remap interrupts; translation is off, interrupt remapping off; guests have no "
               "devices, so none is used\n");
}

static void a_unit_that_was_left_on(void **state)
{
    (void)state;
    add_unit(UNIT_GPU, 0x1c0000c40660262, 0x5056, 0);
    add_unit(UNIT_ALL, 0xd2008c40660262, 0x5056, 0xc6000000);
    look_at(dmar_table(laptop, sizeof(laptop), 0));
    expect_log("iommu: 2 by ACPI's DMAR, at 0xfed90000, 0xfed91000; could translate 39 bits; "
               "translation is ON, interrupt remapping ON; guests have no devices, so none is "
               "used\n"
               "DMA remapping was left on by the firmware: GSTS of the unit at 0xfed91000 is "
               "0xc6000000, bit 31 (TES) is 1. Devices reach memory by the firmware's tables, "
               "which may be in memory that is in use for something else now\n"
               "  it is not switched off here; if the machine hangs or memory changes, switch off "
               "\"Pre-boot DMA Protection\", \"Kernel DMA Protection\" or \"VT-d\" in the "
               "firmware's setup: guests have no devices and need none of them\n");
}

static void units_that_do_not_answer(void **state)
{
    (void)state;
    add_unit(UNIT_ALL, ~0ull, ~0ull, ~0u);
    struct dmar dmar = look_at(dmar_table(laptop, sizeof(laptop), 3));
    assert_int_equal(dmar.silent, 2);
    assert_true(dmar.no_x2apic);
    expect_log("iommu: 2 by ACPI's DMAR, at 0xfed90000, 0xfed91000; could translate no bits; "
               "translation is off, interrupt remapping off; guests have no devices, so none is "
               "used\n"
               "DMAR: 2 of these units do not answer at their addresses\n"
               "iommu: the firmware asks not to switch x2APIC mode on (DMAR flags, bit 1)\n");
}

/* The request about x2APIC mode counts only with interrupt remapping (VT-d 4.1, 8.1). */
static void no_units(void **state)
{
    (void)state;
    assert_int_equal(look_at(NULL).count, 0);
    assert_false(look_at(dmar_table("", 0, 2)).no_x2apic);
    assert_false(look_at(table("", 0, 47, 1)).no_x2apic);
    expect_log("");
}

static void more_units_than_are_looked_at(void **state)
{
    (void)state;
    uint8_t entries[18 * 16] = {0};
    for (unsigned i = 0; i < 18; i++) {
        uint64_t base = (uint64_t)(i + 1) << 12;
        entries[16 * i + 2] = 16;
        memcpy(entries + 16 * i + 8, &base, sizeof(base));
        add_unit(base, 0x400, 8, 0);
    }
    entries[16 * 5 + 8] = 1; /* not at the beginning of a page */
    struct dmar dmar = look_at(dmar_table(entries, sizeof(entries), 0));
    assert_int_equal(dmar.count, 18);
    assert_int_equal(maps, DMAR_UNITS - 1);
    expect_log("iommu: 18 by ACPI's DMAR, at 0x1000, 0x2000, 0x3000, ...; could translate 48 bits "
               "and remap interrupts; translation is off, interrupt remapping off; guests have no "
               "devices, so none is used\n"
               "DMAR: 1 of these units do not answer at their addresses\n");
}

/* Each length of the table, and each byte of its first two entries' lengths. */
static void broken_dmars(void **state)
{
    (void)state;
    add_unit(UNIT_GPU, 0x400, 0, 0);
    for (size_t size = 0; size < sizeof(laptop); size++) {
        struct dmar dmar = look_at(dmar_table(laptop, size, 0));
        bool whole = size == 0 || size == 24 || size == 56;
        assert_int_equal(dmar.count, (size >= 24) + (size >= 56));
        assert_int_equal(!strstr(support_log(), "DMAR: the entry at offset "), whole);
        support_reset();
    }
    for (unsigned length = 0; length < 16; length++) {
        uint8_t bytes[sizeof(laptop)];
        memcpy(bytes, laptop, sizeof(bytes));
        bytes[2] = (uint8_t)length;
        assert_int_equal(look_at(dmar_table(bytes, sizeof(bytes), 0)).count, 0);
        assert_non_null(
            strstr(support_log(), "DMAR: the entry at offset 48, of type 0 and length "));
        support_reset();
    }
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

static uint8_t entries[80 * 40];
static size_t entries_size;

static uint8_t *srat_entry(uint8_t type, uint8_t length)
{
    uint8_t *entry = entries + entries_size;
    entry[0] = type;
    entry[1] = length;
    entries_size += length;
    return entry;
}

static void add_lapic(uint32_t domain, bool enabled)
{
    uint8_t *entry = srat_entry(0, 16);
    entry[2] = (uint8_t)domain;
    memcpy(entry + 9, (uint8_t *)&domain + 1, 3);
    entry[4] = enabled;
}

static void add_memory(uint32_t domain, bool enabled)
{
    uint8_t *entry = srat_entry(1, 40);
    memcpy(entry + 2, &domain, 4);
    entry[28] = enabled;
}

static void add_x2apic(uint32_t domain, bool enabled)
{
    uint8_t *entry = srat_entry(2, 24);
    memcpy(entry + 4, &domain, 4);
    entry[12] = enabled;
}

static struct srat nodes(uint8_t revision)
{
    struct srat srat;
    struct acpi_header *acpi = table(entries, entries_size, 48, revision);
    memset(&srat, 0xff, sizeof(srat));
    srat_parse(acpi, &srat);
    srat_log(&srat);
    free(acpi);
    memset(entries, 0, sizeof(entries));
    entries_size = 0;
    return srat;
}

/* Two sockets, the second one's memory on the other's side of an empty, hot-pluggable range; and a
 * node of CPUs alone. */
static void nodes_are_counted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        add_lapic(i / 2, true);
    add_memory(0, true);
    add_memory(0, true);
    add_memory(1, true);
    add_memory(7, false);
    add_lapic(8, false);
    add_x2apic(0x1000002, true);
    srat_entry(3, 20); /* of another kind */
    assert_int_equal(nodes(3).nodes, 3);
    expect_log("numa: 3 nodes by ACPI's SRAT, 1 of them without memory; memory of all is used "
               "alike\n");
}

/* Where revision 1 has bytes that are reserved, they are no part of a domain. */
static void domains_of_a_byte(void **state)
{
    (void)state;
    add_lapic(0x100, true);
    add_memory(0x200, true);
    assert_int_equal(nodes(1).nodes, 1);
    expect_log("");
    add_lapic(0x100, true);
    add_memory(0x200, true);
    assert_int_equal(nodes(2).nodes, 2);
    support_reset();
}

static void many_nodes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 64; i++)
        add_memory(i * 3, true);
    assert_false(nodes(3).more);
    for (uint32_t i = 0; i < 65; i++)
        add_memory(i * 3, true);
    assert_true(nodes(3).more);
    assert_non_null(strstr(support_log(), "numa: more than 64 nodes"));
    support_reset();
}

static void broken_srats(void **state)
{
    static const uint8_t least[] = {16, 40, 24, 2};
    struct srat srat;
    (void)state;
    for (uint8_t type = 0; type < ARRAY_SIZE(least); type++)
        for (uint8_t length = 0; length < least[type]; length++) {
            add_memory(0, true);
            add_memory(1, true);
            srat_entry(type, least[type])[1] = length;
            assert_int_equal(nodes(3).nodes, 0);
            assert_non_null(strstr(support_log(), "SRAT: the entry at offset 128, of type "));
            support_reset();
        }
    add_memory(0, true);
    srat_entry(9, 1)[1] = 0; /* one byte */
    assert_int_equal(nodes(3).nodes, 0);
    support_reset();
    srat_parse(NULL, &srat);
    srat_log(&srat);
    assert_int_equal(nodes(3).nodes, 0);
    expect_log("");
}

/* ---- Devices that were left active ----------------------------------------------------------- */

static struct {
    uint32_t address; /* bus << 16 | device << 11 | function << 8 */
    uint32_t registers[16];
} functions[40];
static unsigned function_count, accesses;

bool host_pci_port_exists(void)
{
    return true;
}

uint32_t host_pci_port_read(uint32_t address)
{
    accesses++;
    for (unsigned i = 0; i < function_count; i++)
        if (functions[i].address == (address & 0xffff00))
            return functions[i].registers[address / 4 % 16];
    return ~0u;
}

void host_pci_port_write(uint32_t address, uint32_t value)
{
    fail_msg("%#x is written to %#x", value, address);
}

#define MASTER 0x100007u
#define QUIET  0x100003u

static uint32_t *add_function(unsigned bus, unsigned device, unsigned number, uint32_t class,
                              uint32_t command)
{
    uint32_t *registers = functions[function_count].registers;
    functions[function_count++].address = bus << 16 | device << 11 | number << 8;
    memset(registers, 0, sizeof(functions->registers));
    registers[0] = 0x2922u << 16 | 0x8086;
    registers[1] = command;
    registers[2] = class << 8 | 2;
    registers[3] = 0x800000; /* more functions */
    return registers;
}

static void add_bridge(unsigned device, unsigned last_bus)
{
    uint32_t *registers = add_function(0, device, 0, 0x060400, MASTER);
    registers[3] |= 0x10000;
    registers[6] = last_bus << 16 | 1 << 8;
}

static struct bus_masters masters(bool all_buses)
{
    struct bus_masters found;
    memset(&found, 0xff, sizeof(found));
    accesses = 0;
    bus_masters_find(all_buses, &found);
    support_reset();
    bus_masters_log(&found);
    return found;
}

static int setup_pci(void **state)
{
    function_count = 0;
    add_function(0, 0, 0, 0x060000, MASTER); /* the host bridge */
    add_bridge(0x1c, 3);
    add_function(0, 0x1f, 2, 0x010601, MASTER);
    add_function(0, 0x1f, 3, 0x0c0500, QUIET);
    functions[function_count] = functions[0]; /* function 0 of a device with others */
    functions[function_count++].address = 0x1f << 11;
    return setup(state);
}

#define RISK(count)                                                                            \
    "risk: devices that the firmware has left active can write into memory, the hypervisor's " \
    "included: " count " with bit 2 (bus master) of the PCI command set; nothing here uses "   \
    "them or holds them back:\n"

static void masters_are_named(void **state)
{
    (void)state;
    add_function(3, 0, 0, 0x020000, MASTER);
    add_function(0x80, 5, 0, 0x0c0330, MASTER);
    assert_int_equal(masters(true).count, 3);
    expect_log(RISK("3") "  00:1f.2 8086:2922 storage, 03:00.0 8086:2922 network, 80:05.0 "
                         "8086:2922 USB\n");
    /* Below a hypervisor the buses that no bridge leads to are not asked for. */
    assert_int_equal(masters(false).count, 2);
    assert_true(accesses < 600);
    expect_log(RISK("2") "  00:1f.2 8086:2922 storage, 03:00.0 8086:2922 network\n");
}

static void none_is_nothing_to_say(void **state)
{
    (void)state;
    functions[2].registers[1] = QUIET;
    assert_int_equal(masters(true).count, 0);
    expect_log("");
}

static void many_masters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 11; i++)
        add_function(1, i, 0, 0x030000, MASTER);
    assert_int_equal(masters(true).count, 12);
    assert_null(strstr(support_log(), "..."));
    for (unsigned i = 11; i < 20; i++)
        add_function(2, i, 0, 0xff0000, MASTER);
    assert_int_equal(masters(true).count, 21);
    unsigned lines = 0;
    for (const char *line = support_log(); *line; line = strchr(line, '\n') + 1)
        lines++;
    assert_int_equal(lines, 4);
    assert_non_null(strstr(support_log(), "01:0a.0 8086:2922 display, ...\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(units_that_are_off, setup),
        cmocka_unit_test_setup(a_unit_that_was_left_on, setup),
        cmocka_unit_test_setup(units_that_do_not_answer, setup),
        cmocka_unit_test_setup(no_units, setup),
        cmocka_unit_test_setup(more_units_than_are_looked_at, setup),
        cmocka_unit_test_setup(broken_dmars, setup),
        cmocka_unit_test_setup(nodes_are_counted, setup),
        cmocka_unit_test_setup(domains_of_a_byte, setup),
        cmocka_unit_test_setup(many_nodes, setup),
        cmocka_unit_test_setup(broken_srats, setup),
        cmocka_unit_test_setup(masters_are_named, setup_pci),
        cmocka_unit_test_setup(none_is_nothing_to_say, setup_pci),
        cmocka_unit_test_setup(many_masters, setup_pci),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
