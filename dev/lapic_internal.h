/* What the two halves of the local APIC's register file share. */
#pragma once

#include "lib/bits.h"
#include "dev/lapic.h"

#define FIRST_LEGAL_VECTOR 16
#define LVT_MASKED         ((uint32_t)BIT(16))

static inline uint32_t lapic_lvt(const struct lapic *l, enum lapic_register reg)
{
    return l->lvt[reg - LAPIC_LVT_TIMER];
}

/* lapic.c: the source of an LVT entry fires. */
void lapic_fire(struct lapic *l, enum lapic_register lvt);

/* lapic.c: another interrupt with this vector would change nothing. */
bool lapic_waits(const struct lapic *l, uint8_t vector);

/* lapic_timer.c: its registers, after lapic_tick(). */
uint32_t lapic_current_count(const struct lapic *l);
void lapic_write_timer(struct lapic *l, uint32_t entry);
void lapic_write_initial_count(struct lapic *l, uint32_t count);
void lapic_write_divide(struct lapic *l, uint32_t value);
