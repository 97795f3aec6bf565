/* SPDX-License-Identifier: MIT */
/*
 * QEMU's firmware configuration device (fw_cfg), as far as programs that bring no drivers use it: a
 * 16-bit write to port 0x510 selects an item, and each read of port 0x511 returns its next byte,
 * least significant first. The items are the signature, the features (none beyond this interface),
 * the size of RAM, and the numbers of CPUs. Any other item reads as zero, as do the bytes beyond an
 * item's end. Nothing can be written.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "mmio/bus.h"

#define FW_CFG_PORT  0x510u
#define FW_CFG_PORTS 2u

struct fw_cfg {
    uint64_t ram; /* bytes */
    unsigned cpus;
    uint64_t rest; /* the bytes of the selected item that have not been read */
};

extern const struct bus_ops fw_cfg_ops;
