/* The time-stamp counter as a clock. */
#pragma once

#include "boot/boot_info.h"

/* Finds out the TSC's rate by whatever there is to measure it with (arch/x86/tsc_rate.h), in about
 * 10 ms, and says in a sentence how. After acpi_init(). */
void tsc_calibrate(const struct boot_info *info);

/* Ticks per millisecond; 0 before the calibration. */
uint64_t tsc_khz(void);

/* Waits. After the calibration. */
void tsc_wait(uint64_t microseconds);
