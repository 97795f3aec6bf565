/* SPDX-License-Identifier: MIT */
/*
 * The MMIO transport (virtio 1.2, section 4.2), version 2. ACPI describes the registers to the
 * guest. They are accessed by aligned 32-bit accesses; any other read returns 0, and any other
 * write is dropped. The configuration space can be read by accesses of any size, and is read-only.
 */
#pragma once

#include "dev/virtio.h"
#include "mmio/bus.h"

#define VIRTIO_MMIO_SIZE 0x200u /* size of the registers and the configuration space */

struct virtio_mmio {
    struct virtio *virtio;
    uint32_t device_half, driver_half, queue; /* selected by the driver */
};

extern const struct bus_ops virtio_mmio_ops;
