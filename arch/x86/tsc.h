/* SPDX-License-Identifier: MIT */
/* The time-stamp counter as a clock. */
#pragma once

#include "boot/boot_info.h"

/* Determines the TSC's rate with the available clocks (arch/x86/tsc_rate.h), in about 10 ms, and
 * prints how. Called after acpi_init(). */
void tsc_calibrate(const struct boot_info *info);

/* Ticks per millisecond; 0 before the calibration. */
uint64_t tsc_khz(void);

/* Ticks for a wait that may also be before the calibration: the TSC is then taken for that of a
 * fast CPU. */
#define TSC_KHZ_GUESS 3000000u
static inline uint64_t tsc_ticks(uint64_t milliseconds)
{
    return milliseconds * (tsc_khz() ? tsc_khz() : TSC_KHZ_GUESS);
}

/* Reads and writes IA32_TSC_ADJUST of this CPU; false if it has none. */
bool tsc_read_adjust(uint64_t *value) MUST_CHECK;
bool tsc_write_adjust(uint64_t value) MUST_CHECK;

/* Waits actively. Called after the calibration. */
void tsc_wait(uint64_t microseconds);
