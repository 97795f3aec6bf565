/* SPDX-License-Identifier: MIT */
/*
 * Moves between memory and MMX, SSE or AVX registers. Called by mmio_emulate(). Pure, except that
 * it reads and writes the registers through arch/x86/vector_regs.h (D9).
 */
#include "mmio/execute.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "arch/x86/vector_regs.h"

#define VECTOR_UD 6
#define VECTOR_NM 7
#define VECTOR_MF 16

#define XCR0_AVX (BIT(1) | BIT(2)) /* and SSE */

/* The vector of the fault, #UD or #NM, if the guest may not use vector registers, else 0 (SDM 2,
 * tables 2-18 to 2-25). */
static unsigned vector_refused(struct emulation *e)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t cr0 = cpu_reg(cpu, REG_CR0), cr4 = cpu_reg(cpu, REG_CR4);
    bool usable = !(cr0 & CR0_EM) && cr4 & CR4_OSFXSR;
    if (e->insn->vex)
        usable = e->context->protected && !(e->context->rflags & RFLAGS_VM) && cr4 & CR4_OSXSAVE &&
                 (extra_xcr0() & XCR0_AVX) == XCR0_AVX;
    if (!usable)
        return VECTOR_UD;
    return cr0 & CR0_TS ? VECTOR_NM : 0;
}

static enum mmio_outcome vector_load(struct emulation *e, const struct operand *operand)
{
    const struct insn *i = e->insn;
    unsigned size = i->reg_size;
    uint8_t bytes[OPERAND_MAX] = {0};
    unsigned at = i->op == INSN_VECTOR_HIGH ? 8 : 0;
    if (i->op != INSN_VECTOR)
        extra_vector_get(i->vex ? i->vvvv : i->reg, bytes, 16);
    enum mmio_outcome outcome = operand_read(e, operand, bytes + at);
    if (outcome == MMIO_DONE)
        extra_vector_set(i->reg, bytes, size, i->vex);
    return outcome;
}

static enum mmio_outcome vector_store(struct emulation *e, const struct operand *operand)
{
    const struct insn *i = e->insn;
    uint8_t bytes[OPERAND_MAX];
    extra_vector_get(i->reg, bytes, i->reg_size);
    return operand_write(e, operand, bytes + (i->op == INSN_VECTOR_HIGH ? 8 : 0));
}

/* MMX instructions raise #MF if an x87 exception is pending and not masked. The CPU has checked all
 * this before the exit, but the bytes at RIP may have changed since. */
static unsigned mmx_refused(struct emulation *e)
{
    uint64_t cr0 = cpu_reg(e->vcpu->cpu, REG_CR0);
    if (cr0 & CR0_EM)
        return VECTOR_UD;
    if (cr0 & CR0_TS)
        return VECTOR_NM;
    return extra_x87_error() ? VECTOR_MF : 0;
}

enum mmio_outcome execute_mmx(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operand operand;
    uint64_t value = 0;
    unsigned vector = mmx_refused(e);
    if (vector)
        return mmio_inject(e->vcpu, e->context, (uint8_t)vector, 0);
    enum mmio_outcome outcome = operand_open_only(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    if (i->write) {
        value = extra_mmx_get(i->reg);
        return operand_write(e, &operand, &value);
    }
    outcome = operand_read(e, &operand, &value);
    if (outcome == MMIO_DONE)
        extra_mmx_set(i->reg, value);
    return outcome;
}

enum mmio_outcome execute_vector(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operand operand;
    unsigned vector = vector_refused(e);
    if (vector)
        return mmio_inject(e->vcpu, e->context, (uint8_t)vector, 0);
    enum mmio_outcome outcome = operand_open_only(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    return i->write ? vector_store(e, &operand) : vector_load(e, &operand);
}
