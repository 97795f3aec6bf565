/* SPDX-License-Identifier: MIT */
/* The xAPIC front end of the local APIC: its page as a device on the bus, with the struct lapic as
 * the device pointer. Unless the APIC is in xAPIC mode, the page reads all ones and ignores
 * writes. */
#pragma once

#include "mmio/bus.h"

#define LAPIC_PAGE_SIZE 0x1000

extern const struct bus_ops lapic_mmio_ops;
