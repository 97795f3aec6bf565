/* SPDX-License-Identifier: MIT */
/* Dates of the Gregorian calendar, in UTC without leap seconds. Pure. */
#pragma once

#include <stdint.h>

struct calendar {
    uint32_t year;       /* 1970 to 9999 */
    uint32_t month, day; /* from 1 */
    uint32_t hour, minute, second;
    uint32_t weekday; /* 0: Sunday; calendar_seconds() does not use it */
};

/* Seconds since the beginning of 1970. */
uint64_t calendar_seconds(const struct calendar *date);
struct calendar calendar_of(uint64_t seconds);
