/* SPDX-License-Identifier: MIT */
/*
 * The machine's own PCI (arch/x86/host_pci.c): which functions a walk visits, what configuration
 * accesses reach, and how BARs are decoded and measured, on machines that are made up: bridges,
 * functions that are missing, registers that keep nothing.
 */
#include "tests/unit/support.h"

#include "arch/x86/host_pci.h"
#include "lib/bits.h"

#include <stdio.h>
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
