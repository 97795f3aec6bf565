/* SPDX-License-Identifier: MIT */
/*
 * A PC's clock and its battery-backed memory (Motorola's MC146818): the index at port 0x70, the
 * data at 0x71. The time is that of the host; what a guest writes to it is dropped. There are no
 * interrupts: alarm registers keep what is written, and register B does not take enable bits.
 *
 * Updates take no time, so register A never says that one is in progress. A guest that has read
 * register A reads a time that does not change in between: for 10 ms, the registers show the time
 * of that moment.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "arch/x86/cmos.h"
#include "mmio/bus.h"

#define RTC_PORTS 2

struct rtc {
    uint64_t (*now)(void); /* milliseconds since the beginning of 1970 */
    uint64_t shown;        /* the time that the registers show, in the same unit */
    uint8_t index;
    uint8_t memory[CMOS_REGISTERS]; /* what the guest has written */
};

extern const struct bus_ops rtc_ops;

/* `ram` is the size of the guest's RAM in bytes, which a PC's firmware leaves in this memory. */
void rtc_init(struct rtc *rtc, uint64_t (*now)(void), uint64_t ram);
