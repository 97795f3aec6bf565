/* SPDX-License-Identifier: MIT */
/*
 * The configuration space of the machine's own PCI functions: the first 256 bytes of each. Segment
 * 0 is reached by configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2), which nearly every PC
 * has, and whose ports no table can be wrong about. Where it is missing, and for other segments,
 * mcfg.c finds areas of memory.
 *
 * Pure: the two ports are accessed by host_pci_port.c. Address and data are two accesses, so one
 * CPU at a time uses this, and that is the first one before the others are started, and the last
 * one after they have been stopped.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct host_pci_function {
    uint8_t bus, device, function;
    uint16_t segment;
};

/* Writes the function's name, as lspci has it, and returns `name`. */
#define HOST_PCI_NAME_MAX 16u
const char *host_pci_name(struct host_pci_function at, char *name);

/* Registers of every function (PCI Local Bus 3.0, 6.1 and 6.2). */
#define HOST_PCI_ID             0x00u /* the vendor, and the device in the upper half */
#define HOST_PCI_COMMAND        0x04u /* and the status in the upper half */
#define HOST_PCI_CLASS          0x08u /* the revision, and the class in the upper 24 bits */
#define HOST_PCI_HEADER         0x0cu /* the kind of header is bits 23:16 */
#define HOST_PCI_BAR_0          0x10u
#define HOST_PCI_COMMAND_IO     0x1u
#define HOST_PCI_COMMAND_MEMORY 0x2u
#define HOST_PCI_COMMAND_MASTER 0x4u

/* Reads the four bytes at `offset`, a multiple of 4 below 256: all ones where nothing answers.
 * A 1 that is written to a bit of the status may clear it. */
uint32_t host_pci_read(struct host_pci_function at, unsigned offset);
void host_pci_write(struct host_pci_function at, unsigned offset, uint32_t value);

/* Is there any way to segment 0, and one to the function's bus? */
bool host_pci_exists(void) MUST_CHECK;
bool host_pci_reaches(struct host_pci_function at) MUST_CHECK;

/* Calls `visit` for each function of all buses, in the order of their addresses, until it returns
 * true. Buses are not found by way of the bridges that lead to them, because a second
 * processor's root bus has none. Of a device that has no function 0, nothing is visited. Returns
 * whether `visit` returned true; without a configuration mechanism there is nothing to visit. */
bool host_pci_walk(bool (*visit)(struct host_pci_function at, void *context), void *context);

/* The same for the first `buses` buses of each segment, at most 256. */
bool host_pci_walk_buses(unsigned buses, bool (*visit)(struct host_pci_function at, void *context),
                         void *context);

/* The spaces of some buses of a segment that are in memory, from the first bus on. */
#define HOST_PCI_BUS_SIZE 0x100000ull
struct host_pci_area {
    volatile void *registers;
    uint16_t segment;
    uint8_t first_bus, last_bus;
};

/* Why there can be no such area beside the others; NULL: there can be. */
const char *host_pci_area_problem(const struct host_pci_area *area) MUST_CHECK;
void host_pci_add_area(const struct host_pci_area *area);
void host_pci_forget_areas(void);

/* A base address register, decoded. */
struct host_pci_bar {
    bool io;           /* ports; else memory */
    uint64_t base;     /* 0: the firmware has assigned no address */
    uint64_t size;     /* a power of 2 */
    unsigned consumed; /* registers that it consists of: 1, or 2 if it has 64 bits */
};

/* Decodes BAR `index`, and measures its size, for which the function stops answering at its BARs
 * for a moment. Returns false if there is no such BAR, or its bits are not those of one; only
 * bar->consumed is valid then. */
bool host_pci_bar(struct host_pci_function at, unsigned index, struct host_pci_bar *bar) MUST_CHECK;

/* ---- The ports (host_pci_port.c) ------------------------------------------------------------- */

/* Is the mechanism there: does the address port keep an address? */
bool host_pci_port_exists(void) MUST_CHECK;

/* `address` is what the address port takes: bit 31, bus, device, function and offset. */
uint32_t host_pci_port_read(uint32_t address);
void host_pci_port_write(uint32_t address, uint32_t value);
