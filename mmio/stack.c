/*
 * PUSH, POP, CALL and JMP through memory: an operand and the stack, either of which may be what the
 * exit was for. Called by mmio_emulate(). Pure.
 *
 * Both operands are opened before the first is read, so a fault of the stack finds the device
 * untouched.
 */
#include "mmio/execute.h"

#include "lib/bits.h"

#define VECTOR_GP 13

/* The stack pointer has 64 bits in 64-bit code, else 32 or 16 by SS.B. */
static uint64_t stack_mask(struct emulation *e)
{
    if (mmio_code_size(e->context) == CODE_64)
        return ~0ull;
    return cpu_reg(e->vcpu->cpu, REG_SEG_AR + SEG_SS) & SEG_AR_DB ? 0xffffffff : 0xffff;
}

static void set_stack_pointer(struct emulation *e, uint64_t value)
{
    uint64_t mask = stack_mask(e), old = cpu_reg(e->vcpu->cpu, REG_RSP);
    cpu_set_reg(e->vcpu->cpu, REG_RSP, (old & ~mask) | (value & mask));
}

/* A near branch to where no code can be. */
static bool target_faults(struct emulation *e, uint64_t target)
{
    if (mmio_code_size(e->context) == CODE_64)
        return !address_is_canonical(target);
    return target > (uint32_t)cpu_reg(e->vcpu->cpu, REG_SEG_LIMIT + SEG_CS);
}

/* PUSH and CALL: `operand` is where the value or target comes from. */
static enum mmio_outcome push(struct emulation *e, const struct operand *operand)
{
    struct operand stack;
    uint64_t value = 0, size = e->insn->size;
    uint64_t top = (cpu_reg(e->vcpu->cpu, REG_RSP) - size) & stack_mask(e);
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
        if (target_faults(e, value))
            return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
        target = value;
        value = e->next;
    }
    outcome = operand_write(e, &stack, &value);
    if (outcome != MMIO_DONE)
        return outcome;
    set_stack_pointer(e, top);
    e->next = target;
    return MMIO_DONE;
}

/* The operand's address sees the stack pointer as it is afterwards (SDM 2, POP). */
static enum mmio_outcome pop(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operand stack, operand;
    uint64_t value = 0, top = cpu_reg(e->vcpu->cpu, REG_RSP) & stack_mask(e);
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
        set_stack_pointer(e, top + i->size);
    return outcome;
}

static enum mmio_outcome jump(struct emulation *e, const struct operand *operand)
{
    uint64_t target = 0;
    if (!e->touched)
        return MMIO_STALE;
    enum mmio_outcome outcome = operand_read(e, operand, &target);
    if (outcome != MMIO_DONE)
        return outcome;
    if (target_faults(e, target))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    e->next = target;
    return MMIO_DONE;
}

enum mmio_outcome execute_stack(struct emulation *e)
{
    struct operand operand;
    if (e->insn->op == INSN_POP)
        return pop(e);
    enum mmio_outcome outcome = operand_open_memory(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    return e->insn->op == INSN_JMP ? jump(e, &operand) : push(e, &operand);
}
