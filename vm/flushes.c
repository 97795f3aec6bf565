/* SPDX-License-Identifier: MIT */
/* Exits of INVLPG and INVPCID, which occur with gva_cache=exits. The handlers drop cached walks and
 * then flush the TLB. */
#include "vm/vm.h"
#include "mmio/invpcid.h"
#include "mmu/tlb.h"
#include "vm/exits.h"
#include "vmx/vmcs.h"

static void flush_page(struct vcpu *vcpu, gva_t address)
{
    mmio_cache_clear_gva_page(&vcpu->mmio.cache, address);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_ADDRESS, vcpu->vpid, address, INVVPID_GUEST);
}

static void flush_all(struct vcpu *vcpu)
{
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_GUEST);
}

void exit_invlpg(struct vcpu *vcpu)
{
    flush_page(vcpu, GVA(vmx_exit_qualification(&vcpu->vmx.exit)));
    vmx_skip_instruction(&vcpu->vmx);
}

/* INVPCID of one address in one PCID becomes INVVPID of the address, which covers it in all PCIDs.
 * The other types flush everything. */
void exit_invpcid(struct vcpu *vcpu)
{
    struct invpcid invpcid;
    enum mmio_outcome outcome = mmio_invpcid(&vcpu->mmio, vmx_exit_info(&vcpu->vmx.exit),
                                             vmx_exit_qualification(&vcpu->vmx.exit), &invpcid);
    if (outcome != MMIO_DONE) {
        mmio_act_on(vcpu, outcome);
        return;
    }
    if (invpcid.type == INVPCID_ADDRESS)
        flush_page(vcpu, GVA(invpcid.address));
    else
        flush_all(vcpu);
    vmx_skip_instruction(&vcpu->vmx);
    if (unlikely(vcpu->mmio.breakpoints_met))
        vmx_raise_trap(vcpu->mmio.breakpoints_met);
}
