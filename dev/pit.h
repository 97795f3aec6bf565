/* SPDX-License-Identifier: MIT */
/*
 * A PC's programmable interval timer (Intel's 8254, ports 0x40 to 0x43), and the port 0x61 that
 * opens the gate of counter 2 and shows its output. Guests measure the rate of their TSC with
 * counter 2. If it were not there, a Linux that is a TDX guest would read all ones 100,000 times,
 * because a TD does not learn the rate of its CPU by CPUID leaf 16h. The output of counter 0 is IRQ
 * 0 of an old PC. Without `complete`, counters 0 and 1 do not exist: they read all ones, and writes
 * to them are dropped.
 *
 * A counter is computed from the TSC at each access, in ticks of the timer's clock. It has its
 * count at the tick in which it is loaded, and one less at the next. Counter 0 needs no periodic
 * callback either: pit_tick() raises the line if the output has risen since the last call, and
 * pit_deadline() says when it has to be called next. It does not lower the line, so that a rise
 * that is noticed late is not lost; pit_update() and the guest's accesses do.
 *
 * Callers serialise the calls for one timer.
 */
#pragma once

#include "dev/line.h"
#include "mmio/bus.h"

#define PIT_HZ       1193182u
#define PIT_PORTS    0x22 /* from the first counter to the system control port */
#define PIT_COUNTERS 3u
#define PIT_NEVER    (~0ull)

struct pit_counter {
    uint64_t since;   /* tick: when the counter was loaded */
    uint64_t ran;     /* ticks that it had counted when its gate closed; valid while `frozen` */
    uint32_t count;   /* that was loaded: 1 to 0x10000 */
    uint32_t pending; /* the count that will be loaded next; 0: none */
    uint64_t load_at; /* tick: when a periodic counter loads it */
    bool load_low;    /* … for its low half (mode 3) */
    uint16_t latched;
    uint8_t status; /* latched */
    uint8_t mode, bytes, low;
    bool bcd, gate;
    bool loaded, frozen;
    bool is_latched, status_latched;
    bool high_next_read, high_next_write;
};

struct pit {
    uint64_t (*tsc)(void);
    uint64_t tsc_hz;
    bool complete;
    struct line line; /* the output of counter 0 */
    /* pit_deadline() may have changed; NULL without `complete`. */
    void (*changed)(void *context);
    void *context;
    uint8_t control; /* port 0x61: the bits that can be written */
    struct pit_counter counters[PIT_COUNTERS];
    uint64_t seen;     /* tick: of the last pit_tick() */
    uint64_t not_soon; /* TSC: no deadline is earlier */
};

extern const struct bus_ops pit_ops;

/* Initializes the timer. No counter counts, and counter 0 is in the mode in which a PC's BIOS
 * leaves it. */
void pit_init(struct pit *pit, uint64_t (*tsc)(void), uint64_t tsc_hz);

/* Raises the line, anew if it is asserted, if the output of counter 0 has risen since the last call
 * of any of these functions. */
void pit_tick(struct pit *pit);

/* The same, but if the output has not risen, sets the line to what it is now. */
void pit_update(struct pit *pit);

/* The TSC value at which the output of counter 0 rises next, or PIT_NEVER. It is at least 100 us
 * after the last rise that pit_tick() has seen, so that a guest cannot ask for more interrupts. */
uint64_t pit_deadline(const struct pit *pit);
