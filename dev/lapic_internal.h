/* SPDX-License-Identifier: MIT */
/* Shared by the two halves of the local APIC's register file: lapic.c and lapic_timer.c. */
#pragma once

#include "lib/bits.h"
#include "dev/lapic.h"

#define FIRST_LEGAL_VECTOR 16
#define LVT_MASKED         ((uint32_t)BIT(16))
#define LVT_DELIVERY       BITS(10, 8) /* enum lapic_delivery */

static inline uint32_t lapic_lvt(const struct lapic *l, enum lapic_register reg)
{
    return l->lvt[reg - LAPIC_LVT_TIMER];
}

/* lapic.c: raises the interrupt of an LVT entry, unless the entry is masked. */
void lapic_fire(struct lapic *l, enum lapic_register lvt);

/* lapic.c: whether this vector is already pending, so that accepting it again has no effect. */
bool lapic_waits(const struct lapic *l, uint8_t vector);

/* lapic_timer.c: accesses to the timer's registers. The caller has called lapic_tick(). */
uint32_t lapic_current_count(const struct lapic *l);
void lapic_write_timer(struct lapic *l, uint32_t entry);
void lapic_write_initial_count(struct lapic *l, uint32_t count);
void lapic_write_divide(struct lapic *l, uint32_t value);
