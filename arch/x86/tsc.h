/* The time-stamp counter as a clock. */
#pragma once

#include <stdint.h>

/* Measures the TSC against the PIT for about 10 ms. */
void tsc_calibrate(void);

/* Ticks per millisecond; 0 before the calibration. */
uint64_t tsc_khz(void);

/* Waits. After the calibration. */
void tsc_wait(uint64_t microseconds);
