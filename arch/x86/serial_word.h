/* SPDX-License-Identifier: MIT */
/*
 * The word serial=, which says where the console is. Pure.
 *
 *   auto                    what ACPI names, else COM1, else a PCI card (serial_find.h)
 *   off                     nowhere
 *   0x2f8                   the I/O port of the first register
 *   pci:BUS:DEVICE.FUNCTION a PCI card, in lspci's notation; `,1` is its second port. In front of
 *                           the bus can be a segment, `0001:`, which needs ACPI's MCFG
 *   mmio:ADDRESS            registers in memory; `,4` is the distance of two of them in bytes, and
 *                           then they are accessed by 32 bits, as in Intel's LPSS
 *
 * SEGMENT, BUS, DEVICE and FUNCTION are hexadecimal. A number from 300 on that follows a comma is a
 * rate in baud.
 */
#pragma once

#include "arch/x86/host_pci.h"
#include "lib/compiler.h"

enum serial_where {
    SERIAL_AUTO,
    SERIAL_OFF,
    SERIAL_IO,
    SERIAL_PCI,
    SERIAL_MEMORY,
};

struct serial_wish {
    enum serial_where where;
    uint64_t address; /* SERIAL_IO: the port; SERIAL_MEMORY */
    struct host_pci_function pci;
    unsigned number; /* SERIAL_PCI: which port of the card */
    unsigned stride; /* SERIAL_MEMORY */
    uint32_t baud;   /* 0: not said */
};

#define SERIAL_WORD_ALLOWED                                                                     \
    "auto, off, 0x2f8, pci:[SEGMENT:]BUS:DEVICE.FUNCTION[,PORT] or mmio:ADDRESS[,STRIDE], and " \
    "then "                                                                                     \
    ",BAUD"

/* Parses the value. Returns NULL, or what is wrong with it, and then *wish is SERIAL_AUTO's. */
const char *serial_word_parse(const char *text, struct serial_wish *wish) MUST_CHECK;

/* Finds the value of serial= in a command line, without judging the other words, and copies it to
 * `value`, which has `size` bytes. Returns false if the word is not there or its value is too long.
 * The console is wanted before the words are parsed, because that may fail. */
bool serial_word_find(const char *command_line, char *value, size_t size) MUST_CHECK;
