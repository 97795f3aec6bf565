/*
 * The table of instructions that the decoder knows and the emulator executes: data only. Each row
 * is one form of one instruction on memory; mmio/decode.c reads rows, mmio/execute.c acts on their
 * `op`, and docs/MMIO_INSTRUCTIONS.md is printed from them.
 *
 * A row is found by opcode, prefix and, where ModRM.reg is part of the opcode, that. What it says
 * of operands is symbolic ("as the operand size says"), because prefixes decide it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What becomes of the operands. The order matters where instructions number operations. */
enum insn_op {
    INSN_MOV,
    INSN_ZERO_EXTEND,
    INSN_SIGN_EXTEND,
    INSN_LAST_MOV = INSN_SIGN_EXTEND, /* what mmio/replay.h can repeat */
    INSN_MOV_SEGMENT,
    INSN_MOVBE,
    INSN_CMOV,
    INSN_SET,
    INSN_NOTHING, /* CLFLUSH and its kin */

    INSN_ADD, /* eight in the order of the opcodes 00 to 3f */
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_IMUL, /* with a destination register */
    INSN_NOT,
    INSN_NEG,
    INSN_INC,
    INSN_DEC,
    INSN_BT, /* in the order of 0f ba /4 to /7 */
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_ROL, /* in the order of c0 /0 to /7 */
    INSN_ROR,
    INSN_RCL,
    INSN_RCR,
    INSN_SHL,
    INSN_SHR,
    INSN_SHL_ALIAS,
    INSN_SAR,
    INSN_SHLD,
    INSN_SHRD,
    INSN_MUL, /* rDX:rAX, in the order of f6 /4 to /7 */
    INSN_IMUL_WIDE,
    INSN_DIV,
    INSN_IDIV,

    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_CMPXCHG_PAIR,

    INSN_MOVS,
    INSN_CMPS,
    INSN_STOS,
    INSN_LODS,
    INSN_SCAS,

    INSN_PUSH,
    INSN_POP,
    INSN_CALL,
    INSN_JMP,

    INSN_VECTOR,      /* the whole operand; a load clears what it does not fill */
    INSN_VECTOR_LOW,  /* loads bits 63:0, bits 127:64 stay */
    INSN_VECTOR_HIGH, /* bits 127:64 alone */
};

/* Bytes of an operand: 1 to 16 themselves, or by prefixes. */
enum {
    SIZE_OPERAND = 0x80, /* 2, 4 or 8 */
    SIZE_OPERAND_MAX_4,  /* the same, but 4 for 8 */
    SIZE_4_OR_8,         /* 8 with REX.W */
    SIZE_PAIR,           /* 8, or 16 with REX.W */
    SIZE_STACK,          /* 8 in 64-bit code, or 2 with 66; else 2 or 4 */
    SIZE_BRANCH,         /* 8 in 64-bit code; else 2 or 4 */
    SIZE_VECTOR,         /* 16, or 32 with VEX.L */
};

/* Prefixes that are part of an opcode. ANY: 66 is the operand size, F2 and F3 mean nothing. */
enum insn_prefix {
    PREFIX_ANY,
    PREFIX_NONE,   /* neither 66 nor F2 nor F3 */
    PREFIX_66,     /* and neither F2 nor F3 */
    PREFIX_F3,     /* the last one of F2 and F3 counts, and 66 does not */
    PREFIX_F2,     /* the same */
    PREFIX_NO_REP, /* 66 is the operand size, neither F2 nor F3 */
};

/* The other operand. */
enum insn_operand {
    OPERAND_NONE,
    OPERAND_GPR,      /* ModRM.reg */
    OPERAND_RAX,      /* the accumulator */
    OPERAND_IMM,      /* an immediate of the operand's size, at most four bytes */
    OPERAND_IMM8,     /* one byte, sign-extended */
    OPERAND_ONE,      /* a count of one */
    OPERAND_CL,       /* a count */
    OPERAND_GPR_IMM,  /* ModRM.reg and an immediate */
    OPERAND_GPR_IMM8, /* the same with one byte */
    OPERAND_GPR_CL,   /* ModRM.reg and a count */
    OPERAND_SEGMENT,  /* ModRM.reg */
    OPERAND_XMM,      /* ModRM.reg */
};

enum {
    INSN_READS = 1 << 0,      /* memory */
    INSN_WRITES = 1 << 1,     /* memory */
    INSN_LOCKABLE = 1 << 2,   /* on memory; LOCK is #UD elsewhere */
    INSN_TO_REG = 1 << 3,     /* the result goes to the register, not to memory */
    INSN_MOFFS = 1 << 4,      /* the address follows the opcode */
    INSN_SI = 1 << 5,         /* memory at rSI */
    INSN_DI = 1 << 6,         /* memory at ES:rDI; with INSN_SI, as well */
    INSN_ONLY_64 = 1 << 7,    /* another instruction in 16 and 32-bit code */
    INSN_NOT_64 = 1 << 8,     /* #UD in 64-bit code */
    INSN_REG_UD = 1 << 9,     /* #UD between registers */
    INSN_REG_OTHER = 1 << 10, /* another instruction between registers */
    INSN_VVVV = 1 << 11,      /* VEX.vvvv is an operand; else it must be 1111b */
    INSN_L0 = 1 << 12,        /* VEX.L must be 0 */
    INSN_REG_VVVV = 1 << 13,  /* VEX.vvvv is an operand of the form between registers */
    INSN_ALIGNED = 1 << 14,   /* #GP(0) unless the operand is naturally aligned */
    INSN_VEX = 1 << 15,
};

#define INSN_NO_EXTENSION 8

struct insn_row {
    uint16_t opcode;   /* the map in bits 9:8: one byte, 0f, 0f 38; bit 10: VEX */
    uint8_t prefix;    /* enum insn_prefix; of VEX the field pp */
    uint8_t extension; /* ModRM.reg, or INSN_NO_EXTENSION */
    uint8_t op;        /* enum insn_op */
    uint8_t memory;    /* size */
    uint8_t operand;   /* enum insn_operand */
    uint8_t size;      /* of the other operand */
    uint16_t flags;
    char mnemonic[12];
};

#define INSN_OPCODE_VEX 0x400

extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;

/* Opcodes that are #UD, in their order and none twice; where ModRM.reg is part of them, those in
 * the mask. */
struct insn_undefined {
    uint16_t first, last;
    uint8_t extensions;
    bool only_64;
};
extern const struct insn_undefined insn_undefined[];
extern const unsigned insn_undefined_count;

/* What an instruction that is not in the table is, in words: "x87", "a far transfer". */
const char *insn_class(uint16_t opcode);
