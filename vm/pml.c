/* SPDX-License-Identifier: MIT */
/*
 * Page-modification logging. A vCPU switches its own log on when it pays the flush that the first
 * slot with logging makes all vCPUs owe (mmu/change_slots.c), and off when it finds that no slot
 * needs its entries any more. So it does not matter who requested logging, or on which CPU.
 */
#include "vm/vm.h"

#include "vm/exits.h"

int pml_setup(struct vcpu *vcpu)
{
    return mmu_config()->pml ? vmx_pml_init(&vcpu->vmx) : 0;
}

/* This pCPU has already announced that it is in the guest, so a request for logging that comes
 * later makes this vCPU exit. */
void pml_follow(struct vcpu *vcpu)
{
    if (mmu_wants_pml(&vcpu->vm->mmu) && !vcpu->vmx.pml_on)
        vmx_pml_switch(&vcpu->vmx, true);
}

/* Called before this pCPU announces that it has left the guest. A collector of the dirty log waits
 * for that, so it gets these entries. */
void pml_drain(struct vcpu *vcpu)
{
    const uint64_t *entries;
    size_t count = vmx_pml_take(&vcpu->vmx, &entries);
    mmu_pml_note(&vcpu->vm->mmu, entries, count);
    if (!mmu_wants_pml(&vcpu->vm->mmu))
        vmx_pml_switch(&vcpu->vmx, false);
}
