/* SPDX-License-Identifier: MIT */
/*
 * The execution of emulated instructions, by kind. Each function opens its operands, stops before
 * any effect if no operand contains the byte that the exit was for, and otherwise updates memory,
 * registers and e->rflags. The caller writes RIP and RFLAGS.
 *
 * Each function returns MMIO_DONE; MMIO_INJECT, MMIO_END or MMIO_REENTER; or, if no operand
 * contains the byte that the exit was for, MMIO_STALE without any effect.
 */
#pragma once

#include "mmio/operand.h"

/* Instructions with one memory operand and general registers. */
enum mmio_outcome execute_integer(struct emulation *e) MUST_CHECK;

/* MOVS, CMPS, STOS, LODS and SCAS; the function sets e->paused. */
enum mmio_outcome execute_string(struct emulation *e) MUST_CHECK;

/* PUSH, POP, CALL and JMP with a memory operand; the function sets e->next. */
enum mmio_outcome execute_stack(struct emulation *e) MUST_CHECK;

/* SSE and AVX moves. */
enum mmio_outcome execute_vector(struct emulation *e) MUST_CHECK;

/* A general register as an operand of `size` bytes. A 32-bit write clears bits 63:32; 8-bit and
 * 16-bit writes leave the other bits unchanged (SDM 1, 3.4.1.1). */
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
