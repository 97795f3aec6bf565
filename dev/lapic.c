/*
 * The register file of the local APIC: priorities, IPIs, errors and registers. The timer stands in
 * dev/lapic_timer.c. Called by its front ends and by vm/. Pure.
 */
#include "dev/lapic.h"

#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "dev/lapic_internal.h"

/* Six LVT entries: the number of the last one stands in bits 23:16 (SDM 3, 11.4.8). */
#define VERSION ((LAPIC_LVTS - 1) << 16 | 0x14)

/* Of an xAPIC: its IDs stand in the highest byte of their registers. */
#define ID_SHIFT  24
#define BROADCAST 0xff
#define DFR_MODEL BITS(31, 28)
#define DFR_ONES  BITS(27, 0)

#define X2APIC_BROADCAST ~0u

#define SVR_ENABLE BIT(8)
#define SVR_FOCUS  BIT(9) /* focus processor checking is off, which changes nothing here */
#define SVR_RESET  0xff

/* SDM 3, 11.5.3. */
#define ERROR_SEND_VECTOR    BIT(5)
#define ERROR_RECEIVE_VECTOR BIT(6)
#define ERROR_REGISTER       BIT(7)

/* SDM 3, figure 11-12. Level (14) and trigger mode (15) are kept; since the Pentium 4 they have no
 * effect but that INIT with both saying "level, de-assert" does nothing. */
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

/* What a guest may write (SDM 3, figure 11-8). Delivery status and remote IRR always read 0. */
static const uint32_t lvt_writable[LAPIC_LVTS] = {
    [LAPIC_LVT_TIMER - LAPIC_LVT_TIMER] = 0x700ff,
    [LAPIC_LVT_THERMAL - LAPIC_LVT_TIMER] = 0x107ff,
    [LAPIC_LVT_PERFORMANCE - LAPIC_LVT_TIMER] = 0x107ff,
    [LAPIC_LVT_LINT0 - LAPIC_LVT_TIMER] = 0x1a7ff,
    [LAPIC_LVT_LINT1 - LAPIC_LVT_TIMER] = 0x1a7ff,
    [LAPIC_LVT_ERROR - LAPIC_LVT_TIMER] = 0x100ff,
};

/* ---- Sets of vectors, and priorities --------------------------------------------------------- */

static int highest(const uint64_t set[4])
{
    for (int i = 3; i >= 0; i--)
        if (set[i])
            return 64 * i + 63 - __builtin_clzll(set[i]);
    return -1;
}

static uint8_t ppr(const struct lapic *l)
{
    int in_service = highest(l->isr);
    uint8_t isr_class = in_service < 0 ? 0 : (uint8_t)in_service & 0xf0;
    return (l->tpr & 0xf0) >= isr_class ? l->tpr : isr_class;
}

int lapic_pending(const struct lapic *l)
{
    int vector = highest(l->irr);
    return vector >= 0 && vector >> 4 > ppr(l) >> 4 ? vector : -1;
}

uint8_t lapic_acknowledge(struct lapic *l)
{
    int vector = lapic_pending(l);
    BUG_ON(vector < 0);
    l->irr[vector / 64] &= ~BIT(vector % 64);
    l->isr[vector / 64] |= BIT(vector % 64);
    if (vector == (uint8_t)lapic_lvt(l, LAPIC_LVT_TIMER))
        l->host->timer(l->context); /* it need not run while its vector waits */
    return (uint8_t)vector;
}

static void eoi(struct lapic *l)
{
    int vector = highest(l->isr);
    if (vector >= 0)
        l->isr[vector / 64] &= ~BIT(vector % 64);
    l->host->interrupt(l->context);
}

/* ---- Interrupts and errors come in ----------------------------------------------------------- */

bool lapic_accepts(const struct lapic *l)
{
    return l->mode != LAPIC_OFF && l->svr & SVR_ENABLE;
}

/* The first error since ESR was written makes an interrupt (SDM 3, 11.5.3). */
static void error(struct lapic *l, uint32_t bit)
{
    bool armed = !l->errors;
    l->errors |= bit;
    if (armed)
        lapic_fire(l, LAPIC_LVT_ERROR);
}

void lapic_accept(struct lapic *l, uint8_t vector)
{
    if (!lapic_accepts(l))
        return;
    if (vector < FIRST_LEGAL_VECTOR) {
        error(l, ERROR_RECEIVE_VECTOR);
        return;
    }
    l->irr[vector / 64] |= BIT(vector % 64);
    l->host->interrupt(l->context);
}

void lapic_fire(struct lapic *l, enum lapic_register lvt)
{
    uint32_t entry = lapic_lvt(l, lvt);
    if (!(entry & LVT_MASKED))
        lapic_accept(l, (uint8_t)entry);
}

bool lapic_waits(const struct lapic *l, uint8_t vector)
{
    if (vector < FIRST_LEGAL_VECTOR)
        return l->errors & ERROR_RECEIVE_VECTOR;
    return l->irr[vector / 64] & BIT(vector % 64);
}

/* ---- Interrupts go out ----------------------------------------------------------------------- */

/* SDM 3, 11.12.10.2: a cluster of 16 in the upper half. */
static uint32_t x2apic_logical_id(const struct lapic *l)
{
    return l->id >> 4 << 16 | 1u << l->id % 16;
}

/* SDM 3, 11.6.2. */
static bool xapic_addressed(const struct lapic *l, uint32_t destination)
{
    uint32_t dfr = __atomic_load_n(&l->dfr, __ATOMIC_RELAXED);
    uint32_t own = __atomic_load_n(&l->ldr, __ATOMIC_RELAXED) >> ID_SHIFT;
    if (destination > 0xff) /* an x2APIC's */
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

/* INIT, SMI and start-up to oneself do nothing. */
static void receive_own(struct lapic *l, const struct lapic_message *message)
{
    if (message->mode == LAPIC_FIXED || message->mode == LAPIC_LOWEST)
        lapic_accept(l, message->vector);
    else if (message->mode == LAPIC_NMI)
        l->host->raise_nmi(l->context);
}

/* SDM 3, 11.6.2.1 and 11.12.9: an x2APIC's broadcast is logical, too. */
static bool is_broadcast(const struct lapic *l, uint32_t destination, bool logical)
{
    return l->mode == LAPIC_X2APIC ? destination == X2APIC_BROADCAST
                                   : destination == BROADCAST && !logical;
}

static void send(struct lapic *l, uint32_t command)
{
    enum shorthand shorthand = (enum shorthand)field_get(command, ICR_SHORTHAND);
    uint32_t destination = l->mode == LAPIC_X2APIC ? l->icr_high : l->icr_high >> ID_SHIFT;
    bool logical = command & ICR_LOGICAL;
    struct lapic_message message = {
        .mode = (uint8_t)field_get(command, ICR_MODE),
        .vector = (uint8_t)field_get(command, ICR_VECTOR),
        .destination = destination,
        .logical = logical,
        .all = shorthand != TO_DESTINATION || is_broadcast(l, destination, logical),
    };
    bool fixed = message.mode == LAPIC_FIXED || message.mode == LAPIC_LOWEST;
    bool here = shorthand != TO_OTHERS && lapic_addressed(l, &message);

    if (fixed && message.vector < FIRST_LEGAL_VECTOR)
        error(l, ERROR_SEND_VECTOR);
    if (here)
        receive_own(l, &message);
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
    l->timer_end = 0;
}

void lapic_init(struct lapic *l, uint32_t id, const struct lapic_host *host, void *context)
{
    *l = (struct lapic){.host = host, .context = context, .mode = LAPIC_XAPIC, .id = id};
    lapic_reset(l);
}

bool lapic_set_mode(struct lapic *l, unsigned mode)
{
    if (mode == l->mode)
        return true;
    if (mode == LAPIC_OFF || (mode == LAPIC_XAPIC && l->mode == LAPIC_OFF))
        lapic_reset(l);
    else if (mode != LAPIC_X2APIC || l->mode != LAPIC_XAPIC)
        return false;
    l->mode = (enum lapic_mode)mode;
    l->host->interrupt(l->context);
    l->host->timer(l->context);
    return true;
}

static uint32_t word(const uint64_t set[4], unsigned index)
{
    return (uint32_t)(set[index / 2] >> (index % 2 * 32));
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
        return l->tpr;
    case LAPIC_PPR:
        return ppr(l);
    case LAPIC_EOI: /* write-only */
        return 0;
    case LAPIC_LDR:
        return l->mode == LAPIC_X2APIC ? x2apic_logical_id(l) : l->ldr;
    case LAPIC_DFR:
        return l->dfr;
    case LAPIC_SVR:
        return l->svr;
    case LAPIC_ISR ... LAPIC_ISR + 7:
        return word(l->isr, reg - LAPIC_ISR);
    case LAPIC_TMR ... LAPIC_TMR + 7:
        return 0;
    case LAPIC_IRR ... LAPIC_IRR + 7:
        return word(l->irr, reg - LAPIC_IRR);
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
        error(l, ERROR_REGISTER);
        return 0;
    }
}

/* Switched off by software, an APIC has all its LVT entries masked (SDM 3, 11.4.7.2). */
static void write_svr(struct lapic *l, uint32_t value)
{
    l->svr = value & (SVR_ENABLE | SVR_FOCUS | SVR_RESET);
    if (l->svr & SVR_ENABLE)
        return;
    for (unsigned i = 0; i < LAPIC_LVTS; i++)
        l->lvt[i] |= LVT_MASKED;
    l->host->timer(l->context);
}

static void write_lvt(struct lapic *l, unsigned reg, uint32_t value)
{
    unsigned index = reg - LAPIC_LVT_TIMER;
    value &= lvt_writable[index];
    if (!(l->svr & SVR_ENABLE))
        value |= LVT_MASKED;
    if (reg == LAPIC_LVT_TIMER)
        lapic_write_timer(l, value);
    else
        l->lvt[index] = value;
}

static void write_esr(struct lapic *l)
{
    l->esr = l->errors;
    l->errors = 0;
    l->host->timer(l->context); /* a timer with an illegal vector is heard again */
}

void lapic_write(struct lapic *l, unsigned reg, uint32_t value)
{
    lapic_tick(l);
    switch (reg) {
    case LAPIC_TPR:
        l->tpr = (uint8_t)value;
        l->host->interrupt(l->context);
        break;
    case LAPIC_EOI:
        eoi(l);
        break;
    case LAPIC_LDR:
        l->ldr = value & ~0u << ID_SHIFT;
        break;
    case LAPIC_DFR:
        l->dfr = value | (uint32_t)DFR_ONES;
        break;
    case LAPIC_SVR:
        write_svr(l, value);
        break;
    case LAPIC_ESR:
        write_esr(l);
        break;
    case LAPIC_ICR:
        l->icr = value & (uint32_t)ICR_WRITABLE;
        send(l, l->icr);
        break;
    case LAPIC_ICR_HIGH:
        l->icr_high = l->mode == LAPIC_X2APIC ? value : value & ~0u << ID_SHIFT;
        break;
    case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
        write_lvt(l, reg, value);
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
            send(l, (uint32_t)field_put(TO_SELF, ICR_SHORTHAND) | value);
        else
            error(l, ERROR_REGISTER);
        break;
    default:
        error(l, ERROR_REGISTER);
    }
}
