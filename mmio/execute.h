/*
 * What emulated instructions do, by kind. Each function opens its operands, stops before any effect
 * if none of them is what the exit was for, and otherwise acts: memory, registers and e->rflags.
 * RIP and flags are put in place by the caller.
 *
 * All answer MMIO_DONE; a fault, the end, or another try; and MMIO_STALE with nothing done if no
 * operand was touched.
 */
#pragma once

#include "mmio/operand.h"

/* One operand in memory, and registers. */
enum mmio_outcome execute_integer(struct emulation *e) MUST_CHECK;

/* MOVS, CMPS, STOS, LODS and SCAS; sets e->paused. */
enum mmio_outcome execute_string(struct emulation *e) MUST_CHECK;

/* PUSH, POP, CALL and JMP through memory; sets e->next. */
enum mmio_outcome execute_stack(struct emulation *e) MUST_CHECK;

/* SSE and AVX. */
enum mmio_outcome execute_vector(struct emulation *e) MUST_CHECK;

/* A general register as an operand of `size` bytes. Writing 32 bits clears the upper half, 8 and 16
 * bits leave the rest alone (SDM 1, 3.4.1.1). */
static inline uint64_t gpr_read(struct cpu_regs *cpu, unsigned gpr, unsigned size, bool high_byte)
{
    return cpu_gpr(cpu, gpr) >> (high_byte ? 8 : 0) & ~0ull >> (64 - 8 * size);
}

static inline void gpr_write(struct cpu_regs *cpu, unsigned gpr, unsigned size, bool high_byte,
                             uint64_t value)
{
    uint64_t mask = (size >= 4 ? ~0ull : ~0ull >> (64 - 8 * size)) << (high_byte ? 8 : 0);
    uint64_t old = size >= 4 ? 0 : cpu_gpr(cpu, gpr);
    if (size == 4)
        value = (uint32_t)value;
    cpu_set_gpr(cpu, gpr, (old & ~mask) | (value << (high_byte ? 8 : 0) & mask));
}
