/* The virtualization exception; see the header. */
#include "guest/ve.h"

#include "guest/abi.h"
#include "guest/vm.h"
#include "lib/page.h"
#include "mmu/spte.h"
#include "vmx/vmcs.h"

/* The area as the CPU writes it (SDM 3, table 26-1). */
struct ve_area {
    uint32_t reason;
    uint32_t busy; /* all ones from the delivery on, until the guest clears it */
    uint64_t qualification;
    uint64_t linear_address;
    uint64_t physical_address;
    uint16_t eptp_index;
};
_Static_assert(offsetof(struct ve_area, busy) == VE_BUSY &&
                   offsetof(struct ve_area, qualification) == VE_QUALIFICATION &&
                   offsetof(struct ve_area, linear_address) == VE_LINEAR_ADDRESS &&
                   offsetof(struct ve_area, physical_address) == VE_PHYSICAL_ADDRESS &&
                   offsetof(struct ve_area, eptp_index) == VE_EPTP_INDEX,
               "what the guest is told");

int ve_setup(struct vcpu *vcpu, const struct options *options)
{
    struct mmu *mmu = &vcpu->vm->mmu;
    const uint64_t zero = 0;
    if (!mmu_has_ve(mmu))
        return 0;
    int error = mmu_slot_add(mmu, GUEST_VE_SLOT, GPA(VE_AREA_BASE), 1, (uint32_t)MEMSLOT_PINNED);
    if (!error)
        error = guest_load(mmu, GPA(VE_AREA_BASE), &zero, sizeof(zero)); /* now it has a page */
    if (error)
        return error;
    const void *page = guest_page(mmu, GPA(VE_AREA_BASE), ACCESS_READ);
    hpa_t area = virt_to_phys(page);
    vcpu->ve_area = phys_to_virt(area);
    vcpu->ve_by_cpu = options->ve == VE_AUTO && vmx_ve_enable(area);
    return 0;
}

/* Would the CPU convert the access if it were made again? */
static bool cpu_converts(struct vcpu *vcpu, gpa_t gpa)
{
    unsigned level;
    return vcpu->ve_by_cpu && spte_is_ve_possible(mmu_spte(&vcpu->vm->mmu, gpa, &level));
}

void ve_take(struct vcpu *vcpu)
{
    struct ve_area *area = vcpu->ve_area;
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    gpa_t gpa = vmx_exit_gpa(exit);

    if (exit->idt_vectoring & EVENT_INFO_VALID) {
        vm_end(vcpu->vm, VM_ENDED_MMIO_DURING_DELIVERY,
               "an event's delivery touched MMIO, where no #VE can come: GPA %#lx, RIP %#lx; keep "
               "IDT, GDT, TSS and stacks in RAM",
               gpa.v, cpu_reg(&vcpu->vmx.regs, REG_RIP));
        return;
    }
    if (!(cpu_reg(&vcpu->vmx.regs, REG_CR0) & CR0_PE)) {
        vm_end(vcpu->vm, VM_ENDED_MEMORY_FAULT,
               "MMIO in real mode, which takes no #VE: GPA %#lx, RIP %#lx; touch devices in "
               "protected mode",
               gpa.v, cpu_reg(&vcpu->vmx.regs, REG_RIP));
        return;
    }
    if (__atomic_load_n(&area->busy, __ATOMIC_ACQUIRE)) {
        vmx_raise(&vcpu->vmx, VECTOR_DF, 0);
        return;
    }
    if (cpu_converts(vcpu, gpa))
        return;
    uint64_t qualification = vmx_exit_qualification(exit);
    area->reason = REASON_EPT_VIOLATION;
    area->qualification = qualification;
    area->linear_address =
        qualification & QUALIFICATION_GLA_VALID ? vmread(VMCS_GUEST_LINEAR_ADDRESS) : 0;
    area->physical_address = gpa.v;
    area->eptp_index = 0;
    __atomic_store_n(&area->busy, ~0u, __ATOMIC_RELEASE);
    vmx_raise(&vcpu->vmx, VECTOR_VE, 0);
}
