/* SPDX-License-Identifier: MIT */
/*
 * The virtual-APIC page: how an x2APIC is shared with a CPU that has APIC-register virtualization
 * and virtual-interrupt delivery (SDM 3, chapter 30).
 *
 * There is one register file, and at any time each of its registers has one place. While an APIC
 * has a page, its TPR, IRR, ISR and TMR are in the page, in which the guest reads and writes them
 * without an exit: the CPU moves a vector from IRR to ISR when it delivers it, and clears the ISR
 * bit at an EOI. All other registers stay in struct lapic, and the guest's accesses to them exit,
 * except reads of those that never change, of which the page has a copy.
 *
 * What the CPU has to know besides the page is derived from it (struct lapic_virtual). It stays
 * valid while the guest runs, because the CPU updates both. After every other change the host's
 * interrupt() is called, and the owner has to tell the CPU the new values before the next entry.
 *
 * Pure. Called by vm/apicv.c on the pCPU that runs the vCPU.
 */
#pragma once

#include "dev/lapic.h"

struct lapic_virtual {
    uint8_t rvi, svi;      /* requesting and servicing virtual interrupt: the highest of IRR and
                              ISR; 0 if there is none (SDM 3, 25.4.2) */
    bool self_ipi;         /* the CPU may carry out the guest's writes to the self-IPI register */
    uint8_t irr_exits;     /* the register of IRR whose reads exit; 0: none */
    uint64_t eoi_exits[4]; /* the vectors whose EOI exits */
};

/* Moves the registers of an APIC in x2APIC mode to the page, which has 4096 bytes, and back. A mode
 * change that disables the APIC may come before or after the way back. */
void lapic_to_page(struct lapic *lapic, uint32_t *page);
void lapic_from_page(struct lapic *lapic);

/* Whether the guest's reads of register `reg` may be answered from the page. */
bool lapic_page_answers(unsigned reg);

/* The value that the CPU has stored in a register of the page. */
uint32_t lapic_page_value(const struct lapic *lapic, unsigned reg);

/* Derives what the CPU has to know of an APIC with a page. */
void lapic_page_status(const struct lapic *lapic, struct lapic_virtual *status);

/* The timer's vector is pending, so that its expiries have no effect (lapic_deadline()) until the
 * CPU delivers the vector. That does not exit, so what shows that the timer has expired again has
 * to: a read of the vector's IRR bit, and the vector's EOI, before which it is not delivered. */
bool lapic_timer_waits(const struct lapic *lapic);

/* Completes the EOI of a vector of eoi_exits, whose ISR bit the CPU has cleared. */
void lapic_page_ended(struct lapic *lapic, uint8_t vector);
