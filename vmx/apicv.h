/* SPDX-License-Identifier: MIT */
/*
 * APIC virtualization (SDM 3, chapter 30): the CPU reads and writes some registers of the guest's
 * x2APIC in a page, and delivers its interrupts. vm/apicv.c decides when, and derives from the page
 * (dev/lapic_page.h) what the VMCS has to contain besides.
 *
 * The VMCS must be current. It and the page move with the vCPU when another CPU runs it.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#include <stdbool.h>
#include <stdint.h>

struct vmx_vcpu;

struct vmx_apicv {
    hpa_t page;            /* the virtual-APIC page, or 0: never used */
    bool on;               /* the controls are on */
    bool changed;          /* the VMCS has to be written before the next entry */
    uint8_t irr_exits;     /* a register of IRR whose reads exit, or 0 */
    bool self_ipi;         /* writes to the self-IPI register do not exit */
    uint64_t eoi_exits[4]; /* the EOI-exit bitmap in the VMCS */
};

#define SECONDARY_APICV \
    (SECONDARY_VIRTUALIZE_X2APIC | SECONDARY_APIC_REGISTERS | SECONDARY_VIRTUAL_INTERRUPT_DELIVERY)

/* Returns true if this CPU has all controls that are needed. */
bool vmx_apicv_possible(void);

/* Allocates the page, or returns -ENOMEM after a message. vmx_vcpu_destroy() frees it. */
int vmx_apicv_init(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Switches all controls on or off. Switching on leaves no vector in the interrupt status and the
 * EOI-exit bitmap: the caller sets vcpu->apicv.changed. */
void vmx_apicv_switch(struct vmx_vcpu *vcpu, bool on);

/* Writes the guest interrupt status, and the parts of the EOI-exit bitmap that differ from those in
 * the VMCS. */
void vmx_apicv_write(struct vmx_vcpu *vcpu, uint8_t rvi, uint8_t svi, const uint64_t eoi_exits[4]);
