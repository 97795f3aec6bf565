/* SPDX-License-Identifier: MIT */
/*
 * The MMIO transport (virtio 1.2, section 4.2), version 2: a page of registers, which ACPI
 * describes to the guest. Registers are accessed by aligned 32-bit accesses; others read 0 and are
 * dropped. The configuration space is read by accesses of any size, and nothing in it can be
 * written.
 */
#pragma once

#include "dev/virtio.h"
#include "mmio/bus.h"

#define VIRTIO_MMIO_SIZE 0x200u /* registers and configuration space */

struct virtio_mmio {
    struct virtio *virtio;
    uint32_t device_half, driver_half, queue; /* what the driver has selected */
};

extern const struct bus_ops virtio_mmio_ops;
