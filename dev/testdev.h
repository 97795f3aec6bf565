/* SPDX-License-Identifier: MIT */
/*
 * The test device of guest/abi.h (TESTDEV_): half a page that works like RAM, and counters of the
 * accesses that reached it. A VM with testctl has two test devices, so that a guest can tell from
 * their counters which one a store went to.
 */
#pragma once

#include "mmio/bus.h"

struct testdev {
    char ident;
    uint32_t reads, writes;
    uint32_t last_offset, last_size;
    uint64_t last_value;
    uint8_t ram[0x800];
    uint8_t tail[0x10]; /* the end of the page, so that an access can cross it */
};

extern const struct bus_ops testdev_ops;

void testdev_init(struct testdev *device, char ident);
