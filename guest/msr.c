/* The MSRs of a guest: its own, used without an exit, a few with a fixed value, and #GP for the
 * rest. */
#include "arch/x86/cpu.h"
#include "guest/vm.h"
#include "lib/log.h"

#define MSR_TSC            0x10
#define MSR_PLATFORM_ID    0x17
#define MSR_BIOS_SIGN_ID   0x8b
#define MSR_DEBUGCTL       0x1d9
#define MSR_TSC_DEADLINE   0x6e0
#define APIC_BASE_BSP      BIT(8)  /* bootstrap processor */
#define APIC_BASE_ENABLE   BIT(11) /* may be switched; the rest is fixed */
#define MISC_ENABLE_GUEST  BIT(0)  /* fast strings */
#define UNKNOWN_MSRS_SHOWN 8

/* In the VMCS, switched by the CPU itself. */
static const uint32_t vmcs_msrs[] = {MSR_FS_BASE,      MSR_GS_BASE,      MSR_SYSENTER_CS,
                                     MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT,
                                     MSR_EFER};

/* The same for every guest; writing the value that is there is allowed, another is #GP. */
static const struct {
    uint32_t msr;
    uint64_t value;
} fixed_msrs[] = {
    {MSR_PLATFORM_ID, 0},  {MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCKED},
    {MSR_BIOS_SIGN_ID, 0}, {MSR_MISC_ENABLE, MISC_ENABLE_GUEST},
    {MSR_DEBUGCTL, 0},
};

void msr_setup(struct vcpu *vcpu)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vmcs_msrs); i++)
        vmx_pass_msr(&vcpu->vmx, vmcs_msrs[i]);
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        if (extra_msr_exists(i))
            vmx_pass_msr(&vcpu->vmx, extra_msrs[i]);
}

static uint64_t apic_base(const struct vcpu *vcpu)
{
    return GUEST_LAPIC | (vcpu->index ? 0 : APIC_BASE_BSP) |
           (vcpu->lapic.enabled ? APIC_BASE_ENABLE : 0);
}

static bool fixed_value(uint32_t msr, uint64_t *value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fixed_msrs); i++) {
        if (fixed_msrs[i].msr == msr) {
            *value = fixed_msrs[i].value;
            return true;
        }
    }
    return false;
}

static void refuse(struct vcpu *vcpu, const char *instruction, uint32_t msr)
{
    struct vm *vm = vcpu->vm;
    if (vm->unknown_msrs++ < UNKNOWN_MSRS_SHOWN)
        log_info("# %s: %s of MSR %#x at RIP %#lx: #GP", vm->name, instruction, msr,
                 cpu_reg(&vcpu->vmx.regs, REG_RIP));
    vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
}

void exit_rdmsr(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr, value;
    uint32_t msr = (uint32_t)gpr[GPR_RCX];

    if (msr == MSR_TSC)
        value = rdtsc();
    else if (msr == MSR_APIC_BASE)
        value = apic_base(vcpu);
    else if (msr == MSR_TSC_DEADLINE)
        value = lapic_tsc_deadline(&vcpu->lapic);
    else if (!fixed_value(msr, &value)) {
        refuse(vcpu, "RDMSR", msr);
        return;
    }
    gpr[GPR_RAX] = (uint32_t)value;
    gpr[GPR_RDX] = value >> 32;
    vmx_skip_instruction(&vcpu->vmx);
}

void exit_wrmsr(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint32_t msr = (uint32_t)gpr[GPR_RCX];
    uint64_t value = gpr[GPR_RDX] << 32 | (uint32_t)gpr[GPR_RAX], fixed;

    if (msr == MSR_APIC_BASE && !((value ^ apic_base(vcpu)) & ~APIC_BASE_ENABLE)) {
        lapic_enable(&vcpu->lapic, value & APIC_BASE_ENABLE);
        vmx_skip_instruction(&vcpu->vmx);
    } else if (msr == MSR_TSC_DEADLINE) {
        lapic_set_tsc_deadline(&vcpu->lapic, value);
        vmx_skip_instruction(&vcpu->vmx);
    } else if (fixed_value(msr, &fixed) && value == fixed)
        vmx_skip_instruction(&vcpu->vmx);
    else
        refuse(vcpu, "WRMSR", msr);
}
