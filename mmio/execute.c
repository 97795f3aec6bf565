/*
 * Instructions with one operand in memory, and general registers. Called by mmio_emulate() for all
 * but the plain moves. Pure.
 */
#include "mmio/execute.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "mmio/alu.h"

#define VECTOR_DE 0

/* How often a locked exchange of RAM is tried before the guest is entered again. */
#define EXCHANGE_TRIES 8

/* What an instruction makes of its operand. */
struct effect {
    uint64_t memory;   /* what is written, if it writes */
    uint64_t reg;      /* what the register gets, if `sets_reg` */
    uint64_t rax, rdx; /* the same for these two */
    uint64_t rflags;
    bool sets_reg, sets_rax, sets_rdx;
    bool divide_error;
};

static uint64_t low(uint64_t value, unsigned size)
{
    return value & ~0ull >> (64 - 8 * size);
}

static uint64_t byte_swapped(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

/* The register or immediate beside memory. */
static uint64_t source(struct emulation *e)
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

static void run_alu(struct emulation *e, enum insn_op op, struct alu *a, struct effect *x)
{
    a->flags = e->rflags & ALU_FLAGS;
    x->divide_error = !alu(op, e->insn->size, a);
    x->rflags = (e->rflags & ~ALU_FLAGS) | a->flags;
}

static void arithmetic(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct insn *i = e->insn;
    struct alu a = {.a = memory, .b = source(e)};
    if (i->to_reg)
        a = (struct alu){.a = gpr_read(e->vcpu->cpu, i->reg, i->size, i->high_byte), .b = memory};
    if (i->op == INSN_IMUL && i->has_imm)
        a = (struct alu){.a = memory, .b = i->imm};
    run_alu(e, i->op, &a, x);
    x->memory = x->reg = a.a;
    x->sets_reg = i->to_reg && i->op != INSN_CMP;
}

/* SHLD and SHRD: the register's bits move in, by CL or an immediate. */
static void double_shift(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    uint64_t count = i->has_imm ? i->imm : cpu->gpr[GPR_RCX];
    struct alu a = {memory, gpr_read(cpu, i->reg, i->size, false), count & 0xff, 0};
    run_alu(e, i->op, &a, x);
    x->memory = a.a;
}

/* MUL, IMUL, DIV and IDIV on rDX:rAX, or AX for bytes. */
static void wide_arithmetic(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct cpu_regs *cpu = e->vcpu->cpu;
    struct alu a = {cpu->gpr[GPR_RAX], memory, cpu->gpr[GPR_RDX], 0};
    run_alu(e, e->insn->op, &a, x);
    x->rax = a.a;
    x->rdx = a.c;
    x->sets_rax = true;
    x->sets_rdx = e->insn->size > 1;
}

static void bit_test(struct emulation *e, uint64_t memory, struct effect *x)
{
    struct alu a = {.a = memory, .b = source(e) & (8u * e->insn->size - 1)};
    run_alu(e, e->insn->op, &a, x);
    x->memory = a.a;
}

/* A failed comparison writes too: what was there (SDM 2, CMPXCHG). */
static void compare_exchange(struct emulation *e, uint64_t memory, struct effect *x)
{
    struct alu a = {.a = e->vcpu->cpu->gpr[GPR_RAX], .b = memory};
    run_alu(e, INSN_CMP, &a, x);
    bool equal = x->rflags & ALU_ZF;
    x->memory = equal ? source(e) : memory;
    x->rax = memory;
    x->sets_rax = !equal;
}

static void compute(struct emulation *e, uint64_t memory, struct effect *x)
{
    const struct insn *i = e->insn;
    struct alu sum = {.a = memory, .b = source(e)};
    *x = (struct effect){.rflags = e->rflags, .memory = memory};
    switch (i->op) {
    case INSN_MOV_SEGMENT:
        x->memory = source(e);
        return;
    case INSN_MOVBE:
        x->memory = byte_swapped(source(e), i->size);
        x->reg = byte_swapped(memory, i->size);
        x->sets_reg = !i->write;
        return;
    case INSN_CMOV: /* without the condition 32 bits still clear the upper half */
        x->reg = alu_condition(insn_row(i)->opcode & 15, e->rflags)
                     ? memory
                     : gpr_read(e->vcpu->cpu, i->reg, i->size, false);
        x->sets_reg = true;
        return;
    case INSN_SET:
        x->memory = alu_condition(insn_row(i)->opcode & 15, e->rflags);
        return;
    case INSN_XCHG:
        x->memory = source(e);
        x->reg = memory;
        x->sets_reg = true;
        return;
    case INSN_XADD:
        run_alu(e, INSN_ADD, &sum, x);
        x->memory = sum.a;
        x->reg = memory;
        x->sets_reg = true;
        return;
    case INSN_CMPXCHG:
        return compare_exchange(e, memory, x);
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return bit_test(e, memory, x);
    case INSN_SHLD:
    case INSN_SHRD:
        return double_shift(e, memory, x);
    case INSN_MUL:
    case INSN_IMUL_WIDE:
    case INSN_DIV:
    case INSN_IDIV:
        return wide_arithmetic(e, memory, x);
    default:
        return arithmetic(e, memory, x);
    }
}

static void write_registers(struct emulation *e, const struct effect *x)
{
    const struct insn *i = e->insn;
    struct cpu_regs *cpu = e->vcpu->cpu;
    if (x->sets_reg)
        gpr_write(cpu, i->reg, i->reg_size, i->high_byte, x->reg);
    if (x->sets_rax) /* AX, where bytes are multiplied or divided */
        gpr_write(cpu, GPR_RAX,
                  i->size == 1 && i->op >= INSN_MUL && i->op <= INSN_IDIV ? 2 : i->size, false,
                  x->rax);
    if (x->sets_rdx)
        gpr_write(cpu, GPR_RDX, i->size, false, x->rdx);
    e->rflags = x->rflags;
}

/* A register that numbers a bit reaches far beyond its operand, in both directions: the operand
 * moves by whole operands (SDM 2, BT). */
static uint64_t bit_string_offset(struct emulation *e)
{
    const struct insn *i = e->insn;
    unsigned unused = 64 - 8u * i->size;
    int64_t bit = (int64_t)(cpu_gpr(e->vcpu->cpu, i->reg) << unused) >> unused;
    unsigned log = (unsigned)__builtin_ctz(i->size);
    return (uint64_t)(bit >> (log + 3)) << log;
}

static enum mmio_outcome open(struct emulation *e, struct operand *operand)
{
    const struct insn *i = e->insn;
    if (i->op < INSN_BT || i->op > INSN_BTC || i->operand != OPERAND_GPR)
        return operand_open_memory(e, operand);
    uint64_t offset = mmio_effective(e->vcpu->cpu, i, e->next) + bit_string_offset(e);
    return operand_open(e, operand, i->segment, offset & i->address_mask, i->size, i->write);
}

/* LOCK, or XCHG, on RAM: no other CPU may see the middle. Devices and what lies across two words
 * are done in two steps: then nothing is done here. MMIO_REENTER: others were always faster. */
static enum mmio_outcome locked(struct emulation *e, const struct operand *operand, bool *done,
                                struct effect *x)
{
    *done = false;
    for (unsigned i = 0; i < EXCHANGE_TRIES; i++) {
        uint64_t memory;
        int error = operand_peek(e, operand, &memory);
        if (!error) {
            compute(e, memory, x);
            error = operand_exchange(e, operand, memory, low(x->memory, operand->size));
        }
        *done = !error;
        if (!error || error == -EINVAL)
            return MMIO_DONE;
        if (error != -EAGAIN)
            return mmio_refused(e->vcpu, operand->fragments[0].gpa, ACCESS_WRITE, error);
    }
    return MMIO_REENTER;
}

/* CMPXCHG8B and CMPXCHG16B compare rDX:rAX and may write rCX:rBX. */
static enum mmio_outcome compare_exchange_pair(struct emulation *e, const struct operand *operand)
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
    bool equal = pair[0] == low(cpu->gpr[GPR_RAX], half) && pair[1] == low(cpu->gpr[GPR_RDX], half);
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
    enum mmio_outcome outcome = open(e, &operand);
    if (outcome != MMIO_DONE)
        return outcome;
    if (!e->touched)
        return MMIO_STALE;
    if (i->op == INSN_NOTHING) /* a device has no cache lines */
        return MMIO_DONE;
    if (i->op == INSN_CMPXCHG_PAIR)
        return compare_exchange_pair(e, &operand);

    if (i->lock || i->op == INSN_XCHG) {
        bool done;
        outcome = locked(e, &operand, &done, &x);
        if (outcome == MMIO_DONE && done)
            write_registers(e, &x);
        if (outcome != MMIO_DONE || done)
            return outcome;
    }
    uint64_t memory = 0;
    if (i->read)
        outcome = operand_read(e, &operand, &memory);
    if (outcome != MMIO_DONE)
        return outcome;
    compute(e, memory, &x);
    if (x.divide_error)
        return mmio_inject(e->vcpu, e->context, VECTOR_DE, 0);
    if (i->write)
        outcome = operand_write(e, &operand, &x.memory);
    if (outcome == MMIO_DONE)
        write_registers(e, &x);
    return outcome;
}
