/* SPDX-License-Identifier: MIT */
/*
 * The disk of the program `hostile_devices`: its registers, the pages that it is given, and a
 * driver that does everything right.
 */
#pragma once

#include "guest/programs/rt/sides.h"
#include "guest/programs/rt/virtio.h"

#define VIRTIO 0xfe200000u
#define IOAPIC 0xfec00000u
#define PINS   24u

/* The pages that the device is given: the three parts of the queue, an indirect table, headers, and
 * data. The CPUs write them without any order. */
enum { DESCRIPTORS, AVAILABLE, USED, TABLE, HEADERS, DATA, PAGES = 32 };
extern uint8_t arena[PAGES][RT_PAGE];

/* The physical address of a page of the arena. In a VM with shared memory, the device accesses
 * shared memory, and the CPUs do so by windows in TEST_VA. */
static inline uint64_t physical(unsigned page)
{
    return (uint64_t)(uintptr_t)arena[page];
}

static inline volatile void *place(unsigned page)
{
    return (volatile void *)(TEST_VA + page * RT_PAGE);
}

static inline uint64_t device(uint64_t gpa)
{
    return TEST_VA + RT_2M + (gpa - TESTDEV_A_BASE);
}

static inline uint32_t reg(unsigned offset)
{
    return read32(device(VIRTIO) + offset);
}

static inline void set_reg(unsigned offset, uint32_t value)
{
    write32(device(VIRTIO) + offset, value);
}

/* Maps the windows, and makes the arena shared if the VM has shared memory. */
void map_all(void);

/* Restores the serial port, so that print() works. */
void serial_port(void);

/* Whether the disk works after a reset as if nothing had happened. Writes to the disk. */
bool disk_works(uint64_t seed);
