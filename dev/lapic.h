/* SPDX-License-Identifier: MIT */
/*
 * The local APIC of one vCPU (SDM 3, chapter 11). An interrupt from the guest's own ICR, the timer
 * or another CPU is pending in IRR until its priority allows delivery, and in service in ISR until
 * the guest writes EOI.
 *
 * This is the register file. A register's number is the x2APIC MSR number minus 0x800, which equals
 * the offset in the xAPIC page divided by 16. Two front ends turn the guest's accesses into
 * lapic_read() and lapic_write(): the xAPIC page (dev/lapic_mmio.c) and the MSRs (dev/lapic_msr.c).
 *
 * The timer counts TSC ticks, or units of some of them, divided by the divide configuration. It
 * needs no periodic callback: lapic_tick() computes from the TSC what the timer has done since the
 * last call, and lapic_deadline() says when lapic_tick() has to be called next.
 *
 * Level-triggered interrupts come from an I/O APIC (dev/ioapic.h) only, and their EOI is passed on
 * to it. LINT0 is connected to an 8259's output in some VMs (vm/legacy.h). The LINT1, thermal and
 * performance entries store what is written and never fire. Functions are called on the pCPU that
 * runs the vCPU, unless their comment says otherwise; vm/ipi.h keeps messages from other vCPUs
 * until then. While the CPU itself delivers the interrupts, it owns some of the registers
 * (dev/lapic_page.h); all functions work in both states.
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
    LAPIC_ISR = 0x10, /* ISR, TMR and IRR are 8 registers each */
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

/* Delivery modes of the messages that the ICR and I/O APICs send (SDM 3, 11.6.1). */
enum lapic_delivery {
    LAPIC_FIXED = 0,
    LAPIC_LOWEST = 1,
    LAPIC_NMI = 4,
    LAPIC_INIT = 5,
    LAPIC_STARTUP = 6,
    LAPIC_EXTINT = 7, /* the CPU fetches the vector from an 8259 */
};

struct lapic_message {
    uint8_t mode; /* enum lapic_delivery, or a mode that every receiver ignores */
    uint8_t vector;
    bool logical;
    bool all; /* sent by shorthand or broadcast; `destination` and `logical` are ignored */
    uint32_t destination;
};

/* Callbacks of the register file, passed to lapic_init(). */
struct lapic_host {
    uint64_t (*now)(void *context);   /* returns the TSC */
    void (*interrupt)(void *context); /* lapic_pending() may have changed */
    void (*timer)(void *context);     /* lapic_deadline() may have changed */
    void (*raise_nmi)(void *context); /* the vCPU sent an NMI to itself */
    /* The guest ended a level-triggered interrupt with this vector. NULL if lapic_accept_level() is
     * never called. */
    void (*end_level)(void *context, uint8_t vector);
    /* Messages that this APIC did not accept may be accepted when they are sent again. NULL if
     * nobody sends a message again. */
    void (*reachable)(void *context);
    /* lapic_passes_lint0() may have changed. NULL if nothing is connected to LINT0. */
    void (*lint0)(void *context);
    /* Sends a message to the other vCPUs; NULL if the VM has only one. */
    void (*send)(void *context, const struct lapic_message *message);
};

struct lapic {
    const struct lapic_host *host;
    void *context;
    enum lapic_mode mode; /* in LAPIC_OFF, all other registers have their reset values */
    uint32_t id;

    uint8_t tpr;
    uint32_t ldr, dfr; /* used in xAPIC mode only */
    uint32_t svr, divide, initial;
    uint32_t icr, icr_high;
    uint32_t lvt[LAPIC_LVTS];
    uint32_t esr;    /* the value that the guest reads */
    uint32_t errors; /* errors since the guest's last write to ESR */
    uint64_t irr[4], isr[4], tmr[4];
    uint32_t *page;      /* not NULL: it holds TPR, IRR, ISR and TMR, and those above are unused */
    uint64_t timer_end;  /* TSC of the next expiry, 0 while the timer is stopped */
    uint32_t timer_unit; /* TSC ticks of the clock that the timer divides; not changed by an INIT */
};

/* Initializes the APIC to its state after power-up: enabled, in xAPIC mode. */
void lapic_init(struct lapic *lapic, uint32_t id, const struct lapic_host *host, void *context);

/* Carries out an INIT: resets all registers and keeps the mode (SDM 3, 11.4.7.3 and 11.12.5.1). */
void lapic_reset(struct lapic *lapic);

/* Whether software may write `mode` to bits 11:10 of IA32_APIC_BASE now (SDM 3, figure 11-27). */
bool lapic_mode_is_legal(const struct lapic *lapic, unsigned mode);

/* Handles a write to bits 11:10 of IA32_APIC_BASE. Enabling an APIC that was off resets its
 * registers; they are kept when an xAPIC becomes an x2APIC. Returns false, and changes nothing, if
 * the transition is illegal. */
bool lapic_set_mode(struct lapic *lapic, unsigned mode) MUST_CHECK;

/* Read and write a register. A register that does not exist in the current mode reads 0 and ignores
 * writes; the access is recorded as an error for ESR. */
uint32_t lapic_read(struct lapic *lapic, unsigned reg);
void lapic_write(struct lapic *lapic, unsigned reg, uint32_t value);

/* Read and write IA32_TSC_DEADLINE. Outside of TSC-deadline mode it reads 0 and ignores writes. */
uint64_t lapic_tsc_deadline(struct lapic *lapic);
void lapic_set_tsc_deadline(struct lapic *lapic, uint64_t value);

/* Whether the APIC accepts fixed interrupts: it is enabled in IA32_APIC_BASE and in SVR. */
bool lapic_accepts(const struct lapic *lapic);

/* Accepts an edge-triggered fixed interrupt. Drops it if lapic_accepts() returns false. */
void lapic_accept(struct lapic *lapic, uint8_t vector);

/* Accepts a level-triggered fixed interrupt, whose EOI calls end_level(). Drops it if
 * lapic_accepts() returns false. */
void lapic_accept_level(struct lapic *lapic, uint8_t vector);

/* Whether the level of LINT0 reaches the CPU as its INTR input: the entry of LINT0 says so
 * (ExtINT), or the APIC is disabled in IA32_APIC_BASE (SDM 3, 11.4.3 and 11.5.1). */
bool lapic_passes_lint0(const struct lapic *lapic);

/* LINT0 has risen: fires its entry if its delivery mode is fixed or NMI. The entry is treated as
 * edge-triggered. */
void lapic_raise_lint0(struct lapic *lapic);

/* Whether this APIC is among the destinations of a message. May be called on any CPU. */
bool lapic_addressed(const struct lapic *lapic, const struct lapic_message *message);

/* The pending vector that can be delivered now (its priority is above PPR), or -1. */
int lapic_pending(const struct lapic *lapic);

/* Moves the interrupt that lapic_pending() names from IRR to ISR and returns its vector. */
uint8_t lapic_acknowledge(struct lapic *lapic);

/* The TSC value at which lapic_tick() will have something to do, or LAPIC_NEVER. */
uint64_t lapic_deadline(const struct lapic *lapic);

/* Brings the timer up to date with the TSC. */
void lapic_tick(struct lapic *lapic);
