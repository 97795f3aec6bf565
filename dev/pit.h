/* SPDX-License-Identifier: MIT */
/*
 * Counter 2 of a PC's programmable interval timer (Intel's 8254, ports 0x40 to 0x43), and the port
 * 0x61 that opens its gate and shows its output. Guests measure the rate of their TSC with it. If
 * it were not there, a Linux that is a TDX guest would read all ones 100,000 times, because a TD
 * does not learn the rate of its CPU by CPUID leaf 16h.
 *
 * The counter is computed from the TSC at each access. Counters 0 and 1, which interrupt in a PC,
 * do not exist: they read all ones, and writes to them are dropped. Read-back commands, BCD and the
 * keyboard's data port between the two are not there either. Callers serialise accesses.
 */
#pragma once

#include "mmio/bus.h"

#define PIT_HZ    1193182u
#define PIT_PORTS 0x22 /* from the first counter to the system control port */

struct pit {
    uint64_t (*tsc)(void);
    uint64_t tsc_hz;
    uint64_t since; /* TSC: when the counter was loaded, or continued */
    uint64_t ran;   /* ticks that it had counted by then */
    uint32_t count; /* that was loaded: 1 to 0x10000 */
    uint16_t latched;
    uint8_t control; /* port 0x61: the bits that can be written */
    uint8_t mode, bytes, low;
    bool loaded, is_latched;
    bool high_next_read, high_next_write;
};

extern const struct bus_ops pit_ops;
