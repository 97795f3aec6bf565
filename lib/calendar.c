/* SPDX-License-Identifier: MIT */
/* Implements lib/calendar.h. A year begins on March 1 here, so that the leap day is its last
 * day. */
#include "lib/calendar.h"

#define DAYS_TO_1970 719468u /* from March 1 of the year 0 to January 1, 1970 */
#define DAYS_400     146097u /* days of 400 years */
#define DAY          86400u  /* seconds */

/* Returns the number of days from March 1 to the first day of the month that is `month` months
 * later. */
static uint32_t days_before(uint32_t month)
{
    return (153 * month + 2) / 5;
}

uint64_t calendar_seconds(const struct calendar *date)
{
    uint32_t year = date->year - (date->month < 3), month = (date->month + 9) % 12;
    uint64_t days = 365ull * year + year / 4 - year / 100 + year / 400 + days_before(month) +
                    (date->day - 1) - DAYS_TO_1970;
    return days * DAY + (date->hour * 60 + date->minute) * 60 + date->second;
}

struct calendar calendar_of(uint64_t seconds)
{
    uint64_t days = seconds / DAY + DAYS_TO_1970;
    uint32_t rest = (uint32_t)(seconds % DAY), day = (uint32_t)(days % DAYS_400);
    uint32_t year = (day - day / 1460 + day / 36524 - day / (DAYS_400 - 1)) / 365;
    day -= 365 * year + year / 4 - year / 100;
    uint32_t month = (5 * day + 2) / 153;
    return (struct calendar){
        .year = (uint32_t)(days / DAYS_400 * 400) + year + (month >= 10),
        .month = month < 10 ? month + 3 : month - 9,
        .day = day - days_before(month) + 1,
        .hour = rest / 3600,
        .minute = rest / 60 % 60,
        .second = rest % 60,
        .weekday = (uint32_t)((seconds / DAY + 4) % 7), /* 1970 began on a Thursday */
    };
}
