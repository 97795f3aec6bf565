/* SPDX-License-Identifier: MIT */
/* Converts between seconds and dates of the Gregorian calendar, in UTC without leap seconds.
 * Pure. */
#pragma once

#include <stdint.h>

struct calendar {
    uint32_t year;       /* 1970 to 9999 */
    uint32_t month, day; /* from 1 */
    uint32_t hour, minute, second;
    uint32_t weekday; /* 0: Sunday; calendar_seconds() does not use it */
};

/* Returns the seconds from the beginning of 1970 to a date, and the date of a number of seconds. */
uint64_t calendar_seconds(const struct calendar *date);
struct calendar calendar_of(uint64_t seconds);
