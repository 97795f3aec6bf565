/*
 * The local APIC of one vCPU (SDM 3, chapter 11): interrupts come in, from the guest's own ICR, the
 * timer or outside, wait in IRR until their priority lets them through, and are in service in ISR
 * until the guest writes EOI.
 *
 * This is the register file. It knows registers by number, which is the x2APIC's MSR number less
 * 0x800 and the xAPIC page's offset over 16, and nothing of how the guest reaches them: two front
 * ends, the page (dev/lapic_mmio.c) and the MSRs (dev/lapic_msr.c), turn the accesses of
 * their mode into lapic_read() and lapic_write().
 *
 * The timer counts ticks of the TSC, divided by the divide configuration. There is no clockwork:
 * what the timer has done is worked out from the TSC when someone looks, and lapic_deadline() says
 * when someone must.
 *
 * There is no level-triggered source, so TMR reads 0; LINT0, LINT1, thermal and performance
 * entries hold what is written and never fire. Only the vCPU's own pCPU calls; what others send,
 * the caller keeps until then.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum lapic_register {
    LAPIC_ID = 0x02,
    LAPIC_VERSION = 0x03,
    LAPIC_TPR = 0x08,
    LAPIC_PPR = 0x0a,
    LAPIC_EOI = 0x0b,
    LAPIC_LDR = 0x0d,
    LAPIC_DFR = 0x0e,
    LAPIC_SVR = 0x0f,
    LAPIC_ISR = 0x10, /* 8 registers each */
    LAPIC_TMR = 0x18,
    LAPIC_IRR = 0x20,
    LAPIC_ESR = 0x28,
    LAPIC_ICR = 0x30,
    LAPIC_ICR_HIGH = 0x31,
    LAPIC_LVT_TIMER = 0x32,
    LAPIC_LVT_THERMAL = 0x33,
    LAPIC_LVT_PERFORMANCE = 0x34,
    LAPIC_LVT_LINT0 = 0x35,
    LAPIC_LVT_LINT1 = 0x36,
    LAPIC_LVT_ERROR = 0x37,
    LAPIC_INITIAL_COUNT = 0x38,
    LAPIC_CURRENT_COUNT = 0x39,
    LAPIC_DIVIDE = 0x3e,
    LAPIC_SELF_IPI = 0x3f, /* x2APIC only */
};
#define LAPIC_LVTS (LAPIC_LVT_ERROR - LAPIC_LVT_TIMER + 1)

/* Bits 11:10 of IA32_APIC_BASE, enable and extended mode (SDM 3, table 11-5). */
enum lapic_mode {
    LAPIC_OFF = 0,
    LAPIC_XAPIC = 2,
    LAPIC_X2APIC = 3,
};

#define LAPIC_NEVER (~0ull)

/* What the ICR sends to other APICs (SDM 3, 11.6.1). */
enum lapic_delivery {
    LAPIC_FIXED = 0,
    LAPIC_LOWEST = 1,
    LAPIC_NMI = 4,
    LAPIC_INIT = 5,
    LAPIC_STARTUP = 6,
};

struct lapic_message {
    uint8_t mode; /* enum lapic_delivery, or one that nobody takes */
    uint8_t vector;
    bool logical;
    bool all; /* by shorthand or broadcast: whatever the destination says */
    uint32_t destination;
};

/* What the register file asks of its surroundings; given to lapic_init(). */
struct lapic_host {
    uint64_t (*now)(void *context);   /* the TSC */
    void (*interrupt)(void *context); /* lapic_pending() may have changed */
    void (*timer)(void *context);     /* lapic_deadline() may have changed */
    void (*raise_nmi)(void *context); /* an NMI for the vCPU */
    /* A message for others than the sender; NULL: there are none. */
    void (*send)(void *context, const struct lapic_message *message);
};

struct lapic {
    const struct lapic_host *host;
    void *context;
    enum lapic_mode mode; /* off: the rest is as after reset */
    uint32_t id;

    uint8_t tpr;
    uint32_t ldr, dfr; /* of the xAPIC alone */
    uint32_t svr, divide, initial;
    uint32_t icr, icr_high;
    uint32_t lvt[LAPIC_LVTS];
    uint32_t esr;    /* what the guest reads */
    uint32_t errors; /* since its last write to ESR */
    uint64_t irr[4], isr[4];
    uint64_t timer_end; /* TSC of the next expiry, 0: stopped */
};

/* The state after reset: an xAPIC, enabled. */
void lapic_init(struct lapic *lapic, uint32_t id, const struct lapic_host *host, void *context);

/* An INIT: all registers as after reset, in the same mode (SDM 3, 11.4.7.3 and 11.12.5.1). */
void lapic_reset(struct lapic *lapic);

/* Bits 11:10 of IA32_APIC_BASE are written. An APIC that was off comes back as after reset; the
 * registers stay when an xAPIC becomes an x2APIC. False, and nothing changes: there is no such
 * way (SDM 3, figure 11-27). */
bool lapic_set_mode(struct lapic *lapic, unsigned mode) MUST_CHECK;

/* A register that does not exist in this mode reads 0, ignores writes, and is an error for ESR. */
uint32_t lapic_read(struct lapic *lapic, unsigned reg);
void lapic_write(struct lapic *lapic, unsigned reg, uint32_t value);

/* IA32_TSC_DEADLINE. */
uint64_t lapic_tsc_deadline(struct lapic *lapic);
void lapic_set_tsc_deadline(struct lapic *lapic, uint64_t value);

/* True if fixed interrupts are accepted: on, by software too. */
bool lapic_accepts(const struct lapic *lapic);

/* An edge-triggered fixed interrupt arrives. Dropped unless lapic_accepts(). */
void lapic_accept(struct lapic *lapic, uint8_t vector);

/* Is a message for this APIC? Callable from any CPU. */
bool lapic_addressed(const struct lapic *lapic, const struct lapic_message *message);

/* The vector that the CPU would get now, or -1. */
int lapic_pending(const struct lapic *lapic);

/* The CPU takes that interrupt: it is in service now. Returns its vector; lapic_pending() has
 * changed. */
uint8_t lapic_acknowledge(struct lapic *lapic);

/* The TSC value at which lapic_tick() will have something to do, or LAPIC_NEVER. */
uint64_t lapic_deadline(const struct lapic *lapic);

/* Brings the timer up to now. */
void lapic_tick(struct lapic *lapic);
