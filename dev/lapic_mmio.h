/* The front end of the local APIC in memory, the xAPIC's: its page, a device for the bus. The
 * device is the struct lapic. In other modes nothing is there: the page reads all ones. */
#pragma once

#include "mmio/bus.h"

#define LAPIC_PAGE_SIZE 0x1000

extern const struct bus_ops lapic_mmio_ops;
