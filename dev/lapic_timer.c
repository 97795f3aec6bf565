/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer (SDM 3, 11.5.4). One-shot, periodic and TSC-deadline mode are all kept as
 * one number: the TSC of the next expiry. Called by the register file and by vm/. Pure.
 */
#include "dev/lapic_internal.h"
#include "dev/lapic_page.h"

#define LVT_PERIODIC BIT(17)
#define LVT_DEADLINE BIT(18) /* together with LVT_PERIODIC: reserved, the timer does not run */
#define LVT_MODE     (LVT_PERIODIC | LVT_DEADLINE)

#define DIVIDE_WRITABLE 0xb

static uint64_t lapic_timer_mode(const struct lapic *l)
{
    return lapic_lvt(l, LAPIC_LVT_TIMER) & LVT_MODE;
}

/* Bits 3, 1 and 0 of the divide configuration: 000 divides by 2, … 110 by 128, 111 by 1. */
static unsigned divide_shift(const struct lapic *l)
{
    unsigned bits = (l->divide & 3) | (l->divide >> 1 & 4);
    return (bits + 1) & 7;
}

/* The TSC ticks that this many counts take. */
static uint64_t count_ticks(const struct lapic *l, uint64_t count)
{
    return count * l->timer_unit << divide_shift(l);
}

static uint64_t lapic_timer_now(const struct lapic *l)
{
    return l->host->now(l->context);
}

void lapic_tick(struct lapic *l)
{
    if (!l->timer_end)
        return;
    uint64_t tsc = lapic_timer_now(l);
    if (tsc < l->timer_end)
        return;
    uint64_t period = count_ticks(l, l->initial);
    if (lapic_timer_mode(l) == LVT_PERIODIC)
        l->timer_end += ((tsc - l->timer_end) / period + 1) * period;
    else
        l->timer_end = 0;
    lapic_fire(l, LAPIC_LVT_TIMER);
}

/* An expiry that would have no effect, because the entry is masked or its vector is already
 * pending, needs no VM exit. Ignoring such expiries also keeps a timer with the shortest period
 * from starving the guest. */
uint64_t lapic_deadline(const struct lapic *l)
{
    uint32_t entry = lapic_lvt(l, LAPIC_LVT_TIMER);
    bool heard = !(entry & LVT_MASKED) && !lapic_waits(l, (uint8_t)entry);
    return l->timer_end && heard ? l->timer_end : LAPIC_NEVER;
}

bool lapic_timer_waits(const struct lapic *l)
{
    uint32_t entry = lapic_lvt(l, LAPIC_LVT_TIMER);
    return l->timer_end && !(entry & LVT_MASKED) && (uint8_t)entry >= FIRST_LEGAL_VECTOR &&
           lapic_waits(l, (uint8_t)entry);
}

uint32_t lapic_current_count(const struct lapic *l)
{
    if (!l->timer_end || lapic_timer_mode(l) & LVT_DEADLINE)
        return 0;
    uint64_t tsc = lapic_timer_now(l), left = l->timer_end > tsc ? l->timer_end - tsc : 0;
    uint64_t one = count_ticks(l, 1);
    return (uint32_t)((left + one - 1) / one);
}

/* Writes the timer's LVT entry. A change to or from TSC-deadline mode disarms the timer; a change
 * between one-shot and periodic mode leaves it running (SDM 3, 11.5.4.1). */
void lapic_write_timer(struct lapic *l, uint32_t entry)
{
    uint64_t old = lapic_timer_mode(l), new = entry &LVT_MODE;
    if (old != new && (old | new) & LVT_DEADLINE) {
        l->timer_end = 0;
        l->initial = 0;
    }
    l->lvt[0] = entry;
    l->host->timer(l->context);
}

void lapic_write_initial_count(struct lapic *l, uint32_t count)
{
    if (lapic_timer_mode(l) & LVT_DEADLINE)
        return;
    l->initial = count;
    l->timer_end = count ? lapic_timer_now(l) + count_ticks(l, count) : 0;
    l->host->timer(l->context);
}

/* Writes the divide configuration. The current count is kept and continues at the new rate. */
void lapic_write_divide(struct lapic *l, uint32_t value)
{
    uint64_t count = lapic_current_count(l);
    l->divide = value & DIVIDE_WRITABLE;
    if (lapic_timer_mode(l) & LVT_DEADLINE || !l->timer_end)
        return;
    l->timer_end = lapic_timer_now(l) + count_ticks(l, count);
    l->host->timer(l->context);
}

uint64_t lapic_tsc_deadline(struct lapic *l)
{
    lapic_tick(l);
    return lapic_timer_mode(l) == LVT_DEADLINE ? l->timer_end : 0;
}

void lapic_set_tsc_deadline(struct lapic *l, uint64_t value)
{
    lapic_tick(l);
    if (lapic_timer_mode(l) != LVT_DEADLINE)
        return;
    l->timer_end = value;
    lapic_tick(l); /* the deadline may be in the past */
    l->host->timer(l->context);
}
