/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder, from bytes to the description of one memory access. It handles every
 * prefix and addressing form of 16, 32 and 64-bit code, VEX included, and the instructions of
 * mmio/instructions.inc.
 *
 * The description does not depend on register values: it names the segment, the base and the index
 * of the effective address, the size and the direction of the access, and the operation.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "mmio/instructions.h"
#include "arch/x86/regs.h"

#define INSN_MAX 15 /* bytes; the CPU raises #GP for longer instructions */

enum code_size {
    CODE_16,
    CODE_32,
    CODE_64,
};

enum decode_result {
    DECODE_OK,
    DECODE_NO_MEMORY,   /* in the table, but without a memory access; `length` is valid */
    DECODE_TRUNCATED,   /* the instruction has more bytes than `count` */
    DECODE_TOO_LONG,    /* longer than 15 bytes: #GP(0) */
    DECODE_UNSUPPORTED, /* not in the table, whether legal or not */
    DECODE_UNDEFINED,   /* #UD: an invalid LOCK, or an undefined opcode */
};

/* Values of insn.base and insn.index other than general registers. */
#define INSN_NO_REG GPR_COUNT
#define INSN_RIP    (GPR_COUNT + 1) /* the address of the next instruction */

struct insn {
    uint8_t length;
    uint8_t op;            /* enum insn_op */
    uint8_t size;          /* bytes in memory */
    uint8_t reg_size;      /* bytes of the register */
    bool write;            /* to memory */
    bool has_imm;          /* `imm` is an operand */
    bool high_byte;        /* the register is bits 15:8 of `reg`: AH, CH, DH or BH */
    uint8_t reg;           /* enum gpr, or the number of a segment or vector register */
    uint8_t segment;       /* enum segment, with the default and overrides applied */
    uint8_t base;          /* enum gpr, INSN_NO_REG or INSN_RIP */
    uint8_t index;         /* enum gpr or INSN_NO_REG */
    uint8_t shift;         /* of the index: 0 to 3 */
    uint8_t code;          /* enum code_size that the decoder assumed */
    uint8_t operand;       /* enum insn_operand: the operand that is not in memory */
    bool read;             /* from memory, before the write if `write` is also set */
    bool to_reg;           /* the result goes to `reg` */
    bool lock;             /* the LOCK prefix */
    uint8_t repeat;        /* the last prefix of 0xf2 and 0xf3, or 0 */
    uint8_t vex;           /* vector length in bytes with VEX, 16 or 32; else 0 */
    uint8_t vvvv;          /* the vector register of VEX.vvvv */
    uint16_t row;          /* index in insn_rows */
    uint64_t address_mask; /* the effective address wraps at 16, 32 or 64 bits */
    uint64_t disp;         /* sign-extended */
    uint64_t imm;          /* sign-extended */
};

/* The table row of a decoded instruction. */
static inline const struct insn_row *insn_row(const struct insn *insn)
{
    return &insn_rows[insn->row];
}

/* The class of the instruction at `bytes`, for a message about DECODE_UNSUPPORTED: "x87", "a far
 * transfer". */
const char *decode_class(const uint8_t *bytes, unsigned count, enum code_size code);

/* Whether the instruction at `bytes` is an IRET of any operand size. */
bool decode_is_iret(const uint8_t *bytes, unsigned count, enum code_size code);

/* Decodes the instruction at `bytes`, which has `count` (1 to 15) readable bytes. `insn` is valid
 * only after DECODE_OK and DECODE_NO_MEMORY. SDM 2, chapter 2. */
enum decode_result decode(const uint8_t *bytes, unsigned count, enum code_size code,
                          struct insn *insn) MUST_CHECK;
