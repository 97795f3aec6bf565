/* SPDX-License-Identifier: MIT */
/* See tdx/ve.h. Pure. */
#include "tdx/ve.h"

#include "vmx/errors.h"

bool td_ve_fill(struct td_vcpu *vcpu, const struct td_ve *ve)
{
    struct ve_area *area = &vcpu->ve;
    if (td_ve_is_valid(vcpu))
        return false;
    area->reason = ve->reason;
    area->qualification = ve->qualification;
    area->linear_address = ve->gla;
    area->physical_address = ve->gpa;
    area->eptp_index = 0;
    vcpu->ve_length = ve->length;
    vcpu->ve_instruction = ve->instruction;
    __atomic_store_n(&area->busy, ~0u, __ATOMIC_RELEASE);
    return true;
}

/* The CPU does not write the length and the instruction information, so those of an earlier #VE may
 * be there. */
bool td_ve_take(struct td_vcpu *vcpu, struct td_ve *ve)
{
    struct ve_area *area = &vcpu->ve;
    if (!td_ve_is_valid(vcpu))
        return false;
    const bool violation = area->reason == REASON_EPT_VIOLATION;
    *ve = (struct td_ve){.reason = area->reason,
                         .qualification = area->qualification,
                         .gla = area->linear_address,
                         .gpa = area->physical_address,
                         .length = violation ? 0 : vcpu->ve_length,
                         .instruction = violation ? 0 : vcpu->ve_instruction};
    __atomic_store_n(&area->busy, 0, __ATOMIC_RELEASE);
    return true;
}
