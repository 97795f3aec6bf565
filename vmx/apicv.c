/* SPDX-License-Identifier: MIT */
/* The controls and fields of APIC virtualization; see the header. */
#include "vmx/apicv.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define CR8_EXITING (PRIMARY_CR8_LOAD_EXITING | PRIMARY_CR8_STORE_EXITING)

bool vmx_apicv_possible(void)
{
    return vmx_has(&vmx.controls, CONTROL_PRIMARY, PRIMARY_TPR_SHADOW) &&
           vmx_has(&vmx.controls, CONTROL_SECONDARY, SECONDARY_APICV);
}

int vmx_apicv_init(struct vmx_vcpu *vcpu)
{
    hpa_t page = page_alloc(0);
    if (page_is_none(page)) {
        log_error("no page left for a vCPU's virtual APIC");
        return -ENOMEM;
    }
    vcpu->apicv.page = page;
    vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, page.v);
    return 0;
}

/* With the TPR shadow, MOV to and from CR8 access the page, and need not exit. The TPR threshold is
 * not used with virtual-interrupt delivery (SDM 3, 30.1.2). */
void vmx_apicv_switch(struct vmx_vcpu *vcpu, bool on)
{
    uint64_t primary = vmread(VMCS_PRIMARY_CONTROLS), secondary = vmread(VMCS_SECONDARY_CONTROLS);
    if (on) {
        primary &= ~CR8_EXITING | vmx_must_be_1(&vmx.msrs, CONTROL_PRIMARY);
        vmwrite(VMCS_PRIMARY_CONTROLS, primary | PRIMARY_TPR_SHADOW);
        vmwrite(VMCS_SECONDARY_CONTROLS, secondary | SECONDARY_APICV);
    } else {
        vmwrite(VMCS_PRIMARY_CONTROLS, (primary & ~PRIMARY_TPR_SHADOW) | CR8_EXITING);
        vmwrite(VMCS_SECONDARY_CONTROLS, secondary & ~SECONDARY_APICV);
    }
    for (uint32_t i = 0; i < 4; i++) {
        vcpu->apicv.eoi_exits[i] = 0;
        vmwrite(VMCS_EOI_EXIT_BITMAP_0 + 2 * i, 0);
    }
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
    vcpu->apicv.on = on;
}

void vmx_apicv_write(struct vmx_vcpu *vcpu, uint8_t rvi, uint8_t svi, const uint64_t eoi_exits[4])
{
    struct vmx_apicv *a = &vcpu->apicv;
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS, (uint64_t)svi << 8 | rvi);
    for (uint32_t i = 0; i < 4; i++) {
        if (likely(a->eoi_exits[i] == eoi_exits[i]))
            continue;
        a->eoi_exits[i] = eoi_exits[i];
        vmwrite(VMCS_EOI_EXIT_BITMAP_0 + 2 * i, eoi_exits[i]);
    }
}
