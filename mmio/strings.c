/* SPDX-License-Identifier: MIT */
/*
 * String instructions: MOVS, CMPS, STOS, LODS and SCAS, with their REP prefixes. Called by
 * mmio_emulate(). Pure.
 *
 * Each iteration completes with its register updates, so that a repeated instruction can stop after
 * any iteration: at a fault of the next one, for a single step or a breakpoint, where the operands
 * leave the page that the exit was for (the CPU continues by itself), and after ITERATIONS, so that
 * events are not delayed. Operands are translated again only where they leave their pages, as if by
 * the CPU's TLB.
 */
#include "mmio/execute.h"

#include "arch/x86/reg_bits.h"
#include "mmio/alu.h"

#define ITERATIONS 64 /* in one exit */

/* The address size determines how many bytes of rSI, rDI and rCX are used. */
static unsigned string_register_size(const struct insn *i)
{
    return i->address_mask == 0xffff ? 2 : i->address_mask == 0xffffffff ? 4 : 8;
}

static void string_advance_register(struct emulation *e, unsigned gpr, uint64_t step)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    gpr_write(cpu, gpr, string_register_size(e->insn), false, cpu->gpr[gpr] + step);
}

/* Whether the operand lies in the page of the exit. This page is MMIO for later iterations, too, if
 * the exit was not for memory. */
static bool string_in_page_of_exit(struct emulation *e, struct operand *operand)
{
    bool touched = false;
    for (unsigned n = 0; n < 2 && operand->fragments[n].size; n++)
        if (gpa_to_alias(operand->fragments[n].gpa).v == gpa_to_alias(e->gpa).v) {
            operand->fragments[n].device = e->target != TARGET_MEMORY;
            touched = true;
        }
    return touched;
}

static void string_compare(struct emulation *e, uint64_t first, uint64_t second)
{
    struct alu a = {.a = first, .b = second, .flags = e->rflags & ALU_FLAGS};
    if (alu(INSN_CMP, e->insn->size, &a))
        e->rflags = (e->rflags & ~ALU_FLAGS) | a.flags;
}

/* The operands of an iteration, and of the following iterations as long as both stay in their
 * pages. */
struct operands {
    struct operand si, di;
    bool has_si, has_di;
};

/* Opens the operands of the next iteration. MMIO_STALE: the first iteration does not contain the
 * byte that the exit was for, or a later one does not access the page of the exit. */
static enum mmio_outcome string_open(struct emulation *e, struct operands *o, bool is_first)
{
    const struct insn *i = e->insn;
    const struct cpu_regs *cpu = e->vcpu->cpu;
    enum mmio_outcome outcome = MMIO_DONE;
    bool near = false;
    if (o->has_si) {
        outcome = operand_open(e, &o->si, i->segment, cpu->gpr[GPR_RSI] & i->address_mask, i->size,
                               false);
        if (outcome != MMIO_DONE)
            return outcome;
        near = string_in_page_of_exit(e, &o->si);
    }
    if (o->has_di) {
        outcome =
            operand_open(e, &o->di, SEG_ES, cpu->gpr[GPR_RDI] & i->address_mask, i->size, i->write);
        if (outcome != MMIO_DONE)
            return outcome;
        near |= string_in_page_of_exit(e, &o->di);
    }
    return (is_first ? e->touched : near) ? MMIO_DONE : MMIO_STALE;
}

static enum mmio_outcome string_act(struct emulation *e, const struct operands *o)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t first = gpr_read(cpu, GPR_RAX, i->size, false), second = 0;
    enum mmio_outcome outcome = MMIO_DONE;
    if (o->has_si)
        outcome = operand_read(e, &o->si, &first);
    if (outcome == MMIO_DONE && (i->op == INSN_CMPS || i->op == INSN_SCAS))
        outcome = operand_read(e, &o->di, &second);
    if (outcome != MMIO_DONE)
        return outcome;
    if (i->write)
        return operand_write(e, &o->di, &first);
    if (i->op == INSN_LODS)
        gpr_write(cpu, GPR_RAX, i->size, false, first);
    else
        string_compare(e, first, second);
    return MMIO_DONE;
}

/* The number of iterations for which an open operand stays in its page and its segment, moving by
 * `step`. `offset` is its offset at the first iteration. */
static unsigned string_stays_for(struct emulation *e, const struct operand *operand,
                                 unsigned segment, uint64_t offset, bool write, uint64_t step)
{
    unsigned size = operand->size;
    uint64_t in_page = page_offset(operand->linear), linear;
    uint8_t vector;
    if (operand->fragments[1].size)
        return 1;
    bool down = step >> 63;
    uint64_t count = down ? in_page / size + 1 : (PAGE_SIZE - in_page) / size;
    uint64_t below = (count - 1) * size;
    uint64_t first = down ? offset - below : offset, last = first + count * size - 1;
    bool wraps = first > last || last > e->insn->address_mask;
    if (wraps || !mmio_segment(e->vcpu->cpu, e->context, segment, first, (unsigned)(count * size),
                               write, &linear, &vector))
        return 1;
    return (unsigned)count;
}

/* Counts down rCX. True: there is another iteration. */
static bool string_goes_on(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    if (!i->repeat)
        return false;
    gpr_write(cpu, GPR_RCX, string_register_size(i), false, cpu->gpr[GPR_RCX] - 1);
    if (!(cpu->gpr[GPR_RCX] & i->address_mask))
        return false;
    bool equal = e->rflags & ALU_ZF;
    return (i->op != INSN_CMPS && i->op != INSN_SCAS) || equal == (i->repeat == 0xf3);
}

static void string_move_operand(struct operand *operand, uint64_t step)
{
    operand->linear += step;
    operand->fragments[0].gpa.v += step;
}

/* Makes at most `count` iterations with the open operands. `*more` tells whether another iteration
 * follows. */
static enum mmio_outcome string_iterate(struct emulation *e, struct operands *o, unsigned count,
                                        bool *more)
{
    uint64_t step = e->rflags & RFLAGS_DF ? -(uint64_t)e->insn->size : e->insn->size;
    do {
        enum mmio_outcome outcome = string_act(e, o);
        if (outcome != MMIO_DONE)
            return outcome;
        if (o->has_si)
            string_advance_register(e, GPR_RSI, step);
        if (o->has_di)
            string_advance_register(e, GPR_RDI, step);
        *more = string_goes_on(e);
        string_move_operand(&o->si, step);
        string_move_operand(&o->di, step);
    } while (--count && *more);
    return MMIO_DONE;
}

/* The number of iterations to make without opening the operands again: one while single-stepping or
 * with breakpoints, and else as long as both operands stay in their pages. */
static unsigned string_batch(struct emulation *e, const struct operands *o, unsigned most)
{
    const struct insn *i = e->insn;
    const struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t step = e->rflags & RFLAGS_DF ? -(uint64_t)i->size : i->size;
    unsigned count = most, n;
    if (!i->repeat || e->rflags & RFLAGS_TF || e->vcpu->breakpoints.on)
        return 1;
    if (o->has_si &&
        (n = string_stays_for(e, &o->si, i->segment, cpu->gpr[GPR_RSI] & i->address_mask, false,
                              step)) < count)
        count = n;
    if (o->has_di && (n = string_stays_for(e, &o->di, SEG_ES, cpu->gpr[GPR_RDI] & i->address_mask,
                                           i->write, step)) < count)
        count = n;
    return count;
}

enum mmio_outcome execute_string(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operands o = {.has_si = insn_row(i)->flags & INSN_SI,
                         .has_di = insn_row(i)->flags & INSN_DI};
    bool more = true;
    if (i->repeat && !(e->vcpu->cpu->gpr[GPR_RCX] & i->address_mask))
        return MMIO_STALE; /* no iteration, no access */
    for (unsigned done = 0; more && done < ITERATIONS;) {
        enum mmio_outcome outcome = string_open(e, &o, !done);
        if (done && outcome == MMIO_STALE) {
            e->breakpoints = 0; /* they belong to an iteration that the CPU makes */
            break;
        }
        if (outcome != MMIO_DONE)
            return outcome;
        unsigned count = string_batch(e, &o, ITERATIONS - done);
        outcome = string_iterate(e, &o, count, &more);
        if (outcome != MMIO_DONE)
            return outcome;
        done += count;
        if (e->rflags & RFLAGS_TF || e->breakpoints)
            break;
    }
    e->paused = more;
    return MMIO_DONE;
}
