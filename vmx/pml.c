/* SPDX-License-Identifier: MIT */
/* Page-modification logging of a vCPU; see vmx/vmx.h. mmu/ interprets the log. */
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define ENTRIES 512u /* the CPU fills the log from the last entry downwards */

static void pml_empty_log(void)
{
    vmwrite(VMCS_PML_INDEX, ENTRIES - 1);
}

int vmx_pml_init(struct vmx_vcpu *vcpu)
{
    hpa_t page = page_alloc(0);
    if (page_is_none(page)) {
        log_error("no page left for a vCPU's page-modification log");
        return -ENOMEM;
    }
    vcpu->pml = page;
    vmwrite(VMCS_PML_ADDRESS, page.v);
    return 0;
}

void vmx_pml_switch(struct vmx_vcpu *vcpu, bool on)
{
    uint64_t controls = vmread(VMCS_SECONDARY_CONTROLS) & ~SECONDARY_PML;
    pml_empty_log();
    vmwrite(VMCS_SECONDARY_CONTROLS, on ? controls | SECONDARY_PML : controls);
    vcpu->pml_on = on;
    vmx_update_extra_work(vcpu);
}

size_t vmx_pml_take(struct vmx_vcpu *vcpu, const uint64_t **entries)
{
    uint16_t next = (uint16_t)vmread(VMCS_PML_INDEX); /* 0xffff if the log is full */
    uint16_t first = (uint16_t)(next + 1);
    *entries = (const uint64_t *)phys_to_virt(vcpu->pml) + first;
    if (first < ENTRIES)
        pml_empty_log();
    return ENTRIES - first;
}
