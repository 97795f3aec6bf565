/*
 * Integer arithmetic of guests, made by the CPU that we run on: each operation is the instruction
 * itself, on registers, with the guest's arithmetic flags going in and coming out. So flags are
 * those of this very silicon, the undefined ones too.
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
    uint64_t a;     /* the destination: in and out. MUL, DIV: rAX (AX for bytes) */
    uint64_t b;     /* the source: an operand, a count or a bit's number */
    uint64_t c;     /* SHLD, SHRD: the count. MUL, DIV: rDX, in and out */
    uint64_t flags; /* ALU_FLAGS, in and out */
};

/* INSN_ADD to INSN_IDIV on operands of `size` bytes; bits above are ignored, and undefined in the
 * result. False: #DE, and nothing is changed. */
bool alu(enum insn_op op, unsigned size, struct alu *operands) MUST_CHECK;

/* The condition in the low four bits of SETcc's and CMOVcc's opcodes (SDM 1, appendix B). */
bool alu_condition(unsigned condition, uint64_t flags);
