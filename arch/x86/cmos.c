/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "arch/x86/cmos.h"

#define HOUR_PM 0x80

static uint8_t cmos_number(uint32_t value, uint8_t b)
{
    return (uint8_t)(b & CMOS_B_BINARY ? value : value / 10 << 4 | value % 10);
}

static uint32_t cmos_value(uint8_t number, uint8_t b)
{
    return b & CMOS_B_BINARY ? number : number / 16 * 10u + number % 16;
}

/* In the 12-hour form midnight and noon are 12, and bit 7 means p.m. */
static uint8_t cmos_hour(uint32_t hour, uint8_t b)
{
    if (b & CMOS_B_24_HOURS)
        return cmos_number(hour, b);
    return cmos_number((hour + 11) % 12 + 1, b) | (hour >= 12 ? HOUR_PM : 0);
}

static uint32_t cmos_hour_value(uint8_t number, uint8_t b)
{
    if (b & CMOS_B_24_HOURS)
        return cmos_value(number, b);
    return cmos_value(number % HOUR_PM, b) % 12 + (number & HOUR_PM ? 12 : 0);
}

uint8_t cmos_encode(const struct calendar *date, unsigned reg, uint8_t b)
{
    switch (reg) {
    case CMOS_SECOND:
        return cmos_number(date->second, b);
    case CMOS_MINUTE:
        return cmos_number(date->minute, b);
    case CMOS_HOUR:
        return cmos_hour(date->hour, b);
    case CMOS_WEEKDAY:
        return cmos_number(date->weekday + 1, b);
    case CMOS_DAY:
        return cmos_number(date->day, b);
    case CMOS_MONTH:
        return cmos_number(date->month, b);
    case CMOS_YEAR:
        return cmos_number(date->year % 100, b);
    case CMOS_CENTURY:
        return cmos_number(date->year / 100, b);
    default:
        return 0;
    }
}

bool cmos_decode(const uint8_t registers[CMOS_REGISTERS], struct calendar *date)
{
    uint8_t b = registers[CMOS_B];
    uint32_t century = cmos_value(registers[CMOS_CENTURY], b);
    *date = (struct calendar){
        .year = (century < 20 || century > 99 ? 20 : century) * 100 +
                cmos_value(registers[CMOS_YEAR], b),
        .month = cmos_value(registers[CMOS_MONTH], b),
        .day = cmos_value(registers[CMOS_DAY], b),
        .hour = cmos_hour_value(registers[CMOS_HOUR], b),
        .minute = cmos_value(registers[CMOS_MINUTE], b),
        .second = cmos_value(registers[CMOS_SECOND], b),
    };
    return registers[CMOS_D] & CMOS_D_VALID && date->month - 1 < 12 && date->day - 1 < 31 &&
           date->hour < 24 && date->minute < 60 && date->second < 60 && date->year < 10000;
}
