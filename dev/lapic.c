/* SPDX-License-Identifier: MIT */
/*
 * The register file of the local APIC: priorities, IPIs, errors and registers. The timer is in
 * dev/lapic_timer.c. Called by the front ends (lapic_mmio.c, lapic_msr.c) and by vm/. Pure.
 */
#include "dev/lapic.h"

#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "dev/lapic_internal.h"

/* Bits 23:16 hold the number of LVT entries minus 1 (SDM 3, 11.4.8). */
#define VERSION ((LAPIC_LVTS - 1) << 16 | 0x14)

/* xAPIC mode: the ID registers (ID, LDR, ICR_HIGH) hold the ID in bits 31:24. */
#define ID_SHIFT  24
#define BROADCAST 0xff
#define DFR_MODEL BITS(31, 28)
#define DFR_ONES  BITS(27, 0)

#define X2APIC_BROADCAST ~0u

#define SVR_ENABLE BIT(8)
#define SVR_FOCUS  BIT(9) /* turns focus processor checking off; stored, without effect */
#define SVR_RESET  0xff

/* Bits of the ESR (SDM 3, 11.5.3). */
#define ERROR_SEND_VECTOR    BIT(5)
#define ERROR_RECEIVE_VECTOR BIT(6)
#define ERROR_REGISTER       BIT(7)

/* SDM 3, figure 11-12. Level (14) and trigger mode (15) are stored. Since the Pentium 4 their only
 * effect is that an INIT with trigger mode "level" and level "de-assert" does nothing. */
#define ICR_VECTOR    BITS(7, 0)
#define ICR_MODE      BITS(10, 8)
#define ICR_LOGICAL   BIT(11)
#define ICR_SHORTHAND BITS(19, 18)
#define ICR_ASSERT    BIT(14)
#define ICR_LEVEL     BIT(15)
#define ICR_WRITABLE  (BITS(11, 0) | BITS(15, 14) | BITS(19, 18))

enum shorthand {
    TO_DESTINATION,
    TO_SELF,
    TO_ALL,
    TO_OTHERS,
};

/* The writable bits of each LVT entry (SDM 3, figure 11-8). Delivery status and remote IRR always
 * read 0. */
static const uint32_t lvt_writable[LAPIC_LVTS] = {
    [LAPIC_LVT_TIMER - LAPIC_LVT_TIMER] = 0x700ff,
    [LAPIC_LVT_THERMAL - LAPIC_LVT_TIMER] = 0x107ff,
    [LAPIC_LVT_PERFORMANCE - LAPIC_LVT_TIMER] = 0x107ff,
    [LAPIC_LVT_LINT0 - LAPIC_LVT_TIMER] = 0x1a7ff,
    [LAPIC_LVT_LINT1 - LAPIC_LVT_TIMER] = 0x1a7ff,
    [LAPIC_LVT_ERROR - LAPIC_LVT_TIMER] = 0x100ff,
};

/* ---- Sets of vectors, and priorities --------------------------------------------------------- */

static ALWAYS_INLINE uint8_t ppr_in(const struct lapic *l, const uint32_t *page)
{
    int in_service = set_highest(l->isr, page, LAPIC_ISR);
    uint8_t isr_class = in_service < 0 ? 0 : (uint8_t)in_service & 0xf0, tpr = lapic_tpr(l, page);
    return (tpr & 0xf0) >= isr_class ? tpr : isr_class;
}

static ALWAYS_INLINE int pending_in(const struct lapic *l, const uint32_t *page)
{
    int vector = set_highest(l->irr, page, LAPIC_IRR);
    return vector >= 0 && vector >> 4 > ppr_in(l, page) >> 4 ? vector : -1;
}

int lapic_pending(const struct lapic *l)
{
    return unlikely(l->page) ? pending_in(l, l->page) : pending_in(l, NULL);
}

/* While the APIC has a page, the CPU acknowledges interrupts itself. */
uint8_t lapic_acknowledge(struct lapic *l)
{
    int vector = pending_in(l, NULL);
    BUG_ON(vector < 0 || l->page);
    set_remove(l->irr, NULL, LAPIC_IRR, (uint8_t)vector);
    set_add(l->isr, NULL, LAPIC_ISR, (uint8_t)vector);
    if (vector == (uint8_t)lapic_lvt(l, LAPIC_LVT_TIMER))
        l->host->timer(l->context); /* the vector has left IRR, so the next expiry needs an exit */
    return (uint8_t)vector;
}

static ALWAYS_INLINE void eoi_in(struct lapic *l, uint32_t *page)
{
    int vector = set_highest(l->isr, page, LAPIC_ISR);
    if (vector >= 0) {
        set_remove(l->isr, page, LAPIC_ISR, (uint8_t)vector);
        if (unlikely(set_has(l->tmr, page, LAPIC_TMR, (uint8_t)vector)))
            l->host->end_level(l->context, (uint8_t)vector);
    }
    l->host->interrupt(l->context);
}

static void lapic_eoi(struct lapic *l)
{
    if (unlikely(l->page))
        eoi_in(l, l->page);
    else
        eoi_in(l, NULL);
}

/* ---- Incoming interrupts and errors ---------------------------------------------------------- */

bool lapic_accepts(const struct lapic *l)
{
    return l->mode != LAPIC_OFF && l->svr & SVR_ENABLE;
}

/* Only the first error since the last write to ESR raises an interrupt (SDM 3, 11.5.3). */
static void lapic_error(struct lapic *l, uint32_t bit)
{
    bool armed = !l->errors;
    l->errors |= bit;
    if (armed)
        lapic_fire(l, LAPIC_LVT_ERROR);
}

/* TMR records how each vector was accepted last, until the vector is accepted again (SDM 3,
 * 11.8.4). */
static ALWAYS_INLINE void accept_in(struct lapic *l, uint32_t *page, uint8_t vector, bool level)
{
    if (level)
        set_add(l->tmr, page, LAPIC_TMR, vector);
    else if (unlikely(set_has(l->tmr, page, LAPIC_TMR, vector)))
        set_remove(l->tmr, page, LAPIC_TMR, vector);
    set_add(l->irr, page, LAPIC_IRR, vector);
    l->host->interrupt(l->context);
}

/* Accepts a fixed interrupt. */
static ALWAYS_INLINE void lapic_accept_as(struct lapic *l, uint8_t vector, bool level)
{
    if (!lapic_accepts(l))
        return;
    trace(apic_accept_irq, vector);
    if (vector < FIRST_LEGAL_VECTOR)
        lapic_error(l, ERROR_RECEIVE_VECTOR);
    else if (unlikely(l->page))
        accept_in(l, l->page, vector, level);
    else
        accept_in(l, NULL, vector, level);
}

void lapic_accept(struct lapic *l, uint8_t vector)
{
    lapic_accept_as(l, vector, false);
}

void lapic_accept_level(struct lapic *l, uint8_t vector)
{
    lapic_accept_as(l, vector, true);
}

void lapic_fire(struct lapic *l, enum lapic_register lvt)
{
    uint32_t entry = lapic_lvt(l, lvt);
    if (!(entry & LVT_MASKED))
        lapic_accept(l, (uint8_t)entry);
}

bool lapic_passes_lint0(const struct lapic *l)
{
    uint32_t entry = lapic_lvt(l, LAPIC_LVT_LINT0);
    if (l->mode == LAPIC_OFF)
        return true;
    return !(entry & LVT_MASKED) && field_get(entry, LVT_DELIVERY) == LAPIC_EXTINT;
}

void lapic_raise_lint0(struct lapic *l)
{
    uint32_t entry = lapic_lvt(l, LAPIC_LVT_LINT0);
    if (l->mode == LAPIC_OFF || entry & LVT_MASKED)
        return;
    if (field_get(entry, LVT_DELIVERY) == LAPIC_FIXED)
        lapic_accept(l, (uint8_t)entry);
    else if (field_get(entry, LVT_DELIVERY) == LAPIC_NMI)
        l->host->raise_nmi(l->context);
}

bool lapic_waits(const struct lapic *l, uint8_t vector)
{
    if (vector < FIRST_LEGAL_VECTOR)
        return l->errors & ERROR_RECEIVE_VECTOR;
    return set_has(l->irr, l->page, LAPIC_IRR, vector);
}

/* ---- Outgoing interrupts --------------------------------------------------------------------- */

/* The logical ID of an x2APIC: bits 31:16 are the cluster, and bits 15:0 have one bit set for the
 * CPU within the cluster (SDM 3, 11.12.10.2). */
static uint32_t x2apic_logical_id(const struct lapic *l)
{
    return l->id >> 4 << 16 | 1u << l->id % 16;
}

/* Whether a logical destination selects an APIC in xAPIC mode (SDM 3, 11.6.2). */
static bool xapic_addressed(const struct lapic *l, uint32_t destination)
{
    uint32_t dfr = __atomic_load_n(&l->dfr, __ATOMIC_RELAXED);
    uint32_t own = __atomic_load_n(&l->ldr, __ATOMIC_RELAXED) >> ID_SHIFT;
    if (destination > 0xff) /* sent by an x2APIC; an xAPIC has no such ID */
        return false;
    if ((dfr & DFR_MODEL) == DFR_MODEL)
        return destination & own;
    bool cluster = destination >> 4 == own >> 4 || destination >> 4 == 0xf;
    return cluster && destination & own & 0xf;
}

bool lapic_addressed(const struct lapic *l, const struct lapic_message *message)
{
    enum lapic_mode mode = __atomic_load_n(&l->mode, __ATOMIC_RELAXED);
    uint32_t destination = message->destination;
    if (message->all || mode == LAPIC_OFF)
        return mode != LAPIC_OFF;
    if (!message->logical)
        return destination == l->id;
    if (mode == LAPIC_XAPIC)
        return xapic_addressed(l, destination);
    uint32_t own = x2apic_logical_id(l);
    return destination >> 16 == own >> 16 && destination & own & 0xffff;
}

/* Receives a message that this APIC sent to itself. INIT, SMI and start-up IPIs are ignored. */
static void lapic_receive_own(struct lapic *l, const struct lapic_message *message)
{
    if (message->mode == LAPIC_FIXED || message->mode == LAPIC_LOWEST)
        lapic_accept(l, message->vector);
    else if (message->mode == LAPIC_NMI)
        l->host->raise_nmi(l->context);
}

/* Whether a destination is the broadcast ID of the current mode. In x2APIC mode the broadcast ID is
 * also one for a logical destination (SDM 3, 11.6.2.1 and 11.12.9). */
static bool lapic_is_broadcast(const struct lapic *l, uint32_t destination, bool logical)
{
    return l->mode == LAPIC_X2APIC ? destination == X2APIC_BROADCAST
                                   : destination == BROADCAST && !logical;
}

static void lapic_send_ipi(struct lapic *l, uint32_t command)
{
    enum shorthand shorthand = (enum shorthand)field_get(command, ICR_SHORTHAND);
    uint32_t destination = l->mode == LAPIC_X2APIC ? l->icr_high : l->icr_high >> ID_SHIFT;
    bool logical = command & ICR_LOGICAL;
    struct lapic_message message = {
        .mode = (uint8_t)field_get(command, ICR_MODE),
        .vector = (uint8_t)field_get(command, ICR_VECTOR),
        .destination = destination,
        .logical = logical,
        .all = shorthand != TO_DESTINATION || lapic_is_broadcast(l, destination, logical),
    };
    bool fixed = message.mode == LAPIC_FIXED || message.mode == LAPIC_LOWEST;
    bool here = shorthand != TO_OTHERS && lapic_addressed(l, &message);

    if (fixed && message.vector < FIRST_LEGAL_VECTOR)
        lapic_error(l, ERROR_SEND_VECTOR);
    if (here)
        lapic_receive_own(l, &message);
    if (shorthand == TO_SELF || !l->host->send || (here && message.mode == LAPIC_LOWEST) ||
        (message.mode == LAPIC_INIT && command & ICR_LEVEL && !(command & ICR_ASSERT)))
        return;
    l->host->send(l->context, &message);
}

/* ---- Registers ------------------------------------------------------------------------------- */

void lapic_reset(struct lapic *l)
{
    l->tpr = 0;
    l->ldr = l->icr = l->icr_high = l->divide = l->initial = l->esr = l->errors = 0;
    l->dfr = ~0u;
    l->svr = SVR_RESET;
    for (unsigned i = 0; i < LAPIC_LVTS; i++)
        l->lvt[i] = LVT_MASKED;
    memset(l->irr, 0, sizeof(l->irr));
    memset(l->isr, 0, sizeof(l->isr));
    memset(l->tmr, 0, sizeof(l->tmr));
    if (l->page)
        lapic_page_reset(l);
    l->timer_end = 0;
}

void lapic_init(struct lapic *l, uint32_t id, const struct lapic_host *host, void *context)
{
    *l = (struct lapic){
        .host = host, .context = context, .mode = LAPIC_XAPIC, .id = id, .timer_unit = 1};
    lapic_reset(l);
}

/* Called after each change of what the APIC accepts, and of the addresses that select it. */
static void lapic_reachable(struct lapic *l)
{
    if (lapic_accepts(l) && l->host->reachable)
        l->host->reachable(l->context);
}

static void lapic_lint0_changed(struct lapic *l)
{
    if (l->host->lint0)
        l->host->lint0(l->context);
}

bool lapic_mode_is_legal(const struct lapic *l, unsigned mode)
{
    return mode == l->mode || mode == LAPIC_OFF || (mode == LAPIC_XAPIC && l->mode == LAPIC_OFF) ||
           (mode == LAPIC_X2APIC && l->mode == LAPIC_XAPIC);
}

bool lapic_set_mode(struct lapic *l, unsigned mode)
{
    if (mode == l->mode || !lapic_mode_is_legal(l, mode))
        return mode == l->mode;
    if (mode != LAPIC_X2APIC)
        lapic_reset(l);
    l->mode = (enum lapic_mode)mode;
    l->host->interrupt(l->context);
    l->host->timer(l->context);
    lapic_reachable(l);
    lapic_lint0_changed(l);
    return true;
}

/* One of the eight registers of a set. */
static uint32_t set_register(const struct lapic *l, const uint64_t own[4], unsigned first,
                             unsigned reg)
{
    unsigned index = reg - first;
    return (uint32_t)(set_word(own, l->page, first, index / 2) >> (index % 2 * 32));
}

uint32_t lapic_read(struct lapic *l, unsigned reg)
{
    lapic_tick(l);
    switch (reg) {
    case LAPIC_ID:
        return l->mode == LAPIC_X2APIC ? l->id : l->id << ID_SHIFT;
    case LAPIC_VERSION:
        return VERSION;
    case LAPIC_TPR:
        return lapic_tpr(l, l->page);
    case LAPIC_PPR:
        return ppr_in(l, l->page);
    case LAPIC_EOI: /* write-only */
        return 0;
    case LAPIC_LDR:
        return l->mode == LAPIC_X2APIC ? x2apic_logical_id(l) : l->ldr;
    case LAPIC_DFR:
        return l->dfr;
    case LAPIC_SVR:
        return l->svr;
    case LAPIC_ISR ... LAPIC_ISR + 7:
        return set_register(l, l->isr, LAPIC_ISR, reg);
    case LAPIC_TMR ... LAPIC_TMR + 7:
        return set_register(l, l->tmr, LAPIC_TMR, reg);
    case LAPIC_IRR ... LAPIC_IRR + 7:
        return set_register(l, l->irr, LAPIC_IRR, reg);
    case LAPIC_ESR:
        return l->esr;
    case LAPIC_ICR:
        return l->icr;
    case LAPIC_ICR_HIGH:
        return l->icr_high;
    case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
        return lapic_lvt(l, (enum lapic_register)reg);
    case LAPIC_INITIAL_COUNT:
        return l->initial;
    case LAPIC_CURRENT_COUNT:
        return lapic_current_count(l);
    case LAPIC_DIVIDE:
        return l->divide;
    default:
        lapic_error(l, ERROR_REGISTER);
        return 0;
    }
}

/* Disabling the APIC by software masks all LVT entries (SDM 3, 11.4.7.2). */
static void lapic_write_svr(struct lapic *l, uint32_t value)
{
    l->svr = value & (SVR_ENABLE | SVR_FOCUS | SVR_RESET);
    if (l->page) /* who carries out self-IPIs depends on SVR */
        l->host->interrupt(l->context);
    if (l->svr & SVR_ENABLE) {
        lapic_reachable(l);
        return;
    }
    for (unsigned i = 0; i < LAPIC_LVTS; i++)
        l->lvt[i] |= LVT_MASKED;
    l->host->timer(l->context);
    lapic_lint0_changed(l);
}

static void lapic_set_tpr(struct lapic *l, uint8_t value)
{
    if (l->page)
        l->page[LAPIC_TPR * PAGE_REGISTER] = value;
    else
        l->tpr = value;
}

static void lapic_write_lvt(struct lapic *l, unsigned reg, uint32_t value)
{
    unsigned index = reg - LAPIC_LVT_TIMER;
    value &= lvt_writable[index];
    if (!(l->svr & SVR_ENABLE))
        value |= LVT_MASKED;
    if (reg == LAPIC_LVT_TIMER)
        lapic_write_timer(l, value);
    else
        l->lvt[index] = value;
    if (reg == LAPIC_LVT_LINT0)
        lapic_lint0_changed(l);
}

static void lapic_write_esr(struct lapic *l)
{
    l->esr = l->errors;
    l->errors = 0;
    l->host->timer(l->context); /* a timer with an illegal vector can raise an error again */
}

void lapic_write(struct lapic *l, unsigned reg, uint32_t value)
{
    lapic_tick(l);
    switch (reg) {
    case LAPIC_TPR:
        lapic_set_tpr(l, (uint8_t)value);
        l->host->interrupt(l->context);
        break;
    case LAPIC_EOI:
        lapic_eoi(l);
        break;
    case LAPIC_LDR:
        l->ldr = value & ~0u << ID_SHIFT;
        lapic_reachable(l);
        break;
    case LAPIC_DFR:
        l->dfr = value | (uint32_t)DFR_ONES;
        lapic_reachable(l);
        break;
    case LAPIC_SVR:
        lapic_write_svr(l, value);
        break;
    case LAPIC_ESR:
        lapic_write_esr(l);
        break;
    case LAPIC_ICR:
        l->icr = value & (uint32_t)ICR_WRITABLE;
        lapic_send_ipi(l, l->icr);
        break;
    case LAPIC_ICR_HIGH:
        l->icr_high = l->mode == LAPIC_X2APIC ? value : value & ~0u << ID_SHIFT;
        break;
    case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
        lapic_write_lvt(l, reg, value);
        break;
    case LAPIC_INITIAL_COUNT:
        lapic_write_initial_count(l, value);
        break;
    case LAPIC_DIVIDE:
        lapic_write_divide(l, value);
        break;
    case LAPIC_ID:
    case LAPIC_VERSION:
    case LAPIC_PPR:
    case LAPIC_ISR ... LAPIC_ISR + 7:
    case LAPIC_TMR ... LAPIC_TMR + 7:
    case LAPIC_IRR ... LAPIC_IRR + 7:
    case LAPIC_CURRENT_COUNT:
        break; /* read-only */
    case LAPIC_SELF_IPI:
        if (l->mode == LAPIC_X2APIC)
            lapic_send_ipi(l, (uint32_t)field_put(TO_SELF, ICR_SHORTHAND) | value);
        else
            lapic_error(l, ERROR_REGISTER);
        break;
    default:
        lapic_error(l, ERROR_REGISTER);
    }
}
