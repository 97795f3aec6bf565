/* The front end of the local APIC in memory: its page, a device for the bus. The device is the
 * struct lapic. Switched off by IA32_APIC_BASE, the page reads all ones. */
#pragma once

#include "mmio/bus.h"

#define LAPIC_PAGE_SIZE 0x1000

extern const struct bus_ops lapic_mmio_ops;
