/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus under libFuzzer: accesses to configuration spaces, MSI-X tables and BARs, and
 * interrupts of the devices, in any order. After each step, every register, every message and every
 * line is as a model says, and the functions answer where the model says, and nowhere else.
 */
#include "tests/unit/dev/pci_steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *next, *end_of_input;

static uint32_t take(unsigned bytes)
{
    uint32_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    world_init(0);
    while (next < end_of_input)
        world_step((uint8_t)take(1));
    return 0;
}
