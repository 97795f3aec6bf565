/* SPDX-License-Identifier: MIT */
/* The entry checks of the host state (SDM 3, 27.2.2 to 27.2.4). */
#include "arch/x86/reg_bits.h"
#include "vmx/entry_check_internal.h"

static const char REGISTERS[] = "27.2.2";
static const char SEGMENTS[] = "27.2.3";
static const char SIZE[] = "27.2.4";

static void check_host_control_registers(struct entry_checker *c)
{
    const struct vmx_msrs *msrs = c->in->msrs;

    entry_must_be_1(c, VMCS_HOST_CR0, vmx_cr0_must_be_1(msrs, false), REGISTERS,
                    "by IA32_VMX_CR0_FIXED0");
    entry_must_be_0(c, VMCS_HOST_CR0, ~vmx_cr0_may_be_1(msrs) & ~(CR0_NW | CR0_CD), REGISTERS,
                    "by IA32_VMX_CR0_FIXED1");
    entry_must_be_1(c, VMCS_HOST_CR4, vmx_cr4_must_be_1(msrs), REGISTERS, "by IA32_VMX_CR4_FIXED0");
    entry_must_be_0(c, VMCS_HOST_CR4, ~vmx_cr4_may_be_1(msrs), REGISTERS, "by IA32_VMX_CR4_FIXED1");
    if (entry_get(c, VMCS_HOST_CR4) & CR4_CET)
        entry_must_be_1(c, VMCS_HOST_CR0, CR0_WP, REGISTERS, "because CR4.CET is 1");
    entry_must_be_0(c, VMCS_HOST_CR3, entry_beyond_physical(c), REGISTERS,
                    "beyond the physical-address width");
}

static void check_host_msrs(struct entry_checker *c)
{
    entry_canonical(c, VMCS_HOST_SYSENTER_ESP, REGISTERS);
    entry_canonical(c, VMCS_HOST_SYSENTER_EIP, REGISTERS);
    if (entry_on(c, CONTROL_EXIT, EXIT_LOAD_PERF_GLOBAL_CTRL))
        entry_must_be_0(c, VMCS_HOST_PERF_GLOBAL_CTRL, ~c->in->perf_global_valid, REGISTERS,
                        "reserved");
    if (entry_on(c, CONTROL_EXIT, EXIT_LOAD_PAT))
        entry_check_pat(c, VMCS_HOST_PAT, REGISTERS);
    if (entry_on(c, CONTROL_EXIT, EXIT_LOAD_CET))
        entry_check_cet(c, VMCS_HOST_S_CET, VMCS_HOST_SSP, VMCS_HOST_INTERRUPT_SSP_TABLE,
                        REGISTERS);
    if (entry_on(c, CONTROL_EXIT, EXIT_LOAD_PKRS))
        entry_must_be_0(c, VMCS_HOST_PKRS, HIGH_HALF, REGISTERS, "reserved");
    if (!entry_on(c, CONTROL_EXIT, EXIT_LOAD_EFER))
        return;
    entry_must_be_0(c, VMCS_HOST_EFER, ~c->in->efer_valid, REGISTERS, "reserved");
    if (entry_on(c, CONTROL_EXIT, EXIT_HOST_ADDRESS_SPACE_SIZE))
        entry_must_be_1(c, VMCS_HOST_EFER, EFER_LMA | EFER_LME, REGISTERS,
                        "because host address-space size is 1");
}

static void check_host_segments(struct entry_checker *c)
{
    static const uint16_t selectors[] = {
        VMCS_HOST_ES_SELECTOR, VMCS_HOST_CS_SELECTOR, VMCS_HOST_SS_SELECTOR, VMCS_HOST_DS_SELECTOR,
        VMCS_HOST_FS_SELECTOR, VMCS_HOST_GS_SELECTOR, VMCS_HOST_TR_SELECTOR,
    };
    static const uint16_t bases[] = {
        VMCS_HOST_FS_BASE,   VMCS_HOST_GS_BASE,   VMCS_HOST_TR_BASE,
        VMCS_HOST_GDTR_BASE, VMCS_HOST_IDTR_BASE,
    };

    for (unsigned i = 0; i < ARRAY_SIZE(selectors); i++)
        entry_must_be_0(c, selectors[i], BITS(2, 0), SEGMENTS, "RPL and TI");
    if (!entry_get(c, VMCS_HOST_CS_SELECTOR))
        entry_fail(c, VMCS_HOST_CS_SELECTOR, -1, SEGMENTS, "must not be the null selector");
    if (!entry_get(c, VMCS_HOST_TR_SELECTOR))
        entry_fail(c, VMCS_HOST_TR_SELECTOR, -1, SEGMENTS, "must not be the null selector");
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
        entry_canonical(c, bases[i], SEGMENTS);
}

void entry_check_host(struct entry_checker *c)
{
    check_host_control_registers(c);
    check_host_msrs(c);
    check_host_segments(c);

    /* The hypervisor runs in IA-32e mode, so a 32-bit host is always an error, and the SDM's rules
     * for one are not checked. */
    entry_must_be_1(c, VMCS_EXIT_CONTROLS, EXIT_HOST_ADDRESS_SPACE_SIZE, SIZE,
                    "because the host is in IA-32e mode");
    entry_must_be_1(c, VMCS_HOST_CR4, CR4_PAE, SIZE, "because the host is in IA-32e mode");
    entry_canonical(c, VMCS_HOST_RIP, SIZE);
}
