/* SPDX-License-Identifier: MIT */
/*
 * PUSH, POP, CALL and JMP with a memory operand. The exit was for either this operand or the stack.
 * Called by mmio_emulate(). Pure.
 *
 * Both operands are opened before the first is read, so that a fault of the stack access comes
 * before any access of the device.
 */
#include "mmio/execute.h"

#include "lib/bits.h"

#define VECTOR_GP 13

/* The stack pointer has 64 bits in 64-bit code, and else 32 or 16 bits according to SS.B. */
uint64_t stack_mask(struct emulation *e)
{
    if (mmio_code_size(e->context) == CODE_64)
        return ~0ull;
    return cpu_reg(e->vcpu->cpu, REG_SEG_AR + SEG_SS) & SEG_AR_DB ? 0xffffffff : 0xffff;
}

uint64_t stack_below(struct emulation *e, uint64_t size)
{
    return (cpu_reg(e->vcpu->cpu, REG_RSP) - size) & stack_mask(e);
}

void stack_set_pointer(struct emulation *e, uint64_t value)
{
    uint64_t mask = stack_mask(e), old = cpu_reg(e->vcpu->cpu, REG_RSP);
    cpu_set_reg(e->vcpu->cpu, REG_RSP, (old & ~mask) | (value & mask));
}

/* The target is not canonical or exceeds CS.limit. */
bool stack_target_faults(struct emulation *e, uint64_t target)
{
    if (mmio_code_size(e->context) == CODE_64)
        return !address_is_canonical(target);
    return target > (uint32_t)cpu_reg(e->vcpu->cpu, REG_SEG_LIMIT + SEG_CS);
}

/* PUSH and CALL: `operand` contains the value to push or the target. */
static enum mmio_outcome stack_push(struct emulation *e, const struct operand *operand)
{
    struct operand stack;
    uint64_t value = 0, size = e->insn->size;
    uint64_t top = stack_below(e, size);
    enum mmio_outcome outcome = operand_open(e, &stack, SEG_SS, top, (unsigned)size, true);
    if (outcome != MMIO_DONE)
        return outcome;
    if (!e->touched)
        return MMIO_STALE;
    outcome = operand_read(e, operand, &value);
    if (outcome != MMIO_DONE)
        return outcome;
    uint64_t target = e->next;
    if (e->insn->op == INSN_CALL) {
        if (stack_target_faults(e, value))
            return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
        target = value;
        value = e->next;
    }
    outcome = operand_write(e, &stack, &value);
    if (outcome != MMIO_DONE)
        return outcome;
    stack_set_pointer(e, top);
    e->next = target;
    return MMIO_DONE;
}

/* An operand address with rSP as the base uses the incremented stack pointer (SDM 2, POP). */
static enum mmio_outcome stack_pop(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operand stack, operand;
    uint64_t value = 0, top = stack_below(e, 0);
    enum mmio_outcome outcome = operand_open(e, &stack, SEG_SS, top, i->size, false);
    if (outcome != MMIO_DONE)
        return outcome;
    uint64_t offset = mmio_effective(e->vcpu->cpu, i, e->next);
    if (i->base == GPR_RSP)
        offset = (offset + i->size) & i->address_mask;
    outcome = operand_open(e, &operand, i->segment, offset, i->size, true);
    if (outcome != MMIO_DONE)
        return outcome;
    if (!e->touched)
        return MMIO_STALE;
    outcome = operand_read(e, &stack, &value);
    if (outcome == MMIO_DONE)
        outcome = operand_write(e, &operand, &value);
    if (outcome == MMIO_DONE)
        stack_set_pointer(e, top + i->size);
    return outcome;
}

static enum mmio_outcome stack_jump(struct emulation *e, const struct operand *operand)
{
    uint64_t target = 0;
    if (!e->touched)
        return MMIO_STALE;
    enum mmio_outcome outcome = operand_read(e, operand, &target);
    if (outcome != MMIO_DONE)
        return outcome;
    if (stack_target_faults(e, target))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    e->next = target;
    return MMIO_DONE;
}

enum mmio_outcome execute_stack(struct emulation *e)
{
    struct operand operand;
    if (e->insn->op == INSN_POP)
        return stack_pop(e);
    enum mmio_outcome outcome = operand_open_memory(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    return e->insn->op == INSN_JMP ? stack_jump(e, &operand) : stack_push(e, &operand);
}
