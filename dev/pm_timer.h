/* SPDX-License-Identifier: MIT */
/* ACPI's power management timer (ACPI 6.5, 4.8.3.3): a 32-bit counter at 3.579545 MHz, computed
 * from the TSC at each read. It has no state of its own and needs no lock. */
#pragma once

#include "mmio/bus.h"

#define PM_TIMER_HZ    3579545u
#define PM_TIMER_PORTS 4

struct pm_timer {
    uint64_t (*tsc)(void);
    uint64_t tsc_hz;
};

extern const struct bus_ops pm_timer_ops;
