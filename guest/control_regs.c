/*
 * MOV to CR0, CR3 and CR4, CLTS and LMSW, where they exit: for the bits that we own always, and
 * with gva_cache=exits for everything that changes what an address means (decision D6, rule C2).
 * What they do is guest/control_rules.h's.
 */
#include "arch/x86/cpu.h"
#include "guest/control_rules.h"
#include "guest/features.h"
#include "guest/vm.h"
#include "lib/assert.h"
#include "mmu/tlb.h"
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

/* Owned always: what must not reach the CPU as the guest wants it. */
#define CR0_OWNED (CR0_NE | CR0_CD | CR0_NW)

/* Owned with gva_cache=exits: what a translation depends on. */
#define CR0_TRANSLATION (CR0_PG | CR0_WP)
#define CR4_TRANSLATION (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE)

void control_registers_setup(struct vcpu *vcpu)
{
    bool exits = vcpu->mmio.cache.mode == GVA_CACHE_EXITS;
    uint64_t cr4_fixed = vmx_cr4_must_be_1(&vmx.msrs) | ~features_cr4();

    vmwrite(VMCS_CR0_GUEST_HOST_MASK, CR0_OWNED | (exits ? CR0_TRANSLATION : 0));
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, cr4_fixed | (exits ? CR4_TRANSLATION : 0));
    if (exits)
        vmx_set_primary(PRIMARY_CR3_LOAD_EXITING | PRIMARY_INVLPG_EXITING, true);
}

static void flush(struct vcpu *vcpu, unsigned type)
{
    tlb_invvpid(&vcpu->vm->mmu, type, vcpu->vpid, GVA(0), INVVPID_GUEST);
}

static void finish(struct vcpu *vcpu, enum control_effect effect)
{
    if (effect == CONTROL_FAULT) {
        vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
        return;
    }
    if (effect >= CONTROL_FORGET)
        mmio_cache_clear_gva(&vcpu->mmio.cache);
    if (effect >= CONTROL_FLUSH)
        flush(vcpu, effect == CONTROL_FLUSH ? INVVPID_GLOBALS : INVVPID_SINGLE);
    vmx_skip_instruction(&vcpu->vmx);
}

/* CR8 is bits 7:4 of the task priority. */
static enum control_effect set_cr8(struct vcpu *vcpu, uint64_t value)
{
    if (value > 15)
        return CONTROL_FAULT;
    lapic_write(&vcpu->lapic, LAPIC_TPR, (uint32_t)value << 4);
    return CONTROL_DONE;
}

static enum control_effect mov_to(struct vcpu *vcpu, const struct control_rules *rules,
                                  unsigned number, uint64_t value)
{
    if (!vmx_in_64_bit_code())
        value = (uint32_t)value;
    switch (number) {
    case 0:
        return control_set_cr0(rules, value);
    case 3:
        return control_set_cr3(rules, value);
    case 4:
        return control_set_cr4(rules, value);
    case 8:
        return set_cr8(vcpu, value);
    default:
        BUG_ON(true);
    }
}

void exit_cr_access(struct vcpu *vcpu)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    const struct control_rules rules = {.cpu = cpu,
                                        .mmu = &vcpu->vm->mmu,
                                        .cr4_offered = features_cr4(),
                                        .maxphyaddr = vmx.maxphyaddr};
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    unsigned gpr = (unsigned)field_get(qualification, CR_GPR);
    enum control_effect effect = CONTROL_DONE;

    switch ((enum cr_access_type)field_get(qualification, CR_TYPE)) {
    case CR_MOV_TO:
        effect =
            mov_to(vcpu, &rules, (unsigned)field_get(qualification, CR_NUMBER), cpu_gpr(cpu, gpr));
        break;
    case CR_MOV_FROM: /* of CR8; CR3 is read without an exit */
        cpu_set_gpr(cpu, gpr, lapic_read(&vcpu->lapic, LAPIC_TPR) >> 4);
        break;
    case CR_CLTS:
        effect = control_set_cr0(&rules, cpu_reg(cpu, REG_CR0) & ~CR0_TS);
        break;
    case CR_LMSW:
        effect = control_lmsw(&rules, (uint16_t)field_get(qualification, LMSW_SOURCE));
        break;
    }
    finish(vcpu, effect);
}
