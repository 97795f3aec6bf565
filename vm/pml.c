/* SPDX-License-Identifier: MIT */
/*
 * Page-modification logging: each vCPU switches its own log on, when it pays the flush that the
 * first slot that logs makes everybody owe (mmu/memslot.c), and off when it finds that nobody wants
 * its entries any more. So it does not matter who asked for the log, or on which CPU.
 */
#include "vm/vm.h"

#include "vm/exits.h"

int pml_setup(struct vcpu *vcpu)
{
    return mmu_config()->pml ? vmx_pml_init(&vcpu->vmx) : 0;
}

/* "In the guest" is announced already: a log asked for from now on makes this vCPU leave. */
void pml_follow(struct vcpu *vcpu)
{
    if (mmu_wants_pml(&vcpu->vm->mmu) && !vcpu->vmx.pml_on)
        vmx_pml_switch(&vcpu->vmx, true);
}

/* Who collects the dirty log waits until "in the guest" is taken back. */
void pml_drain(struct vcpu *vcpu)
{
    const uint64_t *entries;
    size_t count = vmx_pml_take(&vcpu->vmx, &entries);
    mmu_pml_note(&vcpu->vm->mmu, entries, count);
    if (!mmu_wants_pml(&vcpu->vm->mmu))
        vmx_pml_switch(&vcpu->vmx, false);
}
