/* SPDX-License-Identifier: MIT */
/* The rules of #VE; see vm/ve_rules.h. The guest can write to the area at any time. Pure. */
#include "vm/ve_rules.h"

#include "vmx/vmx.h"

enum ve_outcome ve_decide(const struct ve_area *area, const struct ve_access *access)
{
    if (access->delivering)
        return VE_END_DELIVERY;
    if (!access->protected_mode)
        return VE_END_REAL_MODE;
    if (__atomic_load_n(&area->busy, __ATOMIC_ACQUIRE))
        return VE_DOUBLE_FAULT;
    return access->by_cpu ? VE_BY_CPU : VE_BY_US;
}

void ve_fill(struct ve_area *area, uint64_t qualification, uint64_t linear_address, gpa_t gpa)
{
    area->reason = REASON_EPT_VIOLATION;
    area->qualification = qualification;
    area->linear_address = qualification & QUALIFICATION_GLA_VALID ? linear_address : 0;
    area->physical_address = gpa.v;
    area->eptp_index = 0;
    __atomic_store_n(&area->busy, ~0u, __ATOMIC_RELEASE);
}
