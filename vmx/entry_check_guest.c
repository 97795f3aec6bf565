/* SPDX-License-Identifier: MIT */
/* The entry checks of the guest state, except its segments (SDM 3, 27.3.1). */
#include "arch/x86/reg_bits.h"
#include "vmx/entry_check_internal.h"

static const char REGISTERS[] = "27.3.1.1";
static const char RIP_RFLAGS[] = "27.3.1.4";
static const char OTHER[] = "27.3.1.5";
static const char PDPTES[] = "27.3.1.6";

#define DEBUGCTL_BTF      BIT(1)
#define PENDING_ENABLED   BIT(12)
#define PENDING_BS        BIT(14)
#define PENDING_RTM       BIT(16)
#define PENDING_RESERVED  (BITS(11, 4) | BIT(13) | BIT(15) | BITS(63, 17))
#define RFLAGS_RESERVED_0 (BITS(63, 22) | BIT(15) | BIT(5) | BIT(3))
#define PDPTE_RESERVED    (BITS(2, 1) | BITS(8, 5))

static void check_guest_control_registers(struct entry_checker *c)
{
    const struct vmx_msrs *msrs = c->in->msrs;

    entry_must_be_1(c, VMCS_GUEST_CR0, vmx_cr0_must_be_1(msrs, c->unrestricted), REGISTERS,
                    c->unrestricted ? "by IA32_VMX_CR0_FIXED0"
                                    : "by IA32_VMX_CR0_FIXED0 without unrestricted guest");
    entry_must_be_0(c, VMCS_GUEST_CR0, ~vmx_cr0_may_be_1(msrs) & ~(CR0_NW | CR0_CD), REGISTERS,
                    "by IA32_VMX_CR0_FIXED1");
    entry_must_be_1(c, VMCS_GUEST_CR4, vmx_cr4_must_be_1(msrs), REGISTERS,
                    "by IA32_VMX_CR4_FIXED0");
    entry_must_be_0(c, VMCS_GUEST_CR4, ~vmx_cr4_may_be_1(msrs), REGISTERS,
                    "by IA32_VMX_CR4_FIXED1");
    if (c->unrestricted && c->cr0 & CR0_PG)
        entry_must_be_1(c, VMCS_GUEST_CR0, CR0_PE, REGISTERS, "because CR0.PG is 1");
    if (entry_get(c, VMCS_GUEST_CR4) & CR4_CET)
        entry_must_be_1(c, VMCS_GUEST_CR0, CR0_WP, REGISTERS, "because CR4.CET is 1");
    if (c->ia32e) {
        /* Without unrestricted guest, the check against CR0_FIXED0 has already covered PG. */
        if (c->unrestricted)
            entry_must_be_1(c, VMCS_GUEST_CR0, CR0_PG, REGISTERS, "because IA-32e mode guest is 1");
        entry_must_be_1(c, VMCS_GUEST_CR4, CR4_PAE, REGISTERS, "because IA-32e mode guest is 1");
    } else {
        entry_must_be_0(c, VMCS_GUEST_CR4, CR4_PCIDE, REGISTERS, "because IA-32e mode guest is 0");
    }
    entry_must_be_0(c, VMCS_GUEST_CR3, entry_beyond_physical(c), REGISTERS,
                    "beyond the physical-address width");
}

static void check_efer(struct entry_checker *c)
{
    entry_must_be_0(c, VMCS_GUEST_EFER, ~c->in->efer_valid, REGISTERS, "reserved");
    if (c->ia32e)
        entry_must_be_1(c, VMCS_GUEST_EFER, EFER_LMA, REGISTERS, "because IA-32e mode guest is 1");
    else
        entry_must_be_0(c, VMCS_GUEST_EFER, EFER_LMA, REGISTERS, "because IA-32e mode guest is 0");
    if (!(c->cr0 & CR0_PG))
        return;
    if (entry_get(c, VMCS_GUEST_EFER) & EFER_LMA)
        entry_must_be_1(c, VMCS_GUEST_EFER, EFER_LME, REGISTERS, "because LMA and CR0.PG are 1");
    else
        entry_must_be_0(c, VMCS_GUEST_EFER, EFER_LME, REGISTERS,
                        "because LMA is 0 and CR0.PG is 1");
}

static void check_guest_msrs(struct entry_checker *c)
{
    entry_canonical(c, VMCS_GUEST_SYSENTER_ESP, REGISTERS);
    entry_canonical(c, VMCS_GUEST_SYSENTER_EIP, REGISTERS);
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_DEBUG_CONTROLS)) {
        entry_must_be_0(c, VMCS_GUEST_DEBUGCTL, ~c->in->debugctl_valid, REGISTERS, "reserved");
        entry_must_be_0(c, VMCS_GUEST_DR7, HIGH_HALF, REGISTERS, "reserved");
    }
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_PERF_GLOBAL_CTRL))
        entry_must_be_0(c, VMCS_GUEST_PERF_GLOBAL_CTRL, ~c->in->perf_global_valid, REGISTERS,
                        "reserved");
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_PAT))
        entry_check_pat(c, VMCS_GUEST_PAT, REGISTERS);
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_EFER))
        check_efer(c);
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_BNDCFGS)) {
        entry_must_be_0(c, VMCS_GUEST_BNDCFGS, BITS(11, 2), REGISTERS, "reserved");
        entry_canonical(c, VMCS_GUEST_BNDCFGS, REGISTERS);
    }
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_UINV))
        entry_must_be_0(c, VMCS_GUEST_UINV, BITS(15, 8), REGISTERS, "a vector has eight bits");
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_CET))
        entry_check_cet(c, VMCS_GUEST_S_CET, VMCS_GUEST_SSP, VMCS_GUEST_INTERRUPT_SSP_TABLE,
                        REGISTERS);
    if (entry_on(c, CONTROL_ENTRY, ENTRY_LOAD_PKRS))
        entry_must_be_0(c, VMCS_GUEST_PKRS, HIGH_HALF, REGISTERS, "reserved");
}

static void check_rip_rflags(struct entry_checker *c)
{
    bool long_cs = c->ia32e && entry_get(c, VMCS_GUEST_CS_ACCESS_RIGHTS) & BIT(13);

    if (long_cs)
        entry_next_to_canonical(c, VMCS_GUEST_RIP, RIP_RFLAGS);
    else
        entry_must_be_0(c, VMCS_GUEST_RIP, HIGH_HALF, RIP_RFLAGS, "outside 64-bit mode");

    entry_must_be_1(c, VMCS_GUEST_RFLAGS, BIT(1), RIP_RFLAGS, NULL);
    entry_must_be_0(c, VMCS_GUEST_RFLAGS, RFLAGS_RESERVED_0, RIP_RFLAGS, "reserved");
    if (c->ia32e)
        entry_must_be_0(c, VMCS_GUEST_RFLAGS, RFLAGS_VM, RIP_RFLAGS,
                        "VM, because IA-32e mode guest is 1");
    else if (!(c->cr0 & CR0_PE))
        entry_must_be_0(c, VMCS_GUEST_RFLAGS, RFLAGS_VM, RIP_RFLAGS, "VM, because CR0.PE is 0");
    if (entry_injects(c, EVENT_INTERRUPT))
        entry_must_be_1(c, VMCS_GUEST_RFLAGS, RFLAGS_IF, RIP_RFLAGS,
                        "IF, because an external interrupt is injected");
}

/* Returns true if the event may be injected in this activity state (SDM 3, 27.3.1.5). */
static bool activity_allows_event(uint64_t activity, unsigned type, unsigned vector)
{
    switch (activity) {
    case ACTIVITY_ACTIVE:
        return true;
    case ACTIVITY_HLT:
        return type == EVENT_INTERRUPT || type == EVENT_NMI || type == EVENT_OTHER ||
               (type == EVENT_EXCEPTION && (vector == VECTOR_DB || vector == VECTOR_MC));
    case ACTIVITY_SHUTDOWN:
        return type == EVENT_NMI || (type == EVENT_EXCEPTION && vector == VECTOR_MC);
    default:
        return false;
    }
}

static void check_activity(struct entry_checker *c)
{
    static const char *const names[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};
    uint64_t activity = entry_get(c, VMCS_GUEST_ACTIVITY_STATE);
    uint64_t blocking = entry_get(c, VMCS_GUEST_INTERRUPTIBILITY);

    if (activity > ACTIVITY_WAIT_FOR_SIPI) {
        entry_fail(c, VMCS_GUEST_ACTIVITY_STATE, -1, OTHER, "must be at most 3");
        return;
    }
    /* Bits 8:6 of IA32_VMX_MISC report support for the states 3:1. */
    if (activity && !(c->in->msrs->misc & MISC_HLT_STATE << (activity - 1)))
        entry_fail(c, VMCS_GUEST_ACTIVITY_STATE, -1, OTHER, "%s, a state that IA32_VMX_MISC lacks",
                   names[activity]);
    if (activity == ACTIVITY_HLT && entry_get(c, VMCS_GUEST_SS_ACCESS_RIGHTS) & BITS(6, 5))
        entry_fail(c, VMCS_GUEST_ACTIVITY_STATE, -1, OTHER, "HLT, but the DPL of SS is not 0");
    if (activity && blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
        entry_fail(c, VMCS_GUEST_ACTIVITY_STATE, -1, OTHER, "%s, but events are blocked by %s",
                   names[activity], blocking & BLOCKING_BY_STI ? "STI" : "MOV SS");
    if (c->event && !activity_allows_event(activity, entry_event_type(c), c->event & 0xff))
        entry_fail(c, VMCS_GUEST_ACTIVITY_STATE, -1, OTHER,
                   "%s, a state in which event 0x%x cannot be injected", names[activity], c->event);
}

static void check_interruptibility(struct entry_checker *c)
{
    const uint32_t field = VMCS_GUEST_INTERRUPTIBILITY;
    uint64_t blocking = entry_get(c, field);

    entry_must_be_0(c, field, BITS(31, 5), OTHER, "reserved");
    entry_must_be_0(c, field, BLOCKING_BY_SMI, OTHER, "blocking by SMI, outside SMM");
    if (blocking & BLOCKING_BY_STI && blocking & BLOCKING_BY_MOV_SS)
        entry_fail(c, field, 0, OTHER, "blocking by STI and by MOV SS are both 1");
    if (blocking & ENCLAVE_INTERRUPT)
        entry_must_be_0(c, field, BLOCKING_BY_MOV_SS, OTHER,
                        "blocking by MOV SS, because enclave interruption is 1");
    if (!(c->rflags & RFLAGS_IF))
        entry_must_be_0(c, field, BLOCKING_BY_STI, OTHER,
                        "blocking by STI, because RFLAGS.IF is 0");
    if (entry_injects(c, EVENT_INTERRUPT))
        entry_must_be_0(c, field, BLOCKING_BY_STI | BLOCKING_BY_MOV_SS, OTHER,
                        "because an external interrupt is injected");
    if (!entry_injects(c, EVENT_NMI))
        return;
    /* Blocking by STI is an error only on some CPUs, but no code may rely on the others. */
    entry_must_be_0(c, field, BLOCKING_BY_STI | BLOCKING_BY_MOV_SS, OTHER,
                    "because an NMI is injected");
    if (entry_on(c, CONTROL_PIN, PIN_VIRTUAL_NMIS))
        entry_must_be_0(c, field, BLOCKING_BY_NMI, OTHER,
                        "blocking by NMI, because an NMI is injected");
}

static void check_pending_debug(struct entry_checker *c)
{
    const uint32_t field = VMCS_GUEST_PENDING_DEBUG;
    uint64_t pending = entry_get(c, field);
    uint64_t blocking = entry_get(c, VMCS_GUEST_INTERRUPTIBILITY);
    bool single_step = c->rflags & RFLAGS_TF && !(entry_get(c, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);

    entry_must_be_0(c, field, PENDING_RESERVED, OTHER, "reserved");
    if (blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS) ||
        entry_get(c, VMCS_GUEST_ACTIVITY_STATE) == ACTIVITY_HLT) {
        if (single_step)
            entry_must_be_1(
                c, field, PENDING_BS, OTHER,
                "BS, because RFLAGS.TF is 1 and events are blocked or the state is HLT");
        else
            entry_must_be_0(c, field, PENDING_BS, OTHER,
                            "BS, because single-stepping is off and events are blocked or the "
                            "state is HLT");
    }
    if (!(pending & PENDING_RTM))
        return;
    if (!c->in->rtm)
        entry_must_be_0(c, field, PENDING_RTM, OTHER, "because this CPU has no RTM");
    entry_must_be_0(c, field, BITS(3, 0) | PENDING_BS, OTHER, "because bit 16, RTM, is 1");
    entry_must_be_1(c, field, PENDING_ENABLED, OTHER, "because bit 16, RTM, is 1");
    if (blocking & BLOCKING_BY_MOV_SS)
        entry_must_be_0(c, field, PENDING_RTM, OTHER, "because events are blocked by MOV SS");
}

/* With EPT, PAE paging loads the PDPTEs from the VMCS. */
static void check_pdptes(struct entry_checker *c)
{
    if (!(c->cr0 & CR0_PG) || !(entry_get(c, VMCS_GUEST_CR4) & CR4_PAE) || c->ia32e ||
        !entry_on(c, CONTROL_SECONDARY, SECONDARY_EPT))
        return;
    for (uint32_t field = VMCS_GUEST_PDPTE0; field <= VMCS_GUEST_PDPTE3; field += 2)
        if (entry_get(c, field) & BIT(0))
            entry_must_be_0(c, field, PDPTE_RESERVED | entry_beyond_physical(c), PDPTES,
                            "reserved in a present PDPTE");
}

void entry_check_guest(struct entry_checker *c)
{
    check_guest_control_registers(c);
    check_guest_msrs(c);
    check_rip_rflags(c);
    check_activity(c);
    check_interruptibility(c);
    check_pending_debug(c);
    if (entry_get(c, VMCS_LINK_POINTER) != ~0ull)
        entry_physical(c, VMCS_LINK_POINTER, BITS(11, 0), OTHER);
    check_pdptes(c);
}
