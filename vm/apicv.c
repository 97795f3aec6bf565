/* SPDX-License-Identifier: MIT */
#include "vm/apicv.h"

#include "arch/x86/unprivileged.h"
#include "lib/page.h"
#include "dev/lapic_page.h"
#include "vm/clock.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

#define MSR_X2APIC     0x800u /* the first register */
#define REGISTERS      0x40u
#define WRITE_REGISTER BITS(11, 4) /* of the qualification: an offset in the page */

int apicv_setup(struct vcpu *vcpu)
{
    return vmx.apicv ? vmx_apicv_init(&vcpu->vmx) : 0;
}

/* Lets the guest access the MSRs whose registers are in the page. The CPU checks the values that
 * are written to TPR and EOI as the architecture says. Reads of registers that a TD does not see
 * are #VE, and exit. */
static void pass_registers(struct vcpu *vcpu, bool on)
{
    for (unsigned reg = 0; reg < REGISTERS; reg++) {
        bool hidden = vcpu->td && (reg == LAPIC_ID || reg == LAPIC_VERSION || reg == LAPIC_LDR);
        vmx_intercept_msr(&vcpu->vmx, MSR_X2APIC + reg);
        if (on && lapic_page_answers(reg) && !hidden)
            vmx_pass_msr_reads(&vcpu->vmx, MSR_X2APIC + reg);
    }
    vcpu->vmx.apicv.self_ipi = false;
    vcpu->vmx.apicv.irr_exits = 0;
    if (!on)
        return;
    vmx_pass_msr_writes(&vcpu->vmx, MSR_X2APIC + LAPIC_TPR);
    vmx_pass_msr_writes(&vcpu->vmx, MSR_X2APIC + LAPIC_EOI);
}

void apicv_follow(struct vcpu *vcpu)
{
    struct vmx_apicv *a = &vcpu->vmx.apicv;
    bool on = a->page.v && vcpu->lapic.mode == LAPIC_X2APIC;
    if (on == a->on)
        return;
    if (on)
        lapic_to_page(&vcpu->lapic, phys_to_virt(a->page));
    else
        lapic_from_page(&vcpu->lapic);
    vmx_apicv_switch(&vcpu->vmx, on);
    pass_registers(vcpu, on);
    vcpu_update_interrupt(vcpu);
}

/* Lets the accesses exit that the CPU cannot carry out in the present state of the APIC. */
static void intercept_some(struct vcpu *vcpu, const struct lapic_virtual *status)
{
    struct vmx_apicv *a = &vcpu->vmx.apicv;
    if (status->self_ipi && !a->self_ipi)
        vmx_pass_msr_writes(&vcpu->vmx, MSR_X2APIC + LAPIC_SELF_IPI);
    else if (a->self_ipi && !status->self_ipi)
        vmx_intercept_msr(&vcpu->vmx, MSR_X2APIC + LAPIC_SELF_IPI);
    a->self_ipi = status->self_ipi;
    if (status->irr_exits == a->irr_exits)
        return;
    if (a->irr_exits)
        vmx_pass_msr_reads(&vcpu->vmx, MSR_X2APIC + a->irr_exits);
    if (status->irr_exits)
        vmx_intercept_msr(&vcpu->vmx, MSR_X2APIC + status->irr_exits);
    a->irr_exits = status->irr_exits;
}

void apicv_sync(struct vcpu *vcpu)
{
    struct vmx_apicv *a = &vcpu->vmx.apicv;
    struct lapic_virtual status;
    a->changed = false;
    if (!a->on)
        return;
    lapic_page_status(&vcpu->lapic, &status);
    bool waited = a->irr_exits && !status.irr_exits;
    vmx_apicv_write(&vcpu->vmx, status.rvi, status.svi, status.eoi_exits);
    intercept_some(vcpu, &status);
    if (waited) /* the CPU has delivered the timer's vector, so the next expiry needs an exit */
        clock_arm(vcpu, rdtsc());
}

void exit_virtualized_eoi(struct vcpu *vcpu)
{
    lapic_page_ended(&vcpu->lapic, (uint8_t)vmx_exit_qualification(&vcpu->vmx.exit));
}

/* The CPU has stored the value. It does so for a self-IPI with an illegal vector. */
void exit_apic_write(struct vcpu *vcpu)
{
    uint64_t reg = field_get(vmx_exit_qualification(&vcpu->vmx.exit), WRITE_REGISTER);
    lapic_write(&vcpu->lapic, (unsigned)reg, lapic_page_value(&vcpu->lapic, (unsigned)reg));
}
