/* SPDX-License-Identifier: MIT */
/*
 * Loads of segment registers, and far JMP and CALL, with the selector in memory. Called by
 * mmio_emulate(). Pure.
 *
 * A far transfer reaches a code segment, directly or by a call gate, at the same privilege level.
 * One that would change the level, or switch tasks, ends the VM as an instruction that is not
 * emulated.
 */
#include "mmio/descriptor.h"
#include "mmio/execute.h"

#include "arch/x86/reg_bits.h"
#include "lib/string.h"

#define VECTOR_NP 11
#define VECTOR_SS 12
#define VECTOR_GP 13

#define RIGHTS_REAL_MODE 0x93u /* a data segment as after a reset */

static bool has_descriptors(const struct emulation *e)
{
    return e->context->protected && !(e->context->rflags & RFLAGS_VM);
}

/* ---- Data segments --------------------------------------------------------------------------- */

/* In real and virtual-8086 mode the base follows from the selector, and the rest stays; but a
 * segment that protected mode has left unusable can be used again. */
static void load_plain(struct emulation *e, unsigned segment, uint16_t selector)
{
    if (cpu_reg(e->vcpu->cpu, REG_SEG_AR + segment) & SEG_AR_UNUSABLE) {
        cpu_set_reg(e->vcpu->cpu, REG_SEG_AR + segment, RIGHTS_REAL_MODE);
        cpu_set_reg(e->vcpu->cpu, REG_SEG_LIMIT + segment, 0xffff);
    }
    cpu_set_reg(e->vcpu->cpu, REG_SEG_SELECTOR + segment, selector);
    cpu_set_reg(e->vcpu->cpu, REG_SEG_BASE + segment, (uint64_t)selector << 4);
}

/* The privilege level of SS remains where it is kept, in the DPL. FS and GS lose their bases, as on
 * Intel's CPUs. */
static void load_null(struct emulation *e, unsigned segment, uint16_t selector)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t dpl = segment == SEG_SS ? cpu_reg(cpu, REG_SEG_AR + SEG_SS) & SEG_AR_DPL : 0;
    cpu_set_reg(cpu, REG_SEG_SELECTOR + segment, selector);
    cpu_set_reg(cpu, REG_SEG_BASE + segment, 0);
    cpu_set_reg(cpu, REG_SEG_AR + segment, SEG_AR_UNUSABLE | dpl);
}

static bool stack_is_legal(struct emulation *e, const struct descriptor *d)
{
    unsigned cpl = cpu_cpl(e->vcpu->cpu);
    return (d->rights & (SEG_AR_S | RIGHTS_CODE | RIGHTS_WRITABLE)) ==
               (SEG_AR_S | RIGHTS_WRITABLE) &&
           (d->selector & SELECTOR_RPL) == cpl && descriptor_dpl(d) == cpl;
}

static bool data_is_legal(struct emulation *e, const struct descriptor *d)
{
    unsigned cpl = cpu_cpl(e->vcpu->cpu), rpl = d->selector & SELECTOR_RPL;
    bool code = d->rights & RIGHTS_CODE;
    if (!(d->rights & SEG_AR_S) || (code && !(d->rights & RIGHTS_WRITABLE)))
        return false;
    return (code && d->rights & RIGHTS_CONFORMING) ||
           (descriptor_dpl(d) >= cpl && descriptor_dpl(d) >= rpl);
}

static enum mmio_outcome load_segment(struct emulation *e, unsigned segment, uint16_t selector)
{
    struct descriptor d;
    bool stack = segment == SEG_SS;
    if (!has_descriptors(e)) {
        load_plain(e, segment, selector);
        return MMIO_DONE;
    }
    if (selector_is_null(selector)) {
        unsigned cpl = cpu_cpl(e->vcpu->cpu);
        if (stack && (e->insn->code != CODE_64 || cpl == 3 || selector != cpl))
            return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
        load_null(e, segment, selector);
        return MMIO_DONE;
    }
    enum mmio_outcome outcome = descriptor_need(e, selector, VECTOR_GP, &d);
    if (outcome != MMIO_DONE)
        return outcome;
    if (stack ? !stack_is_legal(e, &d) : !data_is_legal(e, &d))
        return descriptor_fault(e, VECTOR_GP, selector);
    if (!(d.rights & SEG_AR_P))
        return descriptor_fault(e, stack ? VECTOR_SS : VECTOR_NP, selector);
    outcome = descriptor_set(e, &d, RIGHTS_ACCESSED);
    if (outcome == MMIO_DONE)
        descriptor_load(e, segment, &d);
    return outcome;
}

/* The segment register that LDS, LES, LFS, LGS or LSS loads. */
static unsigned pointer_segment(const struct insn *i)
{
    switch (insn_row(i)->opcode & 0xff) {
    case 0xc4:
        return SEG_ES;
    case 0xc5:
        return SEG_DS;
    case 0xb2:
        return SEG_SS;
    default:
        return insn_row(i)->opcode & 1 ? SEG_GS : SEG_FS;
    }
}

/* ---- Code segments --------------------------------------------------------------------------- */

/* A far transfer: where it goes, and what it pushes. */
struct transfer {
    struct descriptor code;
    uint64_t target;
    unsigned size; /* of each value that a CALL pushes */
    bool gate;
};

/* Replaces a call gate by the code segment and the offset in it. */
static enum mmio_outcome follow_gate(struct emulation *e, struct transfer *t)
{
    struct descriptor gate = t->code;
    unsigned type = gate.rights & SEG_AR_TYPE, cpl = cpu_cpl(e->vcpu->cpu);
    bool long_mode = e->context->key & KEY_LMA;
    if (type != SYSTEM_GATE && (long_mode || type != SYSTEM_GATE_16)) {
        bool task = type == SYSTEM_TASK_GATE || type == SYSTEM_TSS || type == SYSTEM_TSS_16;
        return task && !long_mode
                   ? mmio_not_emulated(e->vcpu, e->gpa, "a far transfer to another task")
                   : descriptor_fault(e, VECTOR_GP, gate.selector);
    }
    if (descriptor_dpl(&gate) < cpl || descriptor_dpl(&gate) < (gate.selector & SELECTOR_RPL))
        return descriptor_fault(e, VECTOR_GP, gate.selector);
    if (!(gate.rights & SEG_AR_P))
        return descriptor_fault(e, VECTOR_NP, gate.selector);
    t->gate = true;
    t->size = long_mode ? 8 : type == SYSTEM_GATE ? 4 : 2;
    t->target = gate.words[0] & 0xffff;
    if (type == SYSTEM_GATE)
        t->target |= gate.words[1] & 0xffff0000;
    if (long_mode)
        t->target |= (uint64_t)gate.words[2] << 32;
    uint16_t selector = (uint16_t)(gate.words[0] >> 16);
    if (selector_is_null(selector))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    return descriptor_need(e, selector, VECTOR_GP, &t->code);
}

static enum mmio_outcome check_code(struct emulation *e, struct transfer *t)
{
    struct descriptor *code = &t->code;
    unsigned cpl = cpu_cpl(e->vcpu->cpu), rpl = code->selector & SELECTOR_RPL;
    unsigned dpl = descriptor_dpl(code);
    bool long_mode = e->context->key & KEY_LMA;
    bool wide = long_mode && code->rights & SEG_AR_L;
    if (!descriptor_is_code(code) || (wide && code->rights & SEG_AR_DB) ||
        (t->gate && long_mode && !wide))
        return descriptor_fault(e, VECTOR_GP, code->selector);
    bool conforming = code->rights & RIGHTS_CONFORMING;
    if (dpl > cpl || (!conforming && !t->gate && (rpl > cpl || dpl != cpl)))
        return descriptor_fault(e, VECTOR_GP, code->selector);
    if (!conforming && dpl != cpl) {
        if (e->insn->op == INSN_JMP_FAR)
            return descriptor_fault(e, VECTOR_GP, code->selector);
        return mmio_not_emulated(e->vcpu, e->gpa, "a far transfer to another privilege level");
    }
    if (!(code->rights & SEG_AR_P))
        return descriptor_fault(e, VECTOR_NP, code->selector);
    if (wide ? !address_is_canonical(t->target) : t->target > code->limit)
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    code->selector = (uint16_t)((code->selector & ~SELECTOR_RPL) | cpl);
    return MMIO_DONE;
}

/* Finds and checks the code segment of a pointer; changes nothing. */
static enum mmio_outcome find_code(struct emulation *e, struct transfer *t, uint16_t selector)
{
    if (!has_descriptors(e)) {
        bool inside = t->target <= (uint32_t)cpu_reg(e->vcpu->cpu, REG_SEG_LIMIT + SEG_CS);
        t->code.selector = selector;
        return inside ? MMIO_DONE : mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    }
    if (selector_is_null(selector))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    enum mmio_outcome outcome = descriptor_need(e, selector, VECTOR_GP, &t->code);
    if (outcome == MMIO_DONE && !(t->code.rights & SEG_AR_S))
        outcome = follow_gate(e, t);
    return outcome == MMIO_DONE ? check_code(e, t) : outcome;
}

/* Pushes CS and the address of the next instruction, of `size` bytes each, as one operand. */
static enum mmio_outcome push_return(struct emulation *e, unsigned size)
{
    struct operand stack;
    uint8_t bytes[16] = {0};
    uint64_t cs = cpu_reg(e->vcpu->cpu, REG_SEG_SELECTOR + SEG_CS);
    uint64_t top = stack_below(e, 2 * size);
    enum mmio_outcome outcome = operand_open(e, &stack, SEG_SS, top, 2 * size, true);
    if (outcome != MMIO_DONE)
        return outcome;
    memcpy(bytes, &e->next, size);
    memcpy(bytes + size, &cs, 2);
    outcome = operand_write(e, &stack, bytes);
    if (outcome == MMIO_DONE)
        stack_set_pointer(e, top);
    return outcome;
}

static enum mmio_outcome transfer(struct emulation *e, uint64_t offset, uint16_t selector)
{
    struct transfer t = {.target = offset, .size = e->insn->size - 2u};
    enum mmio_outcome outcome = find_code(e, &t, selector);
    if (outcome == MMIO_DONE && has_descriptors(e))
        outcome = descriptor_set(e, &t.code, RIGHTS_ACCESSED);
    if (outcome == MMIO_DONE && e->insn->op == INSN_CALL_FAR)
        outcome = push_return(e, t.size);
    if (outcome != MMIO_DONE)
        return outcome;
    if (has_descriptors(e))
        descriptor_load(e, SEG_CS, &t.code);
    else
        load_plain(e, SEG_CS, selector);
    e->next = t.target;
    return MMIO_DONE;
}

/* ---- The instructions ------------------------------------------------------------------------ */

enum mmio_outcome execute_far(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operand operand;
    uint8_t bytes[10] = {0};
    uint64_t offset = 0;
    uint16_t selector;
    enum mmio_outcome outcome = operand_open_only(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    outcome = operand_read(e, &operand, bytes);
    if (outcome != MMIO_DONE)
        return outcome;
    memcpy(&offset, bytes, i->size - 2u);
    memcpy(&selector, bytes + i->size - 2, 2);
    switch (i->op) {
    case INSN_LOAD_SEGMENT:
        outcome = load_segment(e, i->reg, selector);
        if (outcome == MMIO_DONE && i->reg == SEG_SS)
            e->breakpoints |= BREAKPOINTS_MOV_SS;
        return outcome;
    case INSN_LOAD_POINTER:
        outcome = load_segment(e, pointer_segment(i), selector);
        if (outcome == MMIO_DONE)
            gpr_write(e->vcpu->cpu, i->reg, i->reg_size, false, offset);
        return outcome;
    default:
        return transfer(e, offset, selector);
    }
}
