/* SPDX-License-Identifier: MIT */
/*
 * Integer arithmetic for the guest, executed by the host's CPU: each operation is the instruction
 * itself, on registers, with the guest's arithmetic flags as input and output. So all flags, the
 * undefined ones included, are those that the guest would get from this CPU.
 */
#pragma once

#include "mmio/instructions.h"

#include "lib/compiler.h"

/* CF, PF, AF, ZF, SF and OF. */
#define ALU_FLAGS 0x8d5ull
#define ALU_CF    0x001ull
#define ALU_PF    0x004ull
#define ALU_ZF    0x040ull
#define ALU_SF    0x080ull
#define ALU_OF    0x800ull

struct alu {
    uint64_t a;     /* in and out: the destination. MUL, DIV: rAX (AX for bytes) */
    uint64_t b;     /* the source: an operand, a count or a bit number */
    uint64_t c;     /* SHLD, SHRD: the count. MUL, DIV: in and out, rDX */
    uint64_t flags; /* in and out: ALU_FLAGS */
};

/* The low `size` bytes of a value. */
static inline uint64_t alu_truncate(uint64_t value, unsigned size)
{
    return value & ~0ull >> (64 - 8 * size);
}

/* Executes INSN_ADD to INSN_CRC32 on operands of `size` bytes. Higher bits of the operands are
 * ignored; those of the result are undefined. False: #DE, with `operands` unchanged. */
bool alu(enum insn_op op, unsigned size, struct alu *operands) MUST_CHECK;

/* Whether `flags` satisfy the condition in the low four bits of an opcode of SETcc or CMOVcc (SDM
 * 1, appendix B). */
bool alu_condition(unsigned condition, uint64_t flags);
