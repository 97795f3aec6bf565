/* SPDX-License-Identifier: MIT */
/* Shared by the parts of the local APIC's register file: lapic.c, lapic_page.c and
 * lapic_timer.c. */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"
#include "dev/lapic.h"

#define FIRST_LEGAL_VECTOR 16
#define LVT_MASKED         ((uint32_t)BIT(16))
#define LVT_DELIVERY       BITS(10, 8) /* enum lapic_delivery */

static inline uint32_t lapic_lvt(const struct lapic *l, enum lapic_register reg)
{
    return l->lvt[reg - LAPIC_LVT_TIMER];
}

/* ---- Sets of vectors ------------------------------------------------------------------------- */

/* IRR, ISR and TMR are kept in the APIC, or, if there is a page, as eight registers in the page,
 * of which `reg` is the first. A function tests once whether there is a page, and calls its part
 * for either case with a constant. */

#define PAGE_REGISTER 4u /* 32-bit words from one register of the page to the next */

static ALWAYS_INLINE uint64_t set_word(const uint64_t own[4], const uint32_t *page, unsigned reg,
                                       unsigned index)
{
    if (!page)
        return own[index];
    page += (reg + 2 * index) * PAGE_REGISTER;
    return page[0] | (uint64_t)page[PAGE_REGISTER] << 32;
}

/* Returns the highest vector of the set, or -1. */
static ALWAYS_INLINE int set_highest(const uint64_t own[4], const uint32_t *page, unsigned reg)
{
    for (int i = 3; i >= 0; i--) {
        uint64_t word = set_word(own, page, reg, (unsigned)i);
        if (word)
            return 64 * i + 63 - __builtin_clzll(word);
    }
    return -1;
}

static ALWAYS_INLINE bool set_has(const uint64_t own[4], const uint32_t *page, unsigned reg,
                                  uint8_t vector)
{
    return set_word(own, page, reg, vector / 64) & BIT(vector % 64);
}

static ALWAYS_INLINE void set_add(uint64_t own[4], uint32_t *page, unsigned reg, uint8_t vector)
{
    if (page)
        page[(reg + vector / 32) * PAGE_REGISTER] |= (uint32_t)BIT(vector % 32);
    else
        own[vector / 64] |= BIT(vector % 64);
}

static ALWAYS_INLINE void set_remove(uint64_t own[4], uint32_t *page, unsigned reg, uint8_t vector)
{
    if (page)
        page[(reg + vector / 32) * PAGE_REGISTER] &= ~(uint32_t)BIT(vector % 32);
    else
        own[vector / 64] &= ~BIT(vector % 64);
}

static ALWAYS_INLINE uint8_t lapic_tpr(const struct lapic *l, const uint32_t *page)
{
    return page ? (uint8_t)page[LAPIC_TPR * PAGE_REGISTER] : l->tpr;
}

/* ---- Functions of the parts ------------------------------------------------------------------ */

/* lapic_page.c: clears what the page holds. */
void lapic_page_reset(struct lapic *l);

/* lapic.c: raises the interrupt of an LVT entry, unless the entry is masked. */
void lapic_fire(struct lapic *l, enum lapic_register lvt);

/* lapic.c: whether this vector is already pending, so that accepting it again has no effect. */
bool lapic_waits(const struct lapic *l, uint8_t vector);

/* lapic_timer.c: accesses to the timer's registers. The caller has called lapic_tick(). */
uint32_t lapic_current_count(const struct lapic *l);
void lapic_write_timer(struct lapic *l, uint32_t entry);
void lapic_write_initial_count(struct lapic *l, uint32_t count);
void lapic_write_divide(struct lapic *l, uint32_t value);
