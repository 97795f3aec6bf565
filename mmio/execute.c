/* SPDX-License-Identifier: MIT */
/*
 * Integer instructions with one memory operand and general registers. Called by mmio_emulate() for
 * all of them but the plain moves. Pure.
 */
#include "mmio/execute.h"

#include "arch/x86/reg_bits.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mmio/alu.h"

#define VECTOR_DE 0
#define VECTOR_BR 5
#define VECTOR_UD 6

/* Attempts of a locked exchange of RAM before the guest is entered again. */
#define EXCHANGE_TRIES 8

/* The results of an instruction. */
struct effect {
    uint64_t memory;   /* the value to write, if the instruction writes */
    uint64_t reg;      /* the value of the register, if `sets_reg` */
    uint64_t rax, rdx; /* the values, if `sets_rax` and `sets_rdx` */
    uint64_t rflags;
    bool sets_reg, sets_rax, sets_rdx;
    bool divide_error, out_of_bounds;
};

static uint64_t execute_byte_swap(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

/* The operand that is not in memory. */
static uint64_t execute_source(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    switch (i->operand) {
    case OPERAND_CL:
        return cpu->gpr[GPR_RCX] & 0xff;
    case OPERAND_SEGMENT:
        return cpu_reg(cpu, REG_SEG_SELECTOR + i->reg) & 0xffff;
    case OPERAND_NONE:
        return 0;
    default:
        return i->has_imm ? i->imm : gpr_read(cpu, i->reg, i->reg_size, i->high_byte);
    }
}

static void execute_alu(struct emulation *e, enum insn_op op, struct alu *a, struct effect *x)
{
    a->flags = e->rflags & ALU_FLAGS;
    x->divide_error = !alu(op, e->insn->size, a);
    x->rflags = (e->rflags & ~ALU_FLAGS) | a->flags;
}

/* BSF and BSR of 0 leave the whole register alone, bits 63:32 of a 32-bit one too. */
static bool execute_finds_nothing(const struct insn *i, uint64_t memory)
{
    return (i->op == INSN_BSF || i->op == INSN_BSR) && !alu_truncate(memory, i->size);
}

static void execute_arithmetic(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct insn *i = e->insn;
    struct alu a = {.a = memory, .b = execute_source(e)};
    if (i->to_reg) /* of CRC32, the register is wider than what is added to it */
        a = (struct alu){
            .a = gpr_read(e->vcpu->cpu, i->reg, i->op == INSN_CRC32 ? 4 : i->size, i->high_byte),
            .b = memory};
    if (i->op == INSN_IMUL && i->has_imm)
        a = (struct alu){.a = memory, .b = i->imm};
    execute_alu(e, i->op, &a, x);
    x->memory = x->reg = a.a;
    x->sets_reg = i->to_reg && i->op != INSN_CMP && !execute_finds_nothing(i, memory);
}

/* SHLD and SHRD shift bits of the register in; the count is CL or an immediate. */
static void execute_double_shift(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t count = i->has_imm ? i->imm : cpu->gpr[GPR_RCX];
    struct alu a = {memory, gpr_read(cpu, i->reg, i->size, false), count & 0xff, 0};
    execute_alu(e, i->op, &a, x);
    x->memory = a.a;
}

/* MUL, IMUL, DIV and IDIV use rDX:rAX, or AX for bytes. */
static void execute_wide_arithmetic(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct cpu_regs *cpu = e->vcpu->cpu;
    struct alu a = {cpu->gpr[GPR_RAX], memory, cpu->gpr[GPR_RDX], 0};
    execute_alu(e, e->insn->op, &a, x);
    x->rax = a.a;
    x->rdx = a.c;
    x->sets_rax = true;
    x->sets_rdx = e->insn->size > 1;
}

static void execute_bit_test(struct emulation *e, uint64_t memory, struct effect *x)
{
    struct alu a = {.a = memory, .b = execute_source(e) & (8u * e->insn->size - 1)};
    execute_alu(e, e->insn->op, &a, x);
    x->memory = a.a;
}

/* A failed comparison also writes: it writes the old value back (SDM 2, CMPXCHG). */
static void execute_compare_exchange(struct emulation *e, uint64_t memory, struct effect *x)
{
    struct alu a = {.a = e->vcpu->cpu->gpr[GPR_RAX], .b = memory};
    execute_alu(e, INSN_CMP, &a, x);
    bool equal = x->rflags & ALU_ZF;
    x->memory = equal ? execute_source(e) : memory;
    x->rax = memory;
    x->sets_rax = !equal;
}

static void execute_arpl(struct emulation *e, uint64_t memory, struct effect *x)
{
    uint64_t rpl = execute_source(e) & 3;
    bool raise = (memory & 3) < rpl;
    x->memory = raise ? (memory & ~3ull) | rpl : memory;
    x->rflags = (e->rflags & ~ALU_ZF) | (raise ? ALU_ZF : 0);
}

/* The bounds are signed; the lower one comes first. */
static bool execute_is_outside(struct emulation *e, uint64_t memory)
{
    uint32_t value = (uint32_t)cpu_gpr(e->vcpu->cpu, e->insn->reg);
    if (e->insn->reg_size == 2)
        return (int16_t)value < (int16_t)memory || (int16_t)value > (int16_t)(memory >> 16);
    return (int32_t)value < (int32_t)memory || (int32_t)value > (int32_t)(memory >> 32);
}

static void execute_compute(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct insn *i = e->insn;
    struct alu sum = {.a = memory, .b = execute_source(e)};
    *x = (struct effect){.rflags = e->rflags, .memory = memory};
    switch (i->op) {
    case INSN_MOV_SEGMENT:
        x->memory = execute_source(e);
        return;
    case INSN_MOVBE:
        x->memory = execute_byte_swap(execute_source(e), i->size);
        x->reg = execute_byte_swap(memory, i->size);
        x->sets_reg = !i->write;
        return;
    case INSN_CMOV: /* with a false condition, too, a 32-bit CMOV clears bits 63:32 */
        x->reg = alu_condition(insn_row(i)->opcode & 15, e->rflags)
                     ? memory
                     : gpr_read(e->vcpu->cpu, i->reg, i->size, false);
        x->sets_reg = true;
        return;
    case INSN_SET:
        x->memory = alu_condition(insn_row(i)->opcode & 15, e->rflags);
        return;
    case INSN_XCHG:
        x->memory = execute_source(e);
        x->reg = memory;
        x->sets_reg = true;
        return;
    case INSN_XADD:
        execute_alu(e, INSN_ADD, &sum, x);
        x->memory = sum.a;
        x->reg = memory;
        x->sets_reg = true;
        return;
    case INSN_XLAT:
        x->rax = memory;
        x->sets_rax = true;
        return;
    case INSN_ARPL:
        return execute_arpl(e, memory, x);
    case INSN_BOUND:
        x->out_of_bounds = execute_is_outside(e, memory);
        return;
    case INSN_CMPXCHG:
        return execute_compare_exchange(e, memory, x);
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return execute_bit_test(e, memory, x);
    case INSN_SHLD:
    case INSN_SHRD:
        return execute_double_shift(e, memory, x);
    case INSN_MUL:
    case INSN_IMUL_WIDE:
    case INSN_DIV:
    case INSN_IDIV:
        return execute_wide_arithmetic(e, memory, x);
    default:
        return execute_arithmetic(e, memory, x);
    }
}

static void execute_write_registers(struct emulation *e, const struct effect *x)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    if (x->sets_reg)
        gpr_write(cpu, i->reg, i->reg_size, i->high_byte, x->reg);
    if (x->sets_rax) /* AX for byte multiplications and divisions */
        gpr_write(cpu, GPR_RAX,
                  i->size == 1 && i->op >= INSN_MUL && i->op <= INSN_IDIV ? 2 : i->size, false,
                  x->rax);
    if (x->sets_rdx)
        gpr_write(cpu, GPR_RDX, i->size, false, x->rdx);
    e->rflags = x->rflags;
}

/* A bit number in a register is signed and may lie outside the operand: the address moves by whole
 * operands (SDM 2, BT). */
static uint64_t bit_string_offset(struct emulation *e)
{
    const struct insn *i = e->insn;
    unsigned unused = 64 - 8u * i->size;
    int64_t bit = (int64_t)(cpu_gpr(e->vcpu->cpu, i->reg) << unused) >> unused;
    unsigned log = (unsigned)__builtin_ctz(i->size);
    return (uint64_t)(bit >> (log + 3)) << log;
}

static enum mmio_outcome execute_open(struct emulation *e, struct operand *operand)
{
    const struct insn *i = e->insn;
    if (i->op == INSN_XLAT) {
        uint64_t at = cpu_gpr(e->vcpu->cpu, GPR_RBX) + (cpu_gpr(e->vcpu->cpu, GPR_RAX) & 0xff);
        return operand_open(e, operand, i->segment, at & i->address_mask, 1, false);
    }
    if (i->op < INSN_BT || i->op > INSN_BTC || i->operand != OPERAND_GPR)
        return operand_open_memory(e, operand);
    uint64_t offset = mmio_effective(e->vcpu->cpu, i, e->next) + bit_string_offset(e);
    return operand_open(e, operand, i->segment, offset & i->address_mask, i->size, i->write);
}

/* LOCK, or XCHG, on RAM, done atomically. An operand in a device or across two aligned quadwords
 * has to be read and written in two steps: then this function does nothing and clears `*done`.
 * MMIO_REENTER: other CPUs changed the operand between reading and exchanging at each attempt. */
static enum mmio_outcome execute_locked(struct emulation *e, const struct operand *operand,
                                        bool *done, struct effect *x)
{
    *done = false;
    for (unsigned i = 0; i < EXCHANGE_TRIES; i++) {
        uint64_t memory;
        int error = operand_peek(e, operand, &memory);
        if (!error) {
            execute_compute(e, memory, x);
            error = operand_exchange(e, operand, memory, alu_truncate(x->memory, operand->size));
        }
        *done = !error;
        if (!error || error == -EINVAL)
            return MMIO_DONE;
        if (error != -EAGAIN)
            return mmio_refused(e->vcpu, operand->fragments[0].gpa, ACCESS_WRITE, error);
    }
    return MMIO_REENTER;
}

/* CMPXCHG8B and CMPXCHG16B compare with rDX:rAX and, if equal, write rCX:rBX. */
static enum mmio_outcome execute_compare_exchange_pair(struct emulation *e,
                                                       const struct operand *operand)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    unsigned half = operand->size / 2;
    uint64_t pair[2] = {0, 0};
    uint8_t bytes[16];
    enum mmio_outcome outcome = operand_read(e, operand, bytes);
    if (outcome != MMIO_DONE)
        return outcome;
    memcpy(&pair[0], bytes, half);
    memcpy(&pair[1], bytes + half, half);
    bool equal = pair[0] == alu_truncate(cpu->gpr[GPR_RAX], half) &&
                 pair[1] == alu_truncate(cpu->gpr[GPR_RDX], half);
    if (equal) {
        memcpy(bytes, &cpu->gpr[GPR_RBX], half);
        memcpy(bytes + half, &cpu->gpr[GPR_RCX], half);
    }
    outcome = operand_write(e, operand, bytes);
    if (outcome != MMIO_DONE)
        return outcome;
    if (!equal) {
        gpr_write(cpu, GPR_RAX, half, false, pair[0]);
        gpr_write(cpu, GPR_RDX, half, false, pair[1]);
    }
    e->rflags = (e->rflags & ~ALU_ZF) | (equal ? ALU_ZF : 0);
    return MMIO_DONE;
}

enum mmio_outcome execute_integer(struct emulation *e)
{
    const struct insn *i = e->insn;
    struct operand operand;
    struct effect x;
    if (i->op == INSN_ARPL && (!e->context->protected || e->context->rflags & RFLAGS_VM))
        return mmio_inject(e->vcpu, e->context, VECTOR_UD, 0);
    enum mmio_outcome outcome = execute_open(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    if (!e->touched)
        return MMIO_STALE;
    if (i->op == INSN_NOTHING) /* a device has no cache lines */
        return MMIO_DONE;
    if (i->op == INSN_CMPXCHG_PAIR)
        return execute_compare_exchange_pair(e, &operand);

    if (i->lock || i->op == INSN_XCHG) {
        bool done;
        outcome = execute_locked(e, &operand, &done, &x);
        if (outcome == MMIO_DONE && done)
            execute_write_registers(e, &x);
        if (outcome != MMIO_DONE || done)
            return outcome;
    }
    uint64_t memory = 0;
    if (i->read)
        outcome = operand_read(e, &operand, &memory);
    if (outcome != MMIO_DONE)
        return outcome;
    execute_compute(e, memory, &x);
    if (x.divide_error || x.out_of_bounds)
        return mmio_inject(e->vcpu, e->context, x.divide_error ? VECTOR_DE : VECTOR_BR, 0);
    if (i->write)
        outcome = operand_write(e, &operand, &x.memory);
    if (outcome == MMIO_DONE)
        execute_write_registers(e, &x);
    return outcome;
}
