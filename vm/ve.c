/* SPDX-License-Identifier: MIT */
/* Delivers virtualization exceptions; see vm/ve.h. */
#include "vm/ve.h"

#include "arch/x86/reg_bits.h"
#include "vm/ve_rules.h"
#include "vm/options.h"
#include "vm/vm.h"
#include "lib/page.h"
#include "mmu/spte.h"
#include "vmx/vmcs.h"

/* The first vCPU adds the slot with the pages of all vCPUs. */
int ve_setup(struct vcpu *vcpu, const struct options *options)
{
    struct mmu *mmu = &vcpu->vm->mmu;
    const gpa_t gpa = GPA(VE_AREA_BASE + vcpu->index * PAGE_SIZE);
    const uint64_t zero = 0;
    int error = 0;
    if (!mmu_has_ve(mmu) || vcpu->vm->td) /* a TD's area is no memory of its own */
        return 0;
    if (!vcpu->index)
        error =
            mmu_slot_add(mmu, GUEST_VE_SLOT, gpa, vcpu->vm->words.vcpus, (uint32_t)MEMSLOT_PINNED);
    if (!error)
        error = guest_load(mmu, gpa, &zero, sizeof(zero)); /* allocates the page */
    if (error)
        return error;
    hpa_t area = virt_to_phys(guest_page(mmu, gpa, ACCESS_READ));
    vcpu->ve_area = phys_to_virt(area);
    vcpu->ve_by_cpu = options->ve == VE_AUTO && vmx_ve_enable(area);
    return 0;
}

/* Would the CPU convert the EPT violation to #VE if the access were repeated? */
static bool cpu_converts(struct vcpu *vcpu, gpa_t gpa)
{
    unsigned level;
    return vcpu->ve_by_cpu && spte_is_ve_possible(mmu_spte(&vcpu->vm->mmu, gpa, &level));
}

void ve_take(struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    gpa_t gpa = vmx_exit_gpa(exit);
    const struct ve_access access = {
        .delivering = exit->idt_vectoring & EVENT_INFO_VALID,
        .protected_mode = cpu_reg(&vcpu->vmx.regs, REG_CR0) & CR0_PE,
        .by_cpu = cpu_converts(vcpu, gpa),
    };
    switch (ve_decide(vcpu->ve_area, &access)) {
    case VE_END_DELIVERY:
        vcpu_end(vcpu, VM_ENDED_MMIO_DURING_DELIVERY,
                 "an event's delivery touched MMIO, where #VE cannot be delivered: GPA %#lx, "
                 "RIP %#lx; keep IDT, GDT, TSS and stacks in RAM",
                 gpa.v, cpu_reg(&vcpu->vmx.regs, REG_RIP));
        break;
    case VE_END_REAL_MODE:
        vcpu_end(vcpu, VM_ENDED_MEMORY_FAULT,
                 "MMIO in real mode, which has no #VE: GPA %#lx, RIP %#lx; access devices in "
                 "protected mode",
                 gpa.v, cpu_reg(&vcpu->vmx.regs, REG_RIP));
        break;
    case VE_DOUBLE_FAULT:
        vmx_raise(&vcpu->vmx, VECTOR_DF, 0);
        break;
    case VE_BY_CPU:
        break;
    case VE_BY_US:
        ve_fill(vcpu->ve_area, vmx_exit_qualification(exit), vmread(VMCS_GUEST_LINEAR_ADDRESS),
                gpa);
        vmx_raise(&vcpu->vmx, VECTOR_VE, 0);
        break;
    }
}
