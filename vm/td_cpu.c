/* SPDX-License-Identifier: MIT */
/* The module's side of a TD's CPU: exits of CPUID, RDMSR, WRMSR and control registers. */
#include "vm/td_cpu.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "lib/log.h"
#include "tdx/td_cpuid.h"
#include "tdx/td_msr.h"
#include "vm/apicv.h"
#include "vm/exits.h"
#include "vm/features.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

#define LEAF_TOPOLOGY_V2 0x1fu
#define X2APIC_FIRST     0x800u
#define X2APIC_LAST      0x8ffu
#define MHZ              1000000ul

/* The TD's TSC is the host's, so its rate is announced as the nearest multiple of 25 MHz. If that
 * is 0, CPUID leaf 15h names no rate. */
void td_cpu_create(struct vm *vm)
{
    uint64_t hz = tsc_khz() * 1000, units = (hz + TDX_CRYSTAL_HZ / 2) / TDX_CRYSTAL_HZ;
    uint64_t said = units * TDX_CRYSTAL_HZ, off = said > hz ? said - hz : hz - said;
    vm->td->tsc_frequency = (uint16_t)units;
    vm->td->xfam = features_xcr0();
    if (off > hz / 1000)
        log_info("# %s: CPUID tells a TD the TSC's rate in units of 25 MHz: %lu MHz, and not %lu",
                 vm->name, said / MHZ, hz / MHZ);
}

void td_cpu_setup(struct vcpu *vcpu)
{
    struct lapic *lapic = &vcpu->lapic;
    control_registers_setup_td(vcpu);
    cpu_set_reg(&vcpu->vmx.regs, REG_EFER, EFER_NXE | EFER_LME | EFER_SCE);
    vmx_intercept_msr(&vcpu->vmx, MSR_CSTAR);
    if (vcpu->td->td->tsc_frequency) /* the timer counts the crystal of leaf 15h */
        lapic->timer_unit = vcpu->td->td->tsc_frequency;
    BUG_ON(!lapic_set_mode(lapic, LAPIC_X2APIC));
    apicv_follow(vcpu);
    cpuid_update(vcpu);
}

/* ---- Exits ----------------------------------------------------------------------------------- */

static enum tdx_access td_cpuid(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint32_t leaf = tdx_cpuid_leaf((uint32_t)gpr[GPR_RAX]), subleaf = (uint32_t)gpr[GPR_RCX];
    if (tdx_cpuid_access(vcpu->td, cpu_cpl(&vcpu->vmx.regs), leaf, subleaf) != TDX_DIRECT)
        return TDX_VE;
    struct cpuid offered =
        cpuid_offered(vcpu, leaf == LEAF_TOPOLOGY_V2 ? CPUID_LEAF_TOPOLOGY : leaf, subleaf);
    struct cpuid r = tdx_cpuid_answer(vcpu->td->td, leaf, subleaf, &offered, vmx_in_64_bit_code());
    gpr[GPR_RAX] = r.eax;
    gpr[GPR_RBX] = r.ebx;
    gpr[GPR_RCX] = r.ecx;
    gpr[GPR_RDX] = r.edx;
    return TDX_DIRECT;
}

/* A direct MSR. APIC-register virtualization reads the registers of an x2APIC from a page, so that
 * those which do not exist, or are write-only, are 0 and no fault. */
static enum tdx_access td_msr_get(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    enum tdx_access access = tdx_msr_access(vcpu->td->td, msr, false);
    if (access != TDX_DIRECT || tdx_msr_read(msr, value) || msr_read(vcpu, msr, value))
        return access;
    *value = 0;
    return msr >= X2APIC_FIRST && msr <= X2APIC_LAST ? TDX_DIRECT : TDX_GP;
}

/* Of the MSRs that the module answers, those that can be written have no other value. */
static enum tdx_access td_msr_set(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    const struct td *td = vcpu->td->td;
    enum tdx_access access = tdx_msr_access(td, msr, true);
    uint64_t only;
    if (access == TDX_DIRECT)
        access = tdx_msr_write(td, msr, cpu_reg(&vcpu->vmx.regs, REG_EFER), value);
    if (access != TDX_DIRECT)
        return access;
    bool done = tdx_msr_read(msr, &only) ? value == only : msr_write(vcpu, msr, value);
    return done ? TDX_DIRECT : TDX_GP;
}

static enum tdx_access td_rdmsr(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr, value;
    enum tdx_access access = td_msr_get(vcpu, (uint32_t)gpr[GPR_RCX], &value);
    if (access == TDX_DIRECT) {
        gpr[GPR_RAX] = (uint32_t)value;
        gpr[GPR_RDX] = value >> 32;
    }
    return access;
}

static enum tdx_access td_wrmsr(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    return td_msr_set(vcpu, (uint32_t)gpr[GPR_RCX], gpr[GPR_RDX] << 32 | (uint32_t)gpr[GPR_RAX]);
}

enum tdx_access td_cpu_exit(struct vcpu *vcpu, uint32_t reason)
{
    enum tdx_access access;
    switch (reason) {
    case REASON_CPUID:
        access = td_cpuid(vcpu);
        break;
    case REASON_RDMSR:
        access = td_rdmsr(vcpu);
        break;
    case REASON_WRMSR:
        access = td_wrmsr(vcpu);
        break;
    default:
        access = control_regs_access_of_td(vcpu);
        if (access == TDX_DIRECT) {
            exit_cr_access(vcpu);
            return access;
        }
        break;
    }
    if (access == TDX_DIRECT)
        vmx_skip_instruction(&vcpu->vmx);
    return access;
}
