/* SPDX-License-Identifier: MIT */
/* A local APIC, with a TSC that the test sets, and counters of its callbacks. */
#pragma once

#include "tests/unit/support.h"

#include "lib/bits.h"
#include "dev/lapic.h"

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u

static struct lapic apic;
static uint64_t tsc;
static unsigned nmis, interrupt_calls, timer_calls, reachable_calls;

static inline uint64_t host_now(void *context)
{
    assert_ptr_equal(context, &apic);
    return tsc;
}

static inline void host_interrupt(void *context)
{
    assert_ptr_equal(context, &apic);
    interrupt_calls++;
}

static inline void host_timer(void *context)
{
    assert_ptr_equal(context, &apic);
    timer_calls++;
}

static inline void host_nmi(void *context)
{
    assert_ptr_equal(context, &apic);
    nmis++;
}

/* The vectors whose EOI was broadcast, in this order. */
static uint8_t ended[8];
static unsigned ends;

static inline void host_end_level(void *context, uint8_t vector)
{
    assert_ptr_equal(context, &apic);
    assert_true(ends < ARRAY_SIZE(ended));
    ended[ends++] = vector;
}

static inline void host_reachable(void *context)
{
    assert_ptr_equal(context, &apic);
    assert_true(lapic_accepts(&apic));
    reachable_calls++;
}

static const struct lapic_host host = {.now = host_now,
                                       .interrupt = host_interrupt,
                                       .timer = host_timer,
                                       .raise_nmi = host_nmi,
                                       .end_level = host_end_level,
                                       .reachable = host_reachable};

static inline int setup(void **state)
{
    (void)state;
    support_reset();
    tsc = 1000;
    nmis = interrupt_calls = timer_calls = ends = 0;
    lapic_init(&apic, 0, &host, &apic);
    return 0;
}

static inline int setup_on(void **state)
{
    setup(state);
    lapic_write(&apic, LAPIC_SVR, 0x1ff);
    return 0;
}

static inline uint32_t get(unsigned reg)
{
    return lapic_read(&apic, reg);
}

static inline void put(unsigned reg, uint32_t value)
{
    lapic_write(&apic, reg, value);
}

static inline uint32_t errors(void)
{
    put(LAPIC_ESR, 0);
    return get(LAPIC_ESR);
}

static uint32_t random_state;
static inline uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}
