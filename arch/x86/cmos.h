/* SPDX-License-Identifier: MIT */
/* The registers of a PC's clock, Motorola's MC146818, and the form in which they hold a time. Pure;
 * arch/x86/wall_clock.c reads the machine's clock, dev/rtc.c is one. */
#pragma once

#include "lib/bits.h"
#include "lib/calendar.h"

#include <stdbool.h>

#define PORT_CMOS_INDEX 0x70 /* bit 7 masks NMIs, and is no part of the number */
#define PORT_CMOS_DATA  0x71

enum cmos_register {
    CMOS_SECOND = 0x00,
    CMOS_MINUTE = 0x02,
    CMOS_HOUR = 0x04,
    CMOS_WEEKDAY = 0x06, /* from 1, Sunday */
    CMOS_DAY = 0x07,
    CMOS_MONTH = 0x08,
    CMOS_YEAR = 0x09, /* of the century */
    CMOS_A = 0x0a,
    CMOS_B = 0x0b,
    CMOS_C = 0x0c,
    CMOS_D = 0x0d,
    CMOS_CENTURY = 0x32, /* by convention; ACPI's FADT names it */
};
#define CMOS_REGISTERS 0x80

#define CMOS_A_UPDATING BIT(7)
#define CMOS_B_SET      BIT(7)
#define CMOS_B_BINARY   BIT(2)
#define CMOS_B_24_HOURS BIT(1)
#define CMOS_D_VALID    BIT(7)

/* The value of one of the registers of the time, in the form that register B chooses. Any other
 * register: 0. */
uint8_t cmos_encode(const struct calendar *date, unsigned reg, uint8_t b);

/* Reads the time from registers, by number, in the form that register B among them chooses. A
 * century that is none counts as the 21st. Returns false if they hold no time. */
bool cmos_decode(const uint8_t registers[CMOS_REGISTERS], struct calendar *date);
