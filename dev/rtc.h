/* SPDX-License-Identifier: MIT */
/*
 * A PC's real-time clock and its battery-backed memory (Motorola's MC146818): the index at port
 * 0x70, the data at port 0x71. The time is that of the host; writes to the time registers are
 * dropped. There are no interrupts: the alarm registers are plain memory, and the interrupt enable
 * bits of register B stay 0.
 *
 * Updates take no time, so register A never reports an update in progress. A driver that reads this
 * in register A expects to read a consistent time afterwards, so the time registers keep showing
 * the time of that read for 10 ms.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "arch/x86/cmos.h"
#include "mmio/bus.h"

#define RTC_PORTS 2

struct rtc {
    uint64_t (*now)(void); /* returns milliseconds since the beginning of 1970 */
    uint64_t shown;        /* time that the registers show, in the same unit */
    uint8_t index;
    uint8_t memory[CMOS_REGISTERS]; /* all registers but the time, C and D */
};

extern const struct bus_ops rtc_ops;

/* Initializes the clock. `ram` is the size of the guest's RAM in bytes, which is stored in the
 * battery-backed memory as a PC's firmware does. */
void rtc_init(struct rtc *rtc, uint64_t (*now)(void), uint64_t ram);
