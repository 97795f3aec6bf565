/* SPDX-License-Identifier: MIT */
/*
 * Interrupts by the CPU: while a vCPU's APIC is in x2APIC mode and the machine has `apicv=1`, the
 * CPU itself delivers the APIC's interrupts, and most accesses to it do not exit. In all other
 * cases dev/lapic.h is the APIC, and vmx/inject.c delivers.
 *
 * The registers that the CPU owns are in the virtual-APIC page only (dev/lapic_page.h). What the
 * VMCS holds besides is derived from the page whenever something but the CPU has changed it.
 *
 * No host interrupt may be unmasked while a guest runs, which is so for other reasons, too: the
 * hypervisor polls its devices, and kicks by NMI. Some emulators would take such an interrupt for
 * the pending virtual one (docs/EMULATOR-GAPS.md).
 *
 * Called on the pCPU that runs the vCPU, with its VMCS current.
 */
#pragma once

#include "lib/compiler.h"
#include "dev/lapic_page.h"
#include "vm/vcpu.h"

/* Called at creation. Returns 0, or -ENOMEM after a message. */
int apicv_setup(struct vcpu *vcpu) MUST_CHECK;

/* Called after the APIC's mode may have changed: gives the APIC to the CPU, or takes it back. */
void apicv_follow(struct vcpu *vcpu);

/* Called by vcpu_update_interrupt(), after something but the CPU has changed the APIC: apicv_sync()
 * follows before the next entry. */
static inline void apicv_changed(struct vcpu *vcpu)
{
    vcpu->vmx.apicv.changed = true;
    attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
}
void apicv_sync(struct vcpu *vcpu);

/* Called after the timer was armed: if its expiry waits for the CPU to deliver its vector, the EOI
 * of that vector has to exit. */
static inline void apicv_watch_timer(struct vcpu *vcpu)
{
    if (unlikely(vcpu->vmx.apicv.on) && lapic_timer_waits(&vcpu->lapic))
        apicv_changed(vcpu);
}

/* The exits: the EOI of a vector of the EOI-exit bitmap, and a write that the CPU does not complete
 * alone. Both come after the instruction. */
void exit_virtualized_eoi(struct vcpu *vcpu) COLD;
void exit_apic_write(struct vcpu *vcpu) COLD;
