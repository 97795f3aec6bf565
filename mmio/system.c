/* SPDX-License-Identifier: MIT */
/*
 * Instructions that read or write the registers of the descriptor tables, the task register and the
 * machine status word, and those that inspect a selector. Called by mmio_emulate(). Pure.
 */
#include "mmio/descriptor.h"
#include "mmio/execute.h"

#include "arch/x86/reg_bits.h"
#include "lib/string.h"
#include "mmio/alu.h"

#define VECTOR_UD 6
#define VECTOR_NP 11
#define VECTOR_GP 13

/* What LAR loads, and the bits of it that have a 16-bit operand. */
#define LAR_RIGHTS    0x00ffff00u
#define LAR_RIGHTS_16 0xff00u

static bool is_protected(const struct emulation *e)
{
    return e->context->protected && !(e->context->rflags & RFLAGS_VM);
}

/* The vector of the fault that the mode or the privilege causes, or -1. Each instruction is
 * defined, privileged, or subject to CR4.UMIP as the SDM says (SDM 2; SDM 3, 2.5). */
static int refused(struct emulation *e)
{
    unsigned cpl = cpu_cpl(e->vcpu->cpu);
    switch (e->insn->op) {
    case INSN_SLDT:
    case INSN_STR:
        if (!is_protected(e))
            return VECTOR_UD;
        break;
    case INSN_SGDT:
    case INSN_SIDT:
    case INSN_SMSW:
        break;
    case INSN_LLDT:
    case INSN_LTR:
        if (!is_protected(e))
            return VECTOR_UD;
        return cpl ? VECTOR_GP : -1;
    case INSN_LGDT:
    case INSN_LIDT:
    case INSN_LMSW:
        return cpl ? VECTOR_GP : -1;
    default:
        return is_protected(e) ? -1 : VECTOR_UD;
    }
    return cpl && cpu_reg(e->vcpu->cpu, REG_CR4) & CR4_UMIP ? VECTOR_GP : -1;
}

/* ---- Descriptor tables ----------------------------------------------------------------------- */

static enum mmio_outcome store_table(struct emulation *e, const struct operand *operand)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    bool gdt = e->insn->op == INSN_SGDT;
    uint16_t limit = (uint16_t)cpu_reg(cpu, gdt ? REG_GDTR_LIMIT : REG_IDTR_LIMIT);
    uint64_t base = cpu_reg(cpu, gdt ? REG_GDTR_BASE : REG_IDTR_BASE);
    uint8_t bytes[10];
    memcpy(bytes, &limit, 2);
    memcpy(bytes + 2, &base, 8);
    return operand_write(e, operand, bytes);
}

/* With a 16-bit operand, the base has 24 bits. In 64-bit code it has 64 and must be canonical. */
static enum mmio_outcome load_table(struct emulation *e, const struct operand *operand)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    bool gdt = e->insn->op == INSN_LGDT;
    uint8_t bytes[10] = {0};
    uint16_t limit;
    uint64_t base;
    enum mmio_outcome outcome = operand_read(e, operand, bytes);
    if (outcome != MMIO_DONE)
        return outcome;
    memcpy(&limit, bytes, 2);
    memcpy(&base, bytes + 2, 8);
    if (e->insn->code != CODE_64 && e->insn->reg_size == 2)
        base &= 0xffffff;
    if (!address_is_canonical(base))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    cpu_set_reg(cpu, gdt ? REG_GDTR_BASE : REG_IDTR_BASE, base);
    cpu_set_reg(cpu, gdt ? REG_GDTR_LIMIT : REG_IDTR_LIMIT, limit);
    return MMIO_DONE;
}

/* ---- System segments ------------------------------------------------------------------------- */

static enum mmio_outcome load_ldtr(struct emulation *e, uint16_t selector)
{
    struct descriptor d;
    if (selector_is_null(selector)) {
        cpu_set_reg(e->vcpu->cpu, REG_SEG_SELECTOR + SEG_LDTR, selector);
        cpu_set_reg(e->vcpu->cpu, REG_SEG_AR + SEG_LDTR, SEG_AR_UNUSABLE);
        return MMIO_DONE;
    }
    if (selector & SELECTOR_TI)
        return descriptor_fault(e, VECTOR_GP, selector);
    enum mmio_outcome outcome = descriptor_need(e, selector, VECTOR_GP, &d);
    if (outcome != MMIO_DONE)
        return outcome;
    if ((d.rights & (SEG_AR_S | SEG_AR_TYPE)) != SYSTEM_LDT || !address_is_canonical(d.base))
        return descriptor_fault(e, VECTOR_GP, selector);
    if (!(d.rights & SEG_AR_P))
        return descriptor_fault(e, VECTOR_NP, selector);
    descriptor_load(e, SEG_LDTR, &d);
    return MMIO_DONE;
}

/* The TSS must be available, and becomes busy. IA-32e mode has no 16-bit ones. */
static enum mmio_outcome load_tr(struct emulation *e, uint16_t selector)
{
    struct descriptor d;
    if (selector_is_null(selector) || selector & SELECTOR_TI)
        return descriptor_fault(e, VECTOR_GP, selector);
    enum mmio_outcome outcome = descriptor_need(e, selector, VECTOR_GP, &d);
    if (outcome != MMIO_DONE)
        return outcome;
    unsigned type = d.rights & (SEG_AR_S | SEG_AR_TYPE);
    bool old = type == SYSTEM_TSS_16 && !(e->context->key & KEY_LMA);
    if ((type != SYSTEM_TSS && !old) || !address_is_canonical(d.base))
        return descriptor_fault(e, VECTOR_GP, selector);
    if (!(d.rights & SEG_AR_P))
        return descriptor_fault(e, VECTOR_NP, selector);
    outcome = descriptor_set(e, &d, RIGHTS_TSS_BUSY);
    if (outcome == MMIO_DONE)
        descriptor_load(e, SEG_TR, &d);
    return outcome;
}

/* ---- Inspecting a selector ------------------------------------------------------------------- */

/* Whether code at this CPL could load the segment, or the segment is a conforming code segment. */
static bool is_visible(struct emulation *e, const struct descriptor *d)
{
    unsigned cpl = cpu_cpl(e->vcpu->cpu), rpl = d->selector & SELECTOR_RPL;
    if (descriptor_is_code(d) && d->rights & RIGHTS_CONFORMING)
        return true;
    return descriptor_dpl(d) >= cpl && descriptor_dpl(d) >= rpl;
}

static bool allows_access(const struct descriptor *d, bool write)
{
    if (!(d->rights & SEG_AR_S))
        return false;
    if (d->rights & RIGHTS_CODE)
        return !write && d->rights & RIGHTS_WRITABLE;
    return !write || d->rights & RIGHTS_WRITABLE;
}

/* The types of system descriptors for which LAR and LSL are valid, as masks (SDM 2, tables 3-51 and
 * 3-54). */
static bool has_rights(struct emulation *e, const struct descriptor *d)
{
    bool long_mode = e->context->key & KEY_LMA, lar = e->insn->op == INSN_LAR;
    unsigned valid = long_mode ? 0x0a04 : 0x0a0e;
    if (lar)
        valid = long_mode ? 0x1a04 : 0x1a3e;
    return d->rights & SEG_AR_S || valid >> (d->rights & SEG_AR_TYPE) & 1;
}

/* VERR, VERW, LAR and LSL set ZF if the selector is good, and raise no fault if it is not. */
static enum mmio_outcome inspect(struct emulation *e, uint16_t selector)
{
    const struct insn *i = e->insn;
    struct descriptor d;
    bool good;
    enum mmio_outcome outcome = descriptor_read(e, selector, &d, &good);
    if (outcome != MMIO_DONE)
        return outcome;
    if (good && i->op != INSN_LAR && i->op != INSN_LSL)
        good = allows_access(&d, i->op == INSN_VERW) && is_visible(e, &d);
    else if (good)
        good = has_rights(e, &d) && is_visible(e, &d);
    e->rflags = (e->rflags & ~ALU_ZF) | (good ? ALU_ZF : 0);
    if (good && i->op == INSN_LAR)
        gpr_write(e->vcpu->cpu, i->reg, i->reg_size, false,
                  d.words[1] & (i->reg_size == 2 ? LAR_RIGHTS_16 : LAR_RIGHTS));
    if (good && i->op == INSN_LSL)
        gpr_write(e->vcpu->cpu, i->reg, i->reg_size, false, d.limit);
    return MMIO_DONE;
}

/* ---- The instructions ------------------------------------------------------------------------ */

static enum mmio_outcome store_word(struct emulation *e, const struct operand *operand)
{
    static const uint8_t registers[] = {
        [INSN_SLDT - INSN_SLDT] = REG_SEG_SELECTOR + SEG_LDTR,
        [INSN_STR - INSN_SLDT] = REG_SEG_SELECTOR + SEG_TR,
        [INSN_SMSW - INSN_SLDT] = REG_CR0,
    };
    uint64_t value = cpu_reg(e->vcpu->cpu, registers[e->insn->op - INSN_SLDT]);
    return operand_write(e, operand, &value);
}

static enum mmio_outcome use_word(struct emulation *e, const struct operand *operand)
{
    uint16_t word = 0;
    enum mmio_outcome outcome = operand_read(e, operand, &word);
    if (outcome != MMIO_DONE)
        return outcome;
    switch (e->insn->op) {
    case INSN_LMSW:
        return mmio_lmsw(e->vcpu, word) ? MMIO_DONE
                                        : mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    case INSN_LLDT:
        return load_ldtr(e, word);
    case INSN_LTR:
        return load_tr(e, word);
    default:
        return inspect(e, word);
    }
}

enum mmio_outcome execute_system(struct emulation *e)
{
    struct operand operand;
    int vector = refused(e);
    if (vector >= 0)
        return mmio_inject(e->vcpu, e->context, (uint8_t)vector, 0);
    enum mmio_outcome outcome = operand_open_only(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    switch (e->insn->op) {
    case INSN_SGDT:
    case INSN_SIDT:
        return store_table(e, &operand);
    case INSN_LGDT:
    case INSN_LIDT:
        return load_table(e, &operand);
    case INSN_SLDT:
    case INSN_STR:
    case INSN_SMSW:
        return store_word(e, &operand);
    default:
        return use_word(e, &operand);
    }
}
