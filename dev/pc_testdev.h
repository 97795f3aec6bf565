/* SPDX-License-Identifier: MIT */
/*
 * The test device of QEMU's PC (pc-testdev), which kvm-unit-tests use:
 *
 *   port 0xe0, 4 bytes        a latch: reads return what was written
 *   port 0xe4, 4 bytes        the address of a page, which the hypervisor unmaps; the guest's next
 *                             access to the page maps it again
 *   port 0x2000 + n, n < 24   the level of interrupt line n; any value but 0 asserts it
 *   0xff000000, 64 KiB        memory that the guest reaches by emulation only
 *
 * The window and the latch are accessed without a lock, as memory is, so vCPUs that write the same
 * bytes at the same time may mix them.
 */
#pragma once

#include "dev/line.h"
#include "mmio/bus.h"

#define PC_TESTDEV_LATCH  0xe0u /* ports */
#define PC_TESTDEV_UNMAP  0xe4u
#define PC_TESTDEV_LINES  0x2000u
#define PC_TESTDEV_PORTS  4u /* of the latch, and of the port that unmaps */
#define PC_TESTDEV_WINDOW 0x10000u
#define PC_TESTDEV_PINS   24u

struct pc_testdev {
    uint8_t *window; /* PC_TESTDEV_WINDOW bytes, owned by the caller */
    uint32_t latch;
    struct line line; /* `number` is ignored */
    /* Unmaps the page at the guest-physical address `gpa`, which may be any number. */
    void (*unmap)(void *context, uint64_t gpa);
    void *context;
};

/* Each takes a struct pc_testdev as its device. */
extern const struct bus_ops pc_testdev_latch_ops, pc_testdev_unmap_ops, pc_testdev_lines_ops,
    pc_testdev_window_ops;
