/* SPDX-License-Identifier: MIT */
/* The time of day: read from the machine's clock once, and counted by the TSC from then on. */
#pragma once

#include <stdint.h>

/* Reads the machine's clock, in about 2 ms at most. Called at the boot, on one CPU, after
 * tsc_calibrate(). Without a clock that can be read, time begins in 2000, and a message says so. */
void wall_clock_start(void);

/* Milliseconds since the beginning of 1970, UTC if the machine's clock is. */
uint64_t wall_clock_ms(void);
