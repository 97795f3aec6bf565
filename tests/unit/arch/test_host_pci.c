/* SPDX-License-Identifier: MIT */
/*
 * The machine's own PCI (arch/x86/host_pci.c): which functions a walk visits, what configuration
 * accesses reach, and how BARs are decoded and measured, on machines that are made up: bridges,
 * functions that are missing, registers that keep nothing. And the spaces that are in memory by
 * ACPI's MCFG (arch/x86/mcfg.c, rule N117): of machines without ports, and of further segments.
 */
#include "tests/unit/support.h"

#include "arch/x86/host_pci.h"
#include "arch/x86/mcfg.h"
#include "arch/x86/paging.h"
#include "lib/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A machine ------------------------------------------------------------------------------- */

struct function {
    uint32_t address;        /* bus << 16 | device << 11 | function << 8 */
    uint32_t registers[64];  /* what a read gives */
    uint32_t writable[64];   /* the bits that a write changes */
    unsigned decoded_writes; /* writes to BARs while the function answers at them */
};

static struct function functions[16];
static unsigned function_count, accesses;
static bool no_mechanism;

bool host_pci_port_exists(void)
{
    return !no_mechanism;
}

static struct function *function_at(uint32_t address)
{
    assert_false(no_mechanism);
    assert_int_equal(address & 0xff000003, 0x80000000);
    accesses++;
    for (unsigned i = 0; i < function_count; i++)
        if (functions[i].address == (address & 0xffff00))
            return &functions[i];
    return NULL;
}

uint32_t host_pci_port_read(uint32_t address)
{
    struct function *function = function_at(address);
    return function ? function->registers[address / 4 % 64] : UINT32_MAX;
}

void host_pci_port_write(uint32_t address, uint32_t value)
{
    struct function *function = function_at(address);
    unsigned number = address / 4 % 64;
    assert_non_null(function);
    if (number >= 4 && number < 10)
        function->decoded_writes += !!(function->registers[1] & 3);
    if (number == 1) /* the status: a 1 clears */
        function->registers[1] &= ~(value & 0xffff0000);
    uint32_t mask = function->writable[number];
    function->registers[number] = (function->registers[number] & ~mask) | (value & mask);
}

static struct function *add(unsigned bus, unsigned device, unsigned number, uint32_t class)
{
    struct function *function = &functions[function_count++];
    assert_true(function_count <= ARRAY_SIZE(functions));
    *function = (struct function){.address = bus << 16 | device << 11 | number << 8};
    function->registers[0] = 0x12348086;
    function->registers[1] = 0x02900003; /* status bits, and both kinds of addresses decoded */
    function->writable[1] = 0x7;
    function->registers[2] = class << 8;
    return function;
}

static int setup(void **state)
{
    (void)state;
    function_count = accesses = 0;
    no_mechanism = false;
    host_pci_forget_areas();
    return 0;
}

/* ---- The walk -------------------------------------------------------------------------------- */

static char visited[256];

static bool note(struct host_pci_function at, void *context)
{
    size_t length = strlen(visited);
    snprintf(visited + length, sizeof(visited) - length, "%u:%u.%u ", at.bus, at.device,
             at.function);
    unsigned *stop_after = context;
    return stop_after && !--*stop_after;
}

static bool walk(unsigned *stop_after)
{
    visited[0] = 0;
    return host_pci_walk(note, stop_after);
}

static void machine_of_two_sockets(void)
{
    add(0, 0, 0, 0x060000);
    add(0, 31, 0, 0x060100)->registers[3] = 0x800000;
    add(0, 31, 3, 0x0c0500);
    add(0, 31, 7, 0x070002);
    add(0, 1, 0, 0x060400)->registers[3] = 0x010000;
    add(1, 0, 0, 0x020000);
    add(128, 2, 0, 0x060000); /* no bridge leads there */
    add(255, 31, 0, 0x088000);
}

static void test_all_buses_are_walked(void **state)
{
    (void)state;
    machine_of_two_sockets();
    assert_false(walk(NULL));
    assert_string_equal(visited, "0:0.0 0:1.0 0:31.0 0:31.3 0:31.7 1:0.0 128:2.0 255:31.0 ");
    assert_in_range(accesses, 256 * 32, 256 * 32 + 100);
}

static void test_a_walk_ends_when_it_is_told(void **state)
{
    (void)state;
    machine_of_two_sockets();
    assert_true(walk(&(unsigned){4}));
    assert_string_equal(visited, "0:0.0 0:1.0 0:31.0 0:31.3 ");
}

static void test_functions_that_are_not_there(void **state)
{
    (void)state;
    add(0, 0, 1, 0x060000);                          /* the host bridge has hidden function 0 */
    add(0, 2, 0, 0x030000);                          /* of one function, … */
    add(0, 2, 1, 0x030000);                          /* … whose ghost answers, too */
    add(0, 3, 0, 0x030000)->registers[0] = 0;        /* no vendor */
    add(0, 4, 0, 0x030000)->registers[3] = 0x800000; /* function 1 is missing */
    add(0, 4, 2, 0x030000)->registers[0] = 0xffff8086;
    assert_false(walk(NULL));
    assert_string_equal(visited, "0:2.0 0:4.0 0:4.2 ");
}

static void test_a_machine_without_pci(void **state)
{
    (void)state;
    no_mechanism = true;
    assert_false(walk(NULL));
    assert_string_equal(visited, "");
}

/* ---- BARs ------------------------------------------------------------------------------------ */

static const struct host_pci_function at = {.bus = 3, .device = 17, .function = 5};

static void expect_bar(unsigned index, bool io, uint64_t base, uint64_t size, unsigned consumed)
{
    struct host_pci_bar bar;
    assert_true(host_pci_bar(at, index, &bar));
    assert_int_equal(bar.io, io);
    assert_int_equal(bar.base, base);
    assert_int_equal(bar.size, size);
    assert_int_equal(bar.consumed, consumed);
}

static void expect_no_bar(unsigned index)
{
    struct host_pci_bar bar;
    assert_false(host_pci_bar(at, index, &bar));
}

static void put_bar(struct function *function, unsigned index, uint32_t value, uint32_t writable)
{
    function->registers[4 + index] = value;
    function->writable[4 + index] = writable;
}

static void test_bars(void **state)
{
    (void)state;
    struct function *function = add(3, 17, 5, 0x070002);
    put_bar(function, 0, 0xe001, 0xfff8);         /* 8 ports; the upper half keeps nothing */
    put_bar(function, 1, 0xfebf0000, 0xfffff000); /* 4 KiB */
    put_bar(function, 2, 0xc000000c, 0xf0000000); /* 256 MiB above 4 GiB, prefetchable */
    put_bar(function, 3, 0x38, UINT32_MAX);
    put_bar(function, 4, 0xc041, 0xffffffc0); /* 64 ports */
    put_bar(function, 5, 0x1, 0xfffffffc);    /* 4 ports without an address */
    uint32_t before[64];
    memcpy(before, function->registers, sizeof(before));
    expect_bar(0, true, 0xe000, 8, 1);
    expect_bar(1, false, 0xfebf0000, 0x1000, 1);
    expect_bar(2, false, 0x38c0000000, 0x10000000, 2);
    expect_bar(4, true, 0xc040, 64, 1);
    expect_bar(5, true, 0, 4, 1);
    expect_no_bar(6);
    /* Everything is as before, error bits of the status included, and no write was decoded. */
    assert_memory_equal(before, function->registers, sizeof(before));
    assert_int_equal(function->decoded_writes, 0);
}

static void test_registers_that_are_no_bars(void **state)
{
    (void)state;
    struct function *function = add(3, 17, 5, 0x070002);
    expect_no_bar(0); /* keeps nothing */
    put_bar(function, 0, 1, 0);
    expect_no_bar(0);
    put_bar(function, 0, 0xfebf0006, 0xfffff000); /* a reserved type */
    expect_no_bar(0);
    put_bar(function, 0, 0xfeb00000, 0xfff0f000); /* a hole in the size */
    expect_no_bar(0);
    put_bar(function, 0, 0xfebf1000, 0xffff0000); /* not a multiple of the size */
    expect_no_bar(0);
    put_bar(function, 0, 0x10001, 0xfffff001); /* beyond the last port */
    expect_no_bar(0);
    put_bar(function, 5, 0x4, 0xfffff000); /* the upper half would be the next register */
    expect_no_bar(5);
    put_bar(function, 2, 0x4, 0); /* 64 bits, and keeps nothing */
    expect_no_bar(2);
    put_bar(function, 1, 0xfebf0002, 0xfffff000); /* below 1 MiB, in PCI 2.1 */
    expect_bar(1, false, 0xfebf0000, 0x1000, 1);
    function->registers[3] = 0x10000; /* a bridge has two, */
    expect_bar(1, false, 0xfebf0000, 0x1000, 1);
    expect_no_bar(2);
    function->registers[3] = 0x20000; /* and a CardBus bridge none that mean this */
    expect_no_bar(1);
}

static void test_a_bar_of_nothing(void **state)
{
    (void)state;
    expect_no_bar(0); /* and nothing is written: the fake would fail */
}

/* ---- In memory (MCFG) ------------------------------------------------------------------------ */

#define BUS 0x100000ull

static const struct boot_info info = {.range_count = 1,
                                      .ranges = {{HPA(0x100000), 0x7ff00000, BOOT_RAM}}};
static struct acpi_header *mcfg;
static uint64_t mapped_base, mapped_size;
static uint8_t *spaces; /* of two buses */

const struct acpi_header *acpi_table(const char *signature)
{
    assert_string_equal(signature, "MCFG");
    return mcfg;
}

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_UNCACHED);
    mapped_base = base.v;
    mapped_size = size;
    return size <= 2 * BUS ? spaces : NULL;
}

static void read_mcfg(const struct mcfg_entry *entries, size_t count, size_t extra, const char *log)
{
    size_t size = sizeof(struct mcfg_header) + count * sizeof(*entries) + extra;
    mcfg = calloc(1, size);
    mcfg->length = (uint32_t)size;
    memcpy((uint8_t *)mcfg + sizeof(struct mcfg_header), entries, size - extra - 44);
    support_reset();
    mapped_base = 0;
    mcfg_init(&info);
    assert_string_equal(support_log(), log);
    free(mcfg);
    mcfg = NULL;
}

static int memory_setup(void **state)
{
    spaces = malloc(2 * BUS);
    memset(spaces, 0xff, 2 * BUS);
    return setup(state);
}

static int memory_teardown(void **state)
{
    (void)state;
    free(spaces);
    host_pci_forget_areas();
    return 0;
}

static uint32_t *put_function(unsigned bus, unsigned device, unsigned function, uint32_t id)
{
    uint32_t *registers = (uint32_t *)(spaces + bus * BUS + (device << 15 | function << 12));
    memset(registers, 0, 256);
    registers[0] = id;
    return registers;
}

/* QEMU's microvm, whose entry begins with bus 0; and one that begins later, whose address is
 * nevertheless that of bus 0. */
static void test_a_machine_without_ports(void **state)
{
    (void)state;
    no_mechanism = true;
    mcfg_init(&info); /* without a table */
    assert_false(host_pci_exists());
    read_mcfg(&(struct mcfg_entry){.base = 0xe0000000, .last_bus = 1}, 1, 0,
              "pci: the configuration space of segment 0, buses 0 to 1, is in memory at "
              "0xe0000000\n");
    assert_true(host_pci_exists());
    assert_int_equal(mapped_size, 2 * BUS);
    put_function(0, 1, 0, 0x12348086)[3] = 0x800000;
    uint32_t *registers = put_function(0, 1, 3, 0x56788086);
    put_function(1, 31, 0, 0x11118086);
    assert_false(walk(NULL));
    assert_string_equal(visited, "0:1.0 0:1.3 1:31.0 ");
    const struct host_pci_function function = {.device = 1, .function = 3};
    host_pci_write(function, 0xfc, 0x1234);
    assert_int_equal(registers[63], 0x1234);
    assert_int_equal(host_pci_read(function, 0xfc), 0x1234);
    read_mcfg(&(struct mcfg_entry){.base = 0xe0000000, .first_bus = 0x40, .last_bus = 0x41}, 1, 0,
              "pci: the configuration space of segment 0, buses 64 to 65, is in memory at "
              "0xe4000000\n");
    assert_int_equal(mapped_base, 0xe4000000);
    assert_int_equal(host_pci_read((struct host_pci_function){.bus = 0x41, .device = 31}, 0),
                     0x11118086);
}

/* The ports reach segment 0, whatever the table says of it. */
static void test_further_segments(void **state)
{
    (void)state;
    char name[HOST_PCI_NAME_MAX];
    const struct mcfg_entry entries[] = {{.base = 0x100000, .last_bus = 255},
                                         {.base = 0x380000000, .segment = 1, .last_bus = 1}};
    read_mcfg(entries, 2, 15,
              "pci: the configuration space of segment 1, buses 0 to 1, is in memory at "
              "0x380000000\n");
    add(0, 2, 0, 0x030000);
    put_function(1, 0, 0, 0x12348086);
    const struct host_pci_function second = {.segment = 1, .bus = 1};
    assert_false(walk(NULL));
    assert_string_equal(visited, "0:2.0 1:0.0 ");
    assert_int_equal(host_pci_read(second, 0), 0x12348086);
    assert_string_equal(host_pci_name(second, name), "0001:01:00.0");
    assert_string_equal(host_pci_name((struct host_pci_function){3, 17, 5, 0}, name), "03:11.5");
    accesses = 0;
    const struct host_pci_function nowhere = {.segment = 2};
    host_pci_write(nowhere, 0, 0);
    assert_int_equal(host_pci_read(nowhere, 0), UINT32_MAX);
    assert_int_equal(accesses, 0); /* not the ports: that would be another function */
}

#define REFUSED(segment, first, last, base, why)                                               \
    "ACPI: the MCFG's entry for segment " #segment ", buses " #first " to " #last ", at " base \
    " is not used: " why "\n"

static void test_broken_entries(void **state)
{
    (void)state;
    const struct mcfg_entry entries[] = {
        {.base = 0xe0000000, .segment = 1, .first_bus = 2, .last_bus = 1},
        {.base = 0, .segment = 1, .last_bus = 1},
        {.base = 0xe0080000, .segment = 1, .last_bus = 1},
        {.base = 0x7ff00000, .segment = 1, .last_bus = 1},
        {.base = 0xfffffffffff00000, .segment = 1, .last_bus = 1},
        {.base = 0xe0000000, .segment = 1, .last_bus = 2},
        {.base = 0xe0000000, .segment = 1, .last_bus = 1},
        {.base = 0xe0000000, .segment = 1, .first_bus = 1, .last_bus = 2},
    };
    read_mcfg(
        entries, ARRAY_SIZE(entries), 0,
        REFUSED(1, 2, 1, "0xe0000000", "its last bus is before its first one")
            REFUSED(1, 0, 1, "0", "its address is 0, or no multiple of 1 MiB") REFUSED(
                1, 0, 1, "0xe0080000", "its address is 0, or no multiple of 1 MiB")
                REFUSED(1, 0, 1, "0x7ff00000", "there is RAM") REFUSED(
                    1, 0, 1, "0xfffffffffff00000", "it reaches beyond the last address")
                    REFUSED(1, 0, 2, "0xe0000000",
                            "it cannot be mapped") "pci: the configuration space of segment 1, "
                                                   "buses 0 to 1, is in memory at "
                                                   "0xe0000000\n" REFUSED(
                                                       1, 1, 2, "0xe0000000",
                                                       "another entry has some of these buses"));
}

static void test_too_many_areas(void **state)
{
    (void)state;
    static struct mcfg_entry entries[18];
    for (unsigned i = 0; i < 18; i++)
        entries[i] = (struct mcfg_entry){.base = 0x380000000, .segment = (uint16_t)(i + 1)};
    support_reset();
    mcfg = calloc(1, 44 + sizeof(entries));
    mcfg->length = 44 + sizeof(entries);
    memcpy((uint8_t *)mcfg + 44, entries, sizeof(entries));
    mcfg_init(&info);
    free(mcfg);
    mcfg = NULL;
    assert_non_null(strstr(support_log(), "segment 16, buses 0 to 0, is in memory"));
    assert_non_null(strstr(support_log(), "segment 17, buses 0 to 0, at 0x380000000 is not used: "
                                          "there are 16 others\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_buses_are_walked, setup),
        cmocka_unit_test_setup(test_a_walk_ends_when_it_is_told, setup),
        cmocka_unit_test_setup(test_functions_that_are_not_there, setup),
        cmocka_unit_test_setup(test_a_machine_without_pci, setup),
        cmocka_unit_test_setup(test_bars, setup),
        cmocka_unit_test_setup(test_registers_that_are_no_bars, setup),
        cmocka_unit_test_setup(test_a_bar_of_nothing, setup),
        cmocka_unit_test_setup_teardown(test_a_machine_without_ports, memory_setup,
                                        memory_teardown),
        cmocka_unit_test_setup_teardown(test_further_segments, memory_setup, memory_teardown),
        cmocka_unit_test_setup_teardown(test_broken_entries, memory_setup, memory_teardown),
        cmocka_unit_test_setup_teardown(test_too_many_areas, memory_setup, memory_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
