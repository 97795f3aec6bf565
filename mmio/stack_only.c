/* SPDX-License-Identifier: MIT */
/*
 * Instructions that access no memory but the stack, for a guest whose stack is MMIO. Called by
 * mmio_emulate(). Pure.
 */
#include "mmio/execute.h"

#include "arch/x86/reg_bits.h"
#include "lib/string.h"

#define VECTOR_GP 13

#define FRAME_LEVELS 1u /* of ENTER: how many frame pointers it may push */

#define RFLAGS_IOPL BITS(13, 12)
#define RFLAGS_VIF  BIT(19)

/* Opens `size` bytes at the offset `top` of the stack. */
static enum mmio_outcome open_stack(struct emulation *e, struct operand *stack, uint64_t top,
                                    unsigned size, bool write)
{
    enum mmio_outcome outcome = operand_open(e, stack, SEG_SS, top, size, write);
    return outcome == MMIO_DONE && !e->touched ? MMIO_STALE : outcome;
}

static enum mmio_outcome push(struct emulation *e, uint64_t value)
{
    struct operand stack;
    unsigned size = e->insn->size;
    uint64_t top = stack_below(e, size);
    enum mmio_outcome outcome = open_stack(e, &stack, top, size, true);
    if (outcome == MMIO_DONE)
        outcome = operand_write(e, &stack, &value);
    if (outcome == MMIO_DONE)
        stack_set_pointer(e, top);
    return outcome;
}

/* Reads the value at the offset `top`, without moving the stack pointer. */
static enum mmio_outcome pop(struct emulation *e, uint64_t top, uint64_t *value)
{
    struct operand stack;
    *value = 0;
    enum mmio_outcome outcome = open_stack(e, &stack, top, e->insn->size, false);
    return outcome == MMIO_DONE ? operand_read(e, &stack, value) : outcome;
}

/* Virtual-8086 mode with an IOPL below 3 raises #GP, or, with CR4.VME and a 16-bit operand, pushes
 * VIF in the place of IF (SDM 3, 21.3). RF and VM are pushed as 0. */
static enum mmio_outcome push_flags(struct emulation *e)
{
    uint64_t flags = e->rflags & ~RFLAGS_VM;
    if (e->rflags & RFLAGS_VM && (e->rflags & RFLAGS_IOPL) != RFLAGS_IOPL) {
        if (!(cpu_reg(e->vcpu->cpu, REG_CR4) & CR4_VME) || e->insn->size != 2)
            return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
        flags = (flags & ~RFLAGS_IF) | RFLAGS_IOPL | (flags & RFLAGS_VIF ? RFLAGS_IF : 0);
    }
    return push(e, flags);
}

static enum mmio_outcome pop_register(struct emulation *e)
{
    const struct insn *i = e->insn;
    uint64_t value, top = stack_below(e, 0);
    enum mmio_outcome outcome = pop(e, top, &value);
    if (outcome != MMIO_DONE)
        return outcome;
    stack_set_pointer(e, top + i->size);
    gpr_write(e->vcpu->cpu, i->reg, i->size, false, value);
    return MMIO_DONE;
}

static enum mmio_outcome call(struct emulation *e)
{
    uint64_t target = e->next + e->insn->imm;
    if (e->insn->size != 8)
        target &= ~0ull >> (64 - 8 * e->insn->size);
    if (stack_target_faults(e, target))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    enum mmio_outcome outcome = push(e, e->next);
    if (outcome == MMIO_DONE)
        e->next = target;
    return outcome;
}

static enum mmio_outcome ret(struct emulation *e)
{
    uint64_t target, top = stack_below(e, 0);
    enum mmio_outcome outcome = pop(e, top, &target);
    if (outcome != MMIO_DONE)
        return outcome;
    if (stack_target_faults(e, target))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    stack_set_pointer(e, top + e->insn->size + (e->insn->has_imm ? e->insn->imm : 0));
    e->next = target;
    return MMIO_DONE;
}

/* Pushes rBP, with level 1 the new frame pointer too, and makes room below. A write at the final
 * stack pointer would have to succeed (SDM 2, ENTER). */
static enum mmio_outcome enter(struct emulation *e)
{
    const struct insn *i = e->insn;
    unsigned level = i->imm >> 16 & 31, size = i->size;
    uint64_t room = i->imm & 0xffff, frame = stack_below(e, size),
             top = stack_below(e, size + level * size);
    struct operand stack, end;
    uint8_t bytes[16];
    uint64_t rbp = cpu_gpr(e->vcpu->cpu, GPR_RBP);
    if (level > FRAME_LEVELS)
        return mmio_not_emulated(e->vcpu, e->gpa, "ENTER with more than one level");
    enum mmio_outcome outcome = operand_open(e, &stack, SEG_SS, top, size + level * size, true);
    if (outcome == MMIO_DONE)
        outcome = open_stack(e, &end, stack_below(e, size + level * size + room), size, true);
    if (outcome != MMIO_DONE)
        return outcome;
    memcpy(bytes, &frame, size);
    memcpy(bytes + level * size, &rbp, size);
    outcome = operand_write(e, &stack, bytes);
    if (outcome != MMIO_DONE)
        return outcome;
    stack_set_pointer(e, top - room);
    gpr_write(e->vcpu->cpu, GPR_RBP, size, false, frame);
    return MMIO_DONE;
}

static enum mmio_outcome leave(struct emulation *e)
{
    uint64_t value, top = cpu_gpr(e->vcpu->cpu, GPR_RBP) & stack_mask(e);
    enum mmio_outcome outcome = pop(e, top, &value);
    if (outcome != MMIO_DONE)
        return outcome;
    stack_set_pointer(e, top + e->insn->size);
    gpr_write(e->vcpu->cpu, GPR_RBP, e->insn->size, false, value);
    return MMIO_DONE;
}

enum mmio_outcome execute_stack_only(struct emulation *e)
{
    const struct insn *i = e->insn;
    switch (i->op) {
    case INSN_PUSH_VALUE:
        return push(e, i->has_imm ? i->imm : cpu_gpr(e->vcpu->cpu, i->reg));
    case INSN_PUSH_FLAGS:
        return push_flags(e);
    case INSN_POP_GPR:
        return pop_register(e);
    case INSN_CALL_NEAR:
        return call(e);
    case INSN_RET:
        return ret(e);
    case INSN_ENTER:
        return enter(e);
    default:
        return leave(e);
    }
}
