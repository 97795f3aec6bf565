/*
 * The local APIC of one vCPU (SDM 3, chapter 11): interrupts come in, from the guest's own ICR, the
 * timer or outside, wait in IRR until their priority lets them through, and are in service in ISR
 * until the guest writes EOI.
 *
 * This is the register file. It knows registers by number, which is the x2APIC's MSR number less
 * 0x800 and the xAPIC page's offset over 16, and nothing of how the guest reaches them: a front
 * end (mmio/dev/lapic_mmio.c) turns its accesses into lapic_read() and lapic_write().
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
};
#define LAPIC_LVTS (LAPIC_LVT_ERROR - LAPIC_LVT_TIMER + 1)

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
    uint8_t destination;
    bool logical;
    bool all; /* whatever the destination says */
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
    bool enabled; /* IA32_APIC_BASE.EN; if not, the rest is as after reset */
    uint8_t id;

    uint8_t tpr;
    uint32_t ldr, dfr, svr, divide, initial;
    uint32_t icr, icr_high;
    uint32_t lvt[LAPIC_LVTS];
    uint32_t esr;    /* what the guest reads */
    uint32_t errors; /* since its last write to ESR */
    uint64_t irr[4], isr[4];
    uint64_t timer_end; /* TSC of the next expiry, 0: stopped */
};

/* The state after reset, enabled. */
void lapic_init(struct lapic *lapic, uint8_t id, const struct lapic_host *host, void *context);

/* IA32_APIC_BASE.EN was switched: an APIC that was off comes back as after reset. */
void lapic_enable(struct lapic *lapic, bool on);

/* A register that does not exist reads 0, ignores writes, and is an error for ESR. */
uint32_t lapic_read(struct lapic *lapic, unsigned reg);
void lapic_write(struct lapic *lapic, unsigned reg, uint32_t value);

/* IA32_TSC_DEADLINE. */
uint64_t lapic_tsc_deadline(struct lapic *lapic);
void lapic_set_tsc_deadline(struct lapic *lapic, uint64_t value);

/* True if fixed interrupts are accepted: enabled, by software too. */
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
