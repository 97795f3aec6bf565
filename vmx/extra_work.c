/* SPDX-License-Identifier: MIT */
/* Whether each exit of a vCPU begins with extra work: all reasons for that in one place. */
#include "arch/x86/mitigate.h"
#include "vmx/vmx.h"

void vmx_update_extra_work(struct vmx_vcpu *vcpu)
{
    vcpu->extra_work = vmx.poison || vcpu->pml_on || mitigate_actions() & DO_IBRS_AT_EXIT ||
                       attention_requested(&vcpu->attention, ATTENTION_PASS);
}
