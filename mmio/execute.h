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

/* PUSH, POP, PUSHF, near CALL and RET, ENTER and LEAVE, of which only the stack is memory. In
 * mmio/stack_only.c. */
enum mmio_outcome execute_stack_only(struct emulation *e) MUST_CHECK;

/* The instructions that access registers of descriptor tables, TR, CR0 or a descriptor. */
enum mmio_outcome execute_system(struct emulation *e) MUST_CHECK;

/* Loads of segment registers, and far JMP and CALL. */
enum mmio_outcome execute_far(struct emulation *e) MUST_CHECK;

/* Moves between memory and MMX registers. */
enum mmio_outcome execute_mmx(struct emulation *e) MUST_CHECK;

/* The bits of the stack pointer that count; the pointer less `size`; setting the pointer; and
 * whether a near branch to `target` raises #GP. In mmio/stack.c. */
uint64_t stack_mask(struct emulation *e);
uint64_t stack_below(struct emulation *e, uint64_t size);
void stack_set_pointer(struct emulation *e, uint64_t value);
bool stack_target_faults(struct emulation *e, uint64_t target);

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
