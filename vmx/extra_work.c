/* SPDX-License-Identifier: MIT */
/* Decides whether each exit of a vCPU begins with extra work. All reasons for extra work are in
 * this file. */
#include "arch/x86/mitigate.h"
#include "vmx/vmx.h"

void vmx_update_extra_work(struct vmx_vcpu *vcpu)
{
    bool observed = vcpu->watched || vcpu->exits_traced;
    vcpu->extra_work = vmx.poison || vcpu->pml_on || vcpu->td || observed ||
                       mitigate_actions() & DO_IBRS_AT_EXIT ||
                       attention_requested(&vcpu->attention, ATTENTION_PASS | ATTENTION_SHUTDOWN);
}
