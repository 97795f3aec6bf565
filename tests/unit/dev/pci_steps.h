/* SPDX-License-Identifier: MIT */
/*
 * Steps of a hostile driver and of the devices of pci_world.h, chosen at random or by a fuzzer.
 * After each of them everything is compared with the model. Include it in one file, which defines
 * take().
 */
#pragma once

#include "tests/unit/dev/pci_world.h"

/* Supplies the choices of a step: `bytes` bytes. */
static uint32_t take(unsigned bytes);

/* Values that matter: places in and around the window, sizes, ends. */
static uint32_t take_value(void)
{
    static const uint32_t places[] = {0xe0100000, 0xe0101000, 0xe0104000, 0xe0200000, 0xfbfff000,
                                      0xfbf00000, 0xfbffc000, 0xfc000000, 0xe00fc000, 0xfee00000,
                                      0xfec00000, 0xffffffff, 0,          1,          0x100000};
    uint32_t which = take(1);
    return which < 0xc0 ? places[which % ARRAY_SIZE(places)] : take(4);
}

static void step_config(uint8_t what)
{
    const unsigned f = what % FUNCTIONS, ports = what >> 3 & 1;
    unsigned at = take(1), size = 1u << (what >> 4) % 4;
    unsigned devfn = what & 0x40 ? shapes[f].devfn : take(1);
    uint64_t value = take_value() | (uint64_t)take_value() << 32;
    switch (take(1) % 4) {
    case 0:
    case 1:
        at = 0x10 + at % 0x18 / 4 * 4; /* a BAR */
        break;
    case 2:
        at = 0x04; /* the command register, mostly to enable memory space and bus master */
        value |= take(1) % 4 ? 6 : 0;
        break;
    default:
        break;
    }
    uint64_t offset = (uint64_t)devfn << 12 | at;
    if (ports) {
        size = size > 4 ? 4 : size;
        pci_address_ops.write(&host, NULL, 0, 4, 0x80000000u | devfn << 8 | at);
        model_address = 0x80000000u | devfn << 8 | (at & 0xfc);
        pci_data_ops.write(&host, NULL, at % 4, size, value);
    } else {
        pci_ecam_ops.write(&host, NULL, offset, size, value);
    }
    int n = function_of(devfn);
    for (unsigned i = 0; i < size && n >= 0 && at + i < PCI_CONFIG_SIZE; i++)
        model_write((unsigned)n, at + i, (uint8_t)(value >> 8 * i));
    if (n >= 0)
        model_send((unsigned)n);
}

static void step_read(uint8_t what)
{
    const unsigned size = 1u << (what >> 4) % 4, devfn = what & 0x40 ? take(1) : shapes[0].devfn;
    const uint64_t offset = (uint64_t)devfn << 12 | take(2) % 0x110;
    const uint64_t got = pci_ecam_ops.read(&host, NULL, offset, size);
    for (unsigned i = 0; i < size; i++) {
        const unsigned at = (unsigned)(offset + i) & 0xfff, there = (unsigned)(offset + i) >> 12;
        const int n = function_of(there);
        uint8_t want = n < 0 ? 0xff : 0;
        if (n >= 0 && at < PCI_CONFIG_SIZE)
            want = (uint8_t)(model_config((unsigned)n, at & ~3u) >> at % 4 * 8);
        if (there)
            assert_int_equal((uint8_t)(got >> 8 * i), want);
    }
    assert_int_equal(pci_address_ops.read(&host, NULL, 0, 4), model_address);
}

static void step_interrupt(uint8_t what)
{
    const unsigned f = what % FUNCTIONS, bar = shapes[f].msix;
    const unsigned vector = take(1) % (PCI_VECTORS + 2), size = what & 0x40 ? 8 : 4;
    const unsigned at = take(1) % 0x110 / size * size;
    uint64_t value = take_value();
    switch (what >> 3 & 3) {
    case 0:
        pci_msix_raise(&functions[f], vector);
        if (vector < shapes[f].vectors)
            models[f].pending |= 1u << vector;
        break;
    case 1:
        models[f].level = value & 1;
        pci_intx(&functions[f], value & 1);
        break;
    case 2:
        models[f].abort = true;
        pci_master_abort(&functions[f]);
        break;
    default:
        if (!shapes[f].vectors)
            break;
        if (at % 16 < 8 && take(1) % 4)
            value = 0xfee00000 | (value & 0xfffff);
        value |= (uint64_t)(take(1) & 1) << 32;
        functions[f].bars[bar].ops->write(&functions[f], NULL, at, size, value);
        for (unsigned i = 0; i < size; i += 4)
            model_write_table(f, at + i, (uint32_t)(value >> 8 * i));
    }
    model_send(f);
}

/* The step that the byte selects. */
static void world_step(uint8_t what)
{
    if (what & 0x80)
        step_interrupt(what);
    else if (take(1) % 4)
        step_config(what);
    else
        step_read(what);
    world_check();
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        unsigned bar = take(1) % PCI_BARS;
        if (bar_kind(f, bar) && models[f].bar[bar] >= WINDOW &&
            models[f].bar[bar] < WINDOW + WINDOW_SIZE) {
            world_check_address(models[f].bar[bar] + take(2) % bar_size(f, bar) / 8 * 8);
            world_check_address(models[f].bar[bar] + bar_size(f, bar));
            if (models[f].bar[bar] > WINDOW)
                world_check_address(models[f].bar[bar] - 8);
        }
    }
}
