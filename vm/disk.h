/* SPDX-License-Identifier: MIT */
/* A disk of a VM. */
#pragma once

#include "dev/virtio_blk.h"
#include "vm/virtio_unit.h"

#define DISKS 8 /* maximum for a VM: I/O APIC pins 16 to 23 (vm/layout.h) */

struct disk {
    struct virtio_blk blk;
    struct virtio_unit unit;
};
