/*
 * String instructions: MOVS, CMPS, STOS, LODS and SCAS, with their repetitions. Called by
 * mmio_emulate(). Pure.
 *
 * Each iteration is complete in itself, registers included, so a repetition can stop after any of
 * them: at a fault of the next one, for a single step, where it leaves the page that the exit was
 * for (the CPU goes on alone), and after a number of them, so that events are not kept waiting.
 */
#include "mmio/execute.h"

#include "mmio/alu.h"

#define ITERATIONS 64 /* in one exit */

#define RFLAGS_TF BIT(8)
#define RFLAGS_DF BIT(10)

/* rSI, rDI and rCX have the size of addresses. */
static unsigned register_size(const struct insn *i)
{
    return i->address_mask == 0xffff ? 2 : i->address_mask == 0xffffffff ? 4 : 8;
}

static void advance(struct emulation *e, unsigned gpr)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t step = e->rflags & RFLAGS_DF ? -(uint64_t)i->size : i->size;
    gpr_write(cpu, gpr, register_size(i), false, cpu->gpr[gpr] + step);
}

/* After the first iteration the exit's page is still known to be MMIO. */
static bool in_page_of_exit(struct emulation *e, struct operand *operand)
{
    bool touched = false;
    for (unsigned n = 0; n < 2 && operand->fragments[n].size; n++)
        if (gpa_to_alias(operand->fragments[n].gpa).v == gpa_to_alias(e->gpa).v) {
            operand->fragments[n].device = e->target != TARGET_MEMORY;
            touched = true;
        }
    return touched;
}

static void compare(struct emulation *e, uint64_t first, uint64_t second)
{
    struct alu a = {.a = first, .b = second, .flags = e->rflags & ALU_FLAGS};
    if (alu(INSN_CMP, e->insn->size, &a))
        e->rflags = (e->rflags & ~ALU_FLAGS) | a.flags;
}

/* What is done between the operands, which are open. */
static enum mmio_outcome act(struct emulation *e, const struct operand *si,
                             const struct operand *di)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t first = gpr_read(cpu, GPR_RAX, i->size, false), second = 0;
    enum mmio_outcome outcome = MMIO_DONE;
    if (insn_row(i)->flags & INSN_SI)
        outcome = operand_read(e, si, &first);
    if (outcome == MMIO_DONE && (i->op == INSN_CMPS || i->op == INSN_SCAS))
        outcome = operand_read(e, di, &second);
    if (outcome != MMIO_DONE)
        return outcome;
    if (i->write)
        return operand_write(e, di, &first);
    if (i->op == INSN_LODS)
        gpr_write(cpu, GPR_RAX, i->size, false, first);
    else
        compare(e, first, second);
    return MMIO_DONE;
}

/* One iteration. MMIO_STALE: it has nothing to do with the page of the exit; nothing is done. */
static enum mmio_outcome iterate(struct emulation *e, bool is_first)
{
    const struct insn *i = e->insn;
    uint16_t flags = insn_row(i)->flags;
    const struct cpu_regs *cpu = e->vcpu->cpu;
    struct operand si, di;
    enum mmio_outcome outcome = MMIO_DONE;
    bool near = false;
    if (flags & INSN_SI) {
        outcome =
            operand_open(e, &si, i->segment, cpu->gpr[GPR_RSI] & i->address_mask, i->size, false);
        if (outcome != MMIO_DONE)
            return outcome;
        near = in_page_of_exit(e, &si);
    }
    if (flags & INSN_DI) {
        outcome =
            operand_open(e, &di, SEG_ES, cpu->gpr[GPR_RDI] & i->address_mask, i->size, i->write);
        if (outcome != MMIO_DONE)
            return outcome;
        near |= in_page_of_exit(e, &di);
    }
    if (is_first ? !e->touched : !near)
        return MMIO_STALE;
    outcome = act(e, &si, &di);
    if (outcome != MMIO_DONE)
        return outcome;
    if (flags & INSN_SI)
        advance(e, GPR_RSI);
    if (flags & INSN_DI)
        advance(e, GPR_RDI);
    return MMIO_DONE;
}

/* Counts an iteration. True: there is another one. */
static bool goes_on(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    gpr_write(cpu, GPR_RCX, register_size(i), false, cpu->gpr[GPR_RCX] - 1);
    if (!(cpu->gpr[GPR_RCX] & i->address_mask))
        return false;
    bool equal = e->rflags & ALU_ZF;
    return (i->op != INSN_CMPS && i->op != INSN_SCAS) || equal == (i->repeat == 0xf3);
}

enum mmio_outcome execute_string(struct emulation *e)
{
    const struct insn *i = e->insn;
    if (!i->repeat)
        return iterate(e, true);
    if (!(e->vcpu->cpu->gpr[GPR_RCX] & i->address_mask))
        return MMIO_STALE; /* touches nothing */
    for (unsigned n = 0; n < ITERATIONS; n++) {
        enum mmio_outcome outcome = iterate(e, !n);
        if (n && outcome == MMIO_STALE)
            break;
        if (outcome != MMIO_DONE)
            return outcome;
        if (!goes_on(e))
            return MMIO_DONE;
        if (e->rflags & RFLAGS_TF)
            break;
    }
    e->paused = true;
    return MMIO_DONE;
}
