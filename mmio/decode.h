/*
 * The instruction decoder: bytes in, one memory access out. It reads every prefix and addressing
 * form of 16, 32 and 64-bit code, VEX too, and the instructions of mmio/instructions.inc.
 *
 * The result is a recipe and does not depend on registers: which segment, base and index make the
 * effective address, how many bytes move which way, and what becomes of them.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "mmio/instructions.h"
#include "arch/x86/regs.h"

#define INSN_MAX 15 /* bytes; the CPU refuses longer ones */

enum code_size {
    CODE_16,
    CODE_32,
    CODE_64,
};

enum decode_result {
    DECODE_OK,
    DECODE_NO_MEMORY,   /* in the table, but between registers; the length is right */
    DECODE_TRUNCATED,   /* more bytes are needed */
    DECODE_TOO_LONG,    /* longer than 15 bytes: #GP(0) */
    DECODE_UNSUPPORTED, /* not in the table, whether legal or not */
    DECODE_UNDEFINED,   /* #UD: LOCK where it may not be, or no instruction at all */
};

/* Values of insn.base and insn.index beside the general registers. */
#define INSN_NO_REG GPR_COUNT
#define INSN_RIP    (GPR_COUNT + 1) /* the address of the next instruction */

struct insn {
    uint8_t length;
    uint8_t op;            /* enum insn_op */
    uint8_t size;          /* bytes in memory */
    uint8_t reg_size;      /* bytes of the register */
    bool write;            /* to memory */
    bool has_imm;          /* the other operand is `imm`, not a register */
    bool high_byte;        /* the register is bits 15:8 of `reg`: AH, CH, DH or BH */
    uint8_t reg;           /* enum gpr, or the number of a segment or vector register */
    uint8_t segment;       /* enum segment, defaults and overrides applied */
    uint8_t base;          /* enum gpr, INSN_NO_REG or INSN_RIP */
    uint8_t index;         /* enum gpr or INSN_NO_REG */
    uint8_t shift;         /* of the index: 0 to 3 */
    uint8_t code;          /* enum code_size that it was decoded for */
    uint8_t operand;       /* enum insn_operand: the other one */
    bool read;             /* from memory; before the write, if both */
    bool to_reg;           /* the result goes to `reg` */
    bool lock;             /* the prefix */
    uint8_t repeat;        /* 0, 0xf2 or 0xf3 */
    uint8_t vex;           /* bytes of the vector with VEX: 16 or 32; without: 0 */
    uint8_t vvvv;          /* a vector register */
    uint16_t row;          /* of the table */
    uint64_t address_mask; /* the effective address wraps at 16, 32 or 64 bits */
    uint64_t disp;         /* sign-extended */
    uint64_t imm;          /* sign-extended */
};

/* The row that an instruction was decoded by. */
static inline const struct insn_row *insn_row(const struct insn *insn)
{
    return &insn_rows[insn->row];
}

/* What stands at `bytes`, for a sentence on DECODE_UNSUPPORTED: "x87", "a far transfer". */
const char *decode_class(const uint8_t *bytes, unsigned count, enum code_size code);

/* Whether it is an IRET, of any operand size. */
bool decode_is_iret(const uint8_t *bytes, unsigned count, enum code_size code);

/* Decodes the instruction at `bytes`, of which `count` (1 to 15) may be read. `insn` is defined for
 * DECODE_OK and DECODE_NO_MEMORY only. SDM 2, chapter 2. */
enum decode_result decode(const uint8_t *bytes, unsigned count, enum code_size code,
                          struct insn *insn) MUST_CHECK;
