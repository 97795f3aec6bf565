/* SPDX-License-Identifier: MIT */
/*
 * Exits of MOV to and from control registers, of CLTS and of LMSW. A change of a bit that the
 * hypervisor always owns exits; with gva_cache=exits, so does every change of what an address
 * translates to (decision D6, rule C2). vm/control_rules.h says what the instructions do.
 */
#include "arch/x86/cpu.h"
#include "vm/control_rules.h"
#include "vm/exits.h"
#include "vm/features.h"
#include "vm/refused.h"
#include "vm/vm.h"
#include "lib/assert.h"
#include "mmu/tlb.h"
#include "tdx/td_cr.h"
#include "vm/td_cpu.h"
#include "vmx/vmcs.h"

/* The qualification of a control-register access (SDM 3, table 28-3). */
#define CR_NUMBER   BITS(3, 0)
#define CR_TYPE     BITS(5, 4)
#define CR_GPR      BITS(11, 8)
#define LMSW_SOURCE BITS(31, 16)

enum cr_access_type {
    CR_MOV_TO,
    CR_MOV_FROM,
    CR_CLTS,
    CR_LMSW,
};

/* Bits that are always owned. For some, the CPU must not get the guest's value. The others decide
 * translations and hardly ever change; because they are owned, a replay entry (mmio/replay.h) need
 * not compare them. */
#define CR0_OWNED (CR0_NE | CR0_CD | CR0_NW | CR0_PG)
#define CR4_OWNED (CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP | CR4_SHOWN)

/* CPUID reflects these bits, so a change of them has to exit. */
#define CR4_SHOWN (CR4_OSXSAVE | CR4_PKE)

/* Bits that are owned in addition with gva_cache=exits, because translations or the TLB depend on
 * them. */
#define CR0_TRANSLATION CR0_WP
#define CR4_TRANSLATION (CR4_PGE | CR4_PCIDE)

void control_registers_setup(struct vcpu *vcpu)
{
    bool exits = vcpu->mmio.cache.mode == GVA_CACHE_EXITS;
    uint64_t cr4_fixed = vmx_cr4_in_use(&vmx.msrs, 0) | ~features_cr4();

    vmwrite(VMCS_CR0_GUEST_HOST_MASK, CR0_OWNED | (exits ? CR0_TRANSLATION : 0));
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, cr4_fixed | CR4_OWNED | (exits ? CR4_TRANSLATION : 0));
    if (exits)
        vmx_set_primary(PRIMARY_CR3_LOAD_EXITING | PRIMARY_INVLPG_EXITING, true);
}

static void control_regs_flush(struct vcpu *vcpu, unsigned type)
{
    tlb_invvpid(&vcpu->vm->mmu, type, vcpu->vpid, GVA(0), INVVPID_GUEST);
}

static void take_effect(struct vcpu *vcpu, enum control_effect effect)
{
    if (effect >= CONTROL_FORGET)
        mmio_cache_clear_gva(&vcpu->mmio.cache);
    if (effect >= CONTROL_FLUSH)
        control_regs_flush(vcpu, effect == CONTROL_FLUSH ? INVVPID_GLOBALS : INVVPID_SINGLE);
}

/* The value that the instruction writes, which has 64 bits in 64-bit code only. */
static uint64_t mov_value(struct vcpu *vcpu, uint64_t qualification)
{
    uint64_t value = cpu_gpr(&vcpu->vmx.regs, (unsigned)field_get(qualification, CR_GPR));
    return vmx_in_64_bit_code() ? value : (uint32_t)value;
}

static COLD void control_regs_refuse(struct vcpu *vcpu, const struct control_rules *rules)
{
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    unsigned number = (unsigned)field_get(qualification, CR_NUMBER);
    if (field_get(qualification, CR_TYPE) != CR_MOV_TO) {
        access_refuse(vcpu, "CLTS or LMSW");
        return;
    }
    uint64_t value = mov_value(vcpu, qualification);
    uint64_t missing = number == 4 ? value & ~rules->cr4_offered : 0;
    if (missing)
        access_refuse(vcpu, "MOV of %#lx to CR4, which does not have bits %#lx,", value, missing);
    else
        access_refuse(vcpu, "MOV of %#lx to CR%u", value, number);
}

static void control_regs_finish(struct vcpu *vcpu, const struct control_rules *rules,
                                enum control_effect effect)
{
    take_effect(vcpu, effect);
    if (effect == CONTROL_FAULT)
        control_regs_refuse(vcpu, rules);
    else
        vmx_skip_instruction(&vcpu->vmx);
}

/* CR8 is bits 7:4 of the APIC's task-priority register. */
static enum control_effect set_cr8(struct vcpu *vcpu, uint64_t value)
{
    if (value > 15)
        return CONTROL_FAULT;
    lapic_write(&vcpu->lapic, LAPIC_TPR, (uint32_t)value << 4);
    return CONTROL_DONE;
}

static enum control_effect set_cr4(struct vcpu *vcpu, const struct control_rules *rules,
                                   uint64_t value)
{
    uint64_t old = cpu_reg(rules->cpu, REG_CR4);
    enum control_effect effect = control_set_cr4(rules, value);
    if (effect != CONTROL_FAULT && (old ^ value) & CR4_SHOWN)
        cpuid_update(vcpu);
    return effect;
}

static enum control_effect mov_to_control_reg(struct vcpu *vcpu, const struct control_rules *rules,
                                              unsigned number, uint64_t value)
{
    switch (number) {
    case 0:
        return control_set_cr0(rules, value);
    case 3:
        return control_set_cr3(rules, value);
    case 4:
        return set_cr4(vcpu, rules, value);
    case 8:
        return set_cr8(vcpu, value);
    default:
        BUG_ON(true);
    }
}

/* A TD sees CR4.MCE as 1 all the time, and a guest with `legacy` can set it. */
static uint64_t cr4_offered(const struct vcpu *vcpu)
{
    return features_cr4() | (unlikely(vcpu->td) ? TDX_CR4_FIXED : 0) |
           (unlikely(vcpu->vm->words.legacy) ? CR4_MCE : 0);
}

static struct control_rules rules_of(struct vcpu *vcpu)
{
    return (struct control_rules){.cpu = &vcpu->vmx.regs,
                                  .mmu = &vcpu->vm->mmu,
                                  .cr4_offered = cr4_offered(vcpu),
                                  .maxphyaddr = vmx.maxphyaddr,
                                  .tr_rights = vmread(VMCS_GUEST_TR_ACCESS_RIGHTS)};
}

void exit_cr_access(struct vcpu *vcpu)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    const struct control_rules rules = rules_of(vcpu);
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    unsigned gpr = (unsigned)field_get(qualification, CR_GPR);
    enum control_effect effect = CONTROL_DONE;

    switch ((enum cr_access_type)field_get(qualification, CR_TYPE)) {
    case CR_MOV_TO:
        effect = mov_to_control_reg(vcpu, &rules, (unsigned)field_get(qualification, CR_NUMBER),
                                    mov_value(vcpu, qualification));
        break;
    case CR_MOV_FROM: /* from CR8 only: a read of CR3 does not exit */
        cpu_set_gpr(cpu, gpr, lapic_read(&vcpu->lapic, LAPIC_TPR) >> 4);
        break;
    case CR_CLTS:
        effect = control_set_cr0(&rules, cpu_reg(cpu, REG_CR0) & ~CR0_TS);
        break;
    case CR_LMSW:
        effect = control_lmsw(&rules, (uint16_t)field_get(qualification, LMSW_SOURCE));
        break;
    }
    control_regs_finish(vcpu, &rules, effect);
}

void control_registers_setup_td(struct vcpu *vcpu)
{
    vmwrite(VMCS_CR0_GUEST_HOST_MASK, vmread(VMCS_CR0_GUEST_HOST_MASK) | tdx_cr0_owned());
    vmwrite(VMCS_CR4_GUEST_HOST_MASK,
            vmread(VMCS_CR4_GUEST_HOST_MASK) | tdx_cr4_owned(vcpu->td->td));
    cpu_set_reg(&vcpu->vmx.regs, REG_CR0, TDX_CR0_FIXED);
    cpu_set_reg(&vcpu->vmx.regs, REG_CR4, TDX_CR4_FIXED);
}

enum tdx_access control_regs_access_of_td(struct vcpu *vcpu)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    uint64_t value = cpu_gpr(cpu, (unsigned)field_get(qualification, CR_GPR));
    if (field_get(qualification, CR_TYPE) != CR_MOV_TO)
        return TDX_DIRECT;
    if (!vmx_in_64_bit_code())
        value = (uint32_t)value;
    switch (field_get(qualification, CR_NUMBER)) {
    case 0:
        return tdx_cr0_write(value);
    case 4:
        return tdx_cr4_write(vcpu->td->td, cpu_reg(cpu, REG_CR4), value, cr4_offered(vcpu));
    default:
        return TDX_DIRECT;
    }
}

bool vcpu_set_cr3(struct vcpu *vcpu, uint64_t value)
{
    const struct control_rules rules = rules_of(vcpu);
    enum control_effect effect = control_set_cr3(&rules, value);
    take_effect(vcpu, effect);
    return effect != CONTROL_FAULT;
}

bool mmio_lmsw(struct mmio_vcpu *mmio, uint16_t word)
{
    struct vcpu *vcpu = container_of(mmio, struct vcpu, mmio);
    const struct control_rules rules = rules_of(vcpu);
    enum control_effect effect = control_lmsw(&rules, word);
    take_effect(vcpu, effect);
    return effect != CONTROL_FAULT;
}

bool vcpu_set_efer(struct vcpu *vcpu, uint64_t value)
{
    const struct control_rules rules = rules_of(vcpu);
    return control_set_efer(&rules, value) != CONTROL_FAULT;
}
