/* SPDX-License-Identifier: MIT */
/*
 * The VMM's side of a TD's CPU: the TDVMCALLs CPUID, HLT, I/O, RDMSR and WRMSR. The TD chooses
 * every operand, so none is trusted.
 */
#include "arch/x86/cpu.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "vm/exits.h"
#include "vm/refused.h"
#include "vm/td_cpu.h"
#include "vm/vm.h"
#include "dev/lapic_msr.h"

#define KVM_MAX 0x40000001u
#define KVM_EBX 0x4b4d564bu /* "KVMK" */
#define KVM_ECX 0x564b4d56u /* "VMKV" */
#define KVM_EDX 0x0000004du /* "M" */

#define HYPERVISOR_LAST 0x4fffffffu

#define MSR_TSC_DEADLINE 0x6e0u
#define X2APIC_FIRST     0x800u
#define X2APIC_LAST      0x8ffu
#define X2APIC_ICR       (X2APIC_FIRST + LAPIC_ICR)
#define ICR_MODE         BITS(10, 8)

/* ---- CPUID ----------------------------------------------------------------------------------- */

/* A KVM without features, in leaf 40000000h itself: without one, Linux turns x2APIC mode off, which
 * a TD cannot do, and uses MTRRs. */
static struct cpuid vmm_cpuid(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    if (leaf == CPUID_LEAF_HYPERVISOR)
        return (struct cpuid){KVM_MAX, KVM_EBX, KVM_ECX, KVM_EDX};
    if (leaf > CPUID_LEAF_HYPERVISOR && leaf <= HYPERVISOR_LAST)
        return (struct cpuid){0};
    return cpuid_offered(vcpu, leaf, subleaf);
}

uint64_t td_vmcall_cpuid(struct vcpu *vcpu, uint64_t *gpr)
{
    struct cpuid r = vmm_cpuid(vcpu, (uint32_t)gpr[GPR_R12], (uint32_t)gpr[GPR_R13]);
    gpr[GPR_R12] = r.eax;
    gpr[GPR_R13] = r.ebx;
    gpr[GPR_R14] = r.ecx;
    gpr[GPR_R15] = r.edx;
    return GHCI_SUCCESS;
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

/* MSRs with a fixed value. Writing this value is allowed. */
static const struct {
    uint32_t msr;
    uint64_t value;
} fixed[] = {
    {MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCKED},
    {0x8b, 0},      /* IA32_BIOS_SIGN_ID */
    {0xfe, 0},      /* IA32_MTRRCAP: no ranges */
    {0x179, 0},     /* IA32_MCG_CAP: no banks */
    {0x17a, 0},     /* IA32_MCG_STATUS */
    {0x2ff, 0x806}, /* IA32_MTRR_DEF_TYPE: enabled, write-back */
};

static const uint64_t *td_vmm_fixed_value(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
        if (fixed[i].msr == msr)
            return &fixed[i].value;
    return NULL;
}

/* The MSRs that the VMM emulates. The TSC is the module's. */
static bool vmm_has_msr(uint32_t msr)
{
    return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE ||
           (msr >= X2APIC_FIRST && msr <= X2APIC_LAST);
}

/* INIT and start-up IPIs would reset a vCPU of a TD, which only its creation does. */
static bool is_startup(uint32_t msr, uint64_t value)
{
    uint64_t mode = field_get(value, ICR_MODE);
    return msr == X2APIC_ICR && (mode == LAPIC_INIT || mode == LAPIC_STARTUP);
}

/* The values that a TD passes to its VMM are no secret. */
static COLD uint64_t td_vmm_refuse(struct vcpu *vcpu, const char *instruction, uint32_t msr)
{
    access_report_refusal(vcpu, "TDVMCALL %s of MSR %#x", instruction, msr);
    return GHCI_INVALID_OPERAND;
}

uint64_t td_vmcall_rdmsr(struct vcpu *vcpu, uint64_t *gpr)
{
    uint32_t msr = (uint32_t)gpr[GPR_R12];
    const uint64_t *value = td_vmm_fixed_value(msr);
    if (value)
        gpr[GPR_R11] = *value;
    else if (!vmm_has_msr(msr) || !msr_read(vcpu, msr, &gpr[GPR_R11]))
        return td_vmm_refuse(vcpu, "RDMSR", msr);
    return GHCI_SUCCESS;
}

/* IA32_APIC_BASE accepts only its own value: the APIC stays in x2APIC mode. */
uint64_t td_vmcall_wrmsr(struct vcpu *vcpu, uint64_t *gpr)
{
    uint32_t msr = (uint32_t)gpr[GPR_R12];
    uint64_t value = gpr[GPR_R13], base;
    const uint64_t *only = td_vmm_fixed_value(msr);
    if (msr == MSR_APIC_BASE && msr_read(vcpu, msr, &base))
        only = &base;
    bool done = only ? *only == value
                     : vmm_has_msr(msr) && !is_startup(msr, value) && msr_write(vcpu, msr, value);
    return done ? GHCI_SUCCESS : td_vmm_refuse(vcpu, "WRMSR", msr);
}

/* ---- I/O and HLT ----------------------------------------------------------------------------- */

uint64_t td_vmcall_io(struct vcpu *vcpu, uint64_t *gpr)
{
    uint64_t size = gpr[GPR_R12], write = gpr[GPR_R13], port = gpr[GPR_R14];
    struct bus *bus = &vcpu->vm->port_bus;
    if ((size != 1 && size != 2 && size != 4) || write > 1 || port > 0xffff)
        return GHCI_INVALID_OPERAND;
    uint64_t mask = BITS(8 * size - 1, 0);
    if (write)
        bus_write(bus, &vcpu->mmio, port, (unsigned)size, gpr[GPR_R15] & mask);
    else
        gpr[GPR_R11] = bus_read(bus, &vcpu->mmio, port, (unsigned)size) & mask;
    return GHCI_SUCCESS;
}

/* R12 says whether interrupts are blocked. If they are not, an interrupt ends the halt whatever
 * RFLAGS.IF is: Linux calls with IF = 0 and sets it afterwards. */
uint64_t td_vmcall_hlt(struct vcpu *vcpu, uint64_t *gpr)
{
    vcpu->vmx.wakes_masked = !gpr[GPR_R12];
    attention_request(&vcpu->vmx.attention, ATTENTION_HALTED);
    return GHCI_SUCCESS;
}
