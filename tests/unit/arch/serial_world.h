/* SPDX-License-Identifier: MIT */
/*
 * A machine with serial ports for hosted tests: 16550s at I/O ports and in memory, which send to a
 * text, PCI functions, and ACPI tables. Whatever is accessed and is not there answers with ones,
 * and a write to it is counted.
 */
#pragma once

#include "tests/unit/arch/spcr_tables.h"
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "arch/x86/host_pci.h"
#include "arch/x86/host_port.h"
#include "arch/x86/paging.h"
#include "arch/x86/serial_port.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

#define WORLD_UARTS 4u
#define WORLD_SENT  0x20000u

struct world_uart {
    bool there, memory, no_scratch, no_loop, never_sends, stalls;
    unsigned takes; /* characters, until it has no room, if it stalls */
    uint64_t address;
    unsigned stride, width;
    uint8_t enable, line, modem, scratch, fifo;
    uint16_t divisor;
    unsigned lpss_needs; /* mask of the LPSS' resets; while bits are missing, all reads give 0 */
    uint32_t lpss_resets, lpss_clock;
    int received; /* a byte, or -1 */
    size_t sent;
    char text[WORLD_SENT];
};

static struct world_uart world_uarts[WORLD_UARTS];
static unsigned world_strays; /* writes to nothing */

/* ---- UARTs ----------------------------------------------------------------------------------- */

static uint8_t world_modem_status(const struct world_uart *uart)
{
    uint8_t out = uart->modem;
    if (!(out & 0x10) || uart->no_loop)
        return 0xb0;
    return (uint8_t)((out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4);
}

static uint8_t world_uart_read(struct world_uart *uart, unsigned index)
{
    bool divisor = uart->line & 0x80;
    int byte = uart->received;
    switch (index) {
    case 0:
        if (divisor)
            return (uint8_t)uart->divisor;
        uart->received = -1;
        return (uint8_t)byte;
    case 1:
        return divisor ? (uint8_t)(uart->divisor >> 8) : uart->enable;
    case 2:
        return uart->fifo ? 0xc1 : 1;
    case 3:
        return uart->line;
    case 4:
        return uart->modem;
    case 5:
        return (uint8_t)((uart->never_sends || (uart->stalls && !uart->takes) ? 0 : 0x60) |
                         (byte >= 0));
    case 6:
        return world_modem_status(uart);
    default:
        return uart->no_scratch ? 0x33 : uart->scratch;
    }
}

static void world_uart_write(struct world_uart *uart, unsigned index, uint8_t value)
{
    bool divisor = uart->line & 0x80;
    switch (index) {
    case 0:
        if (divisor)
            uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
        else if (uart->modem & 0x10)
            uart->received = value;
        else if (uart->sent + 1 < WORLD_SENT)
            uart->text[uart->sent++] = (char)value;
        uart->takes -= uart->stalls && uart->takes;
        return;
    case 1:
        if (divisor)
            uart->divisor = (uint16_t)((uart->divisor & 0xff) | value << 8);
        else
            uart->enable = value;
        return;
    case 2:
        uart->fifo = value & 1;
        return;
    case 3:
        uart->line = value;
        return;
    case 4:
        uart->modem = value;
        return;
    case 7:
        uart->scratch = uart->no_scratch ? uart->scratch : value;
        return;
    default:
        return;
    }
}

static inline struct world_uart *world_add(bool memory, uint64_t address, unsigned stride,
                                           unsigned width)
{
    for (unsigned i = 0; i < WORLD_UARTS; i++)
        if (!world_uarts[i].there) {
            world_uarts[i] = (struct world_uart){.there = true,
                                                 .memory = memory,
                                                 .address = address,
                                                 .stride = stride,
                                                 .width = width,
                                                 .divisor = 12,
                                                 .modem = 0x0b,
                                                 .scratch = 0x77,
                                                 .received = -1};
            return &world_uarts[i];
        }
    fail();
    return NULL;
}

static struct world_uart *world_find(bool memory, uint64_t address, unsigned *index)
{
    for (unsigned i = 0; i < WORLD_UARTS; i++) {
        struct world_uart *uart = &world_uarts[i];
        uint64_t offset = address - uart->address;
        *index = uart->stride ? (unsigned)(offset / uart->stride) : 0;
        if (uart->there && uart->memory == memory && address >= uart->address && *index < 8 &&
            offset % uart->stride == 0)
            return uart;
    }
    return NULL;
}

uint8_t host_port_read(uint16_t port)
{
    unsigned index;
    struct world_uart *uart = world_find(false, port, &index);
    return uart ? world_uart_read(uart, index) : 0xff;
}

void host_port_write(uint16_t port, uint8_t value)
{
    unsigned index;
    struct world_uart *uart = world_find(false, port, &index);
    if (uart)
        world_uart_write(uart, index, value);
    else
        world_strays++;
}

/* ---- Memory: registers are at their physical addresses plus this, tables are copies ---------- */

#define WORLD_REGISTERS 0x7a0000000000ull

static uint64_t world_mapped_end; /* of the last registers that were mapped */
static bool world_maps_nothing;

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_UNCACHED);
    world_mapped_end = base.v + size;
    return world_maps_nothing ? NULL : (void *)(WORLD_REGISTERS + base.v);
}

/* The private registers of an LPSS' UART. */
static uint32_t *world_lpss(uint64_t address)
{
    for (unsigned i = 0; i < WORLD_UARTS; i++) {
        struct world_uart *uart = &world_uarts[i];
        if (uart->there && uart->lpss_needs && address == uart->address + 0x200)
            return &uart->lpss_clock;
        if (uart->there && uart->lpss_needs && address == uart->address + 0x204)
            return &uart->lpss_resets;
    }
    return NULL;
}

uint32_t host_register_read(const volatile void *place, unsigned width)
{
    unsigned index;
    uint64_t address = (uint64_t)place - WORLD_REGISTERS;
    assert_true(address + width <= world_mapped_end);
    uint32_t *private = world_lpss(address);
    if (private)
        return *private;
    struct world_uart *uart = world_find(true, address, &index);
    if (!uart)
        return UINT32_MAX;
    assert_int_equal(width, uart->width);
    if ((uart->lpss_resets & uart->lpss_needs) != uart->lpss_needs)
        return 0;
    return world_uart_read(uart, index);
}

void host_register_write(volatile void *place, unsigned width, uint32_t value)
{
    unsigned index;
    uint64_t address = (uint64_t)place - WORLD_REGISTERS;
    assert_true(address + width <= world_mapped_end);
    uint32_t *private = world_lpss(address);
    struct world_uart *uart = world_find(true, address, &index);
    if (private)
        *private = value;
    else if (uart)
        world_uart_write(uart, index, (uint8_t)value);
    else
        world_strays++;
}

const struct acpi_header *acpi_table(const char *signature)
{
    return !strcmp(signature, "SPCR")   ? tables_spcr
           : !strcmp(signature, "DBG2") ? tables_dbg2
                                        : NULL;
}

/* ---- PCI: the functions of bus 0 ------------------------------------------------------------- */

struct world_function {
    uint32_t registers[64], writable[64];
};
static struct world_function world_functions[32];
static unsigned world_pci_reads;
static bool world_has_no_pci_ports;

bool host_pci_port_exists(void)
{
    return !world_has_no_pci_ports;
}

static struct world_function *world_function(uint32_t address)
{
    unsigned device = address >> 11 & 31;
    bool there = !(address >> 16 & 0xff) && !(address >> 8 & 7);
    return there && world_functions[device].registers[0] ? &world_functions[device] : NULL;
}

uint32_t host_pci_port_read(uint32_t address)
{
    struct world_function *function = world_function(address);
    world_pci_reads++;
    return function ? function->registers[address / 4 % 64] : UINT32_MAX;
}

void host_pci_port_write(uint32_t address, uint32_t value)
{
    struct world_function *function = world_function(address);
    unsigned index = address / 4 % 64;
    assert_non_null(function);
    uint32_t mask = function->writable[index];
    function->registers[index] = (function->registers[index] & ~mask) | (value & mask);
}

static inline struct world_function *world_add_function(unsigned device, uint32_t id,
                                                        uint32_t class)
{
    struct world_function *function = &world_functions[device];
    *function = (struct world_function){0};
    function->registers[0] = id;
    function->registers[2] = class << 8;
    function->writable[1] = 7;
    return function;
}

static inline void world_add_bar(struct world_function *function, unsigned index, uint32_t value,
                                 uint32_t size)
{
    function->registers[4 + index] = value;
    function->writable[4 + index] = ~(size - 1);
}

static inline int world_setup(void **state)
{
    (void)state;
    support_reset();
    memset(world_uarts, 0, sizeof(world_uarts));
    memset(world_functions, 0, sizeof(world_functions));
    world_strays = world_pci_reads = 0;
    world_maps_nothing = world_has_no_pci_ports = false;
    tables_spcr = tables_dbg2 = NULL;
    return 0;
}
