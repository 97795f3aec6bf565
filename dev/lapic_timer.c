/*
 * The local APIC's timer (SDM 3, 11.5.4): one-shot, periodic and TSC-deadline mode, all as one
 * number, the TSC at which it expires next. Called by the register file and by vm/. Pure.
 */
#include "dev/lapic_internal.h"

#define LVT_PERIODIC BIT(17)
#define LVT_DEADLINE BIT(18) /* with LVT_PERIODIC: reserved, nothing runs */
#define LVT_MODE     (LVT_PERIODIC | LVT_DEADLINE)

#define DIVIDE_WRITABLE 0xb

static uint64_t mode(const struct lapic *l)
{
    return lapic_lvt(l, LAPIC_LVT_TIMER) & LVT_MODE;
}

/* Bits 3, 1 and 0: 000 divides by 2, … 110 by 128, 111 by 1. */
static unsigned divide_shift(const struct lapic *l)
{
    unsigned bits = (l->divide & 3) | (l->divide >> 1 & 4);
    return (bits + 1) & 7;
}

static uint64_t now(const struct lapic *l)
{
    return l->host->now(l->context);
}

void lapic_tick(struct lapic *l)
{
    if (!l->timer_end)
        return;
    uint64_t tsc = now(l);
    if (tsc < l->timer_end)
        return;
    uint64_t period = (uint64_t)l->initial << divide_shift(l);
    if (mode(l) == LVT_PERIODIC)
        l->timer_end += ((tsc - l->timer_end) / period + 1) * period;
    else
        l->timer_end = 0;
    lapic_fire(l, LAPIC_LVT_TIMER);
}

/* Expiries that change nothing are not worth leaving the guest for. That also keeps the shortest
 * period from stopping the guest altogether. */
uint64_t lapic_deadline(const struct lapic *l)
{
    uint32_t entry = lapic_lvt(l, LAPIC_LVT_TIMER);
    bool heard = !(entry & LVT_MASKED) && !lapic_waits(l, (uint8_t)entry);
    return l->timer_end && heard ? l->timer_end : LAPIC_NEVER;
}

uint32_t lapic_current_count(const struct lapic *l)
{
    if (!l->timer_end || mode(l) & LVT_DEADLINE)
        return 0;
    uint64_t tsc = now(l), left = l->timer_end > tsc ? l->timer_end - tsc : 0;
    unsigned shift = divide_shift(l);
    return (uint32_t)((left + BIT(shift) - 1) >> shift);
}

/* Into TSC-deadline mode or out of it, the timer is disarmed; between the others it runs on (SDM 3,
 * 11.5.4.1). */
void lapic_write_timer(struct lapic *l, uint32_t entry)
{
    uint64_t old = mode(l), new = entry &LVT_MODE;
    if (old != new && (old | new) & LVT_DEADLINE) {
        l->timer_end = 0;
        l->initial = 0;
    }
    l->lvt[0] = entry;
    l->host->timer(l->context);
}

void lapic_write_initial_count(struct lapic *l, uint32_t count)
{
    if (mode(l) & LVT_DEADLINE)
        return;
    l->initial = count;
    l->timer_end = count ? now(l) + ((uint64_t)count << divide_shift(l)) : 0;
    l->host->timer(l->context);
}

/* The count stands, and goes on at the new speed. */
void lapic_write_divide(struct lapic *l, uint32_t value)
{
    uint64_t count = lapic_current_count(l);
    l->divide = value & DIVIDE_WRITABLE;
    if (mode(l) & LVT_DEADLINE || !l->timer_end)
        return;
    l->timer_end = now(l) + (count << divide_shift(l));
    l->host->timer(l->context);
}

uint64_t lapic_tsc_deadline(struct lapic *l)
{
    lapic_tick(l);
    return mode(l) == LVT_DEADLINE ? l->timer_end : 0;
}

void lapic_set_tsc_deadline(struct lapic *l, uint64_t value)
{
    lapic_tick(l);
    if (mode(l) != LVT_DEADLINE)
        return;
    l->timer_end = value;
    lapic_tick(l); /* it may be past */
    l->host->timer(l->context);
}
