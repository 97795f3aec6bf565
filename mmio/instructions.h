/* SPDX-License-Identifier: MIT */
/*
 * The table of the instructions that the decoder knows and the emulator executes, as data only.
 * Each row is one form of an instruction with a memory operand: mmio/decode.c selects the row,
 * mmio/execute.h executes its `op`, and docs/MMIO_INSTRUCTIONS.md is generated from the rows.
 *
 * The opcode, the prefix and, where ModRM.reg is part of the opcode, ModRM.reg select a row.
 * Operand sizes are symbolic (SIZE_OPERAND), because prefixes determine them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The operation. The order matters where opcodes number operations. */
enum insn_op {
    INSN_MOV,
    INSN_ZERO_EXTEND,
    INSN_SIGN_EXTEND,
    INSN_LAST_MOV = INSN_SIGN_EXTEND, /* the moves that mmio/replay.h replays */
    INSN_MOV_SEGMENT,
    INSN_MOVBE,
    INSN_CMOV,
    INSN_SET,
    INSN_NOTHING, /* CLFLUSH, CLWB and prefetches */

    INSN_ADD, /* these eight: in the order of the opcodes 00 to 3f */
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
    INSN_BSF, /* with a destination register, as the following ones */
    INSN_BSR,
    INSN_TZCNT,
    INSN_LZCNT,
    INSN_POPCNT,
    INSN_ADCX,
    INSN_ADOX,
    INSN_CRC32,

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
    INSN_PUSH_VALUE, /* of these, the stack is the memory operand */
    INSN_PUSH_FLAGS,
    INSN_POP_GPR,
    INSN_RET,
    INSN_CALL_NEAR,
    INSN_ENTER,
    INSN_LEAVE,

    INSN_XLAT,
    INSN_BOUND,
    INSN_ARPL,
    INSN_SLDT, /* in the order of 0f 00 /0 to /5 */
    INSN_STR,
    INSN_LLDT,
    INSN_LTR,
    INSN_VERR,
    INSN_VERW,
    INSN_SGDT, /* in the order of 0f 01 /0 to /6 */
    INSN_SIDT,
    INSN_LGDT,
    INSN_LIDT,
    INSN_SMSW,
    INSN_LMSW,
    INSN_LAR,
    INSN_LSL,

    INSN_LOAD_SEGMENT, /* MOV, of a selector */
    INSN_LOAD_POINTER, /* LDS, LES, LFS, LGS and LSS */
    INSN_JMP_FAR,
    INSN_CALL_FAR,

    INSN_MMX,         /* from bit 0; a load clears the rest of the register */
    INSN_VECTOR,      /* from bit 0; a load clears the rest of the register */
    INSN_VECTOR_LOW,  /* a load of bits 63:0 that keeps bits 127:64 */
    INSN_VECTOR_HIGH, /* bits 127:64 only */
};

/* The size of an operand: 1 to 16 bytes, or one of these, which prefixes determine. */
enum {
    SIZE_OPERAND = 0x80, /* 2, 4 or 8 */
    SIZE_OPERAND_MAX_4,  /* 2 or 4: SIZE_OPERAND, at most 4 */
    SIZE_4_OR_8,         /* 8 with REX.W */
    SIZE_PAIR,           /* 8, or 16 with REX.W */
    SIZE_STACK,          /* 8, or 2 with 66, in 64-bit code; else 2 or 4 */
    SIZE_BRANCH,         /* 8 in 64-bit code; else 2 or 4 */
    SIZE_VECTOR,         /* 16, or 32 with VEX.L */
    SIZE_POINTER,        /* 4, 6 or 10: a far pointer, an offset of SIZE_OPERAND and a selector */
    SIZE_TABLE,          /* 10 in 64-bit code, else 6: the limit and the base of a table */
    SIZE_BOUNDS,         /* 4 or 8: two SIZE_OPERAND */
};

/* Prefixes that are part of an opcode. */
enum insn_prefix {
    PREFIX_ANY,    /* 66 selects the operand size, F2 and F3 do not matter */
    PREFIX_NONE,   /* neither 66 nor F2 nor F3 */
    PREFIX_66,     /* 66, and neither F2 nor F3 */
    PREFIX_F3,     /* F3 is the last prefix of F2 and F3; 66 does not matter */
    PREFIX_F2,     /* F2 is the last prefix of F2 and F3; 66 does not matter */
    PREFIX_NO_REP, /* 66 selects the operand size; neither F2 nor F3 */
};

/* The operand that is not in memory. */
enum insn_operand {
    OPERAND_NONE,
    OPERAND_GPR,      /* ModRM.reg */
    OPERAND_RAX,      /* the accumulator */
    OPERAND_IMM,      /* an immediate of the operand size, at most four bytes */
    OPERAND_IMM8,     /* an immediate of one byte, sign-extended */
    OPERAND_ONE,      /* the shift count 1 */
    OPERAND_CL,       /* the shift count CL */
    OPERAND_GPR_IMM,  /* ModRM.reg and an immediate */
    OPERAND_GPR_IMM8, /* ModRM.reg and an immediate of one byte */
    OPERAND_GPR_CL,   /* ModRM.reg and the shift count CL */
    OPERAND_SEGMENT,  /* ModRM.reg */
    OPERAND_XMM,      /* ModRM.reg */
    OPERAND_MMX,      /* ModRM.reg */
    OPERAND_OPCODE,   /* a general register, which bits 2:0 of the opcode name */
    OPERAND_DISTANCE, /* a distance of at most four bytes, to the target of a branch */
    OPERAND_IMM16,    /* an immediate of two bytes, zero-extended */
    OPERAND_FRAME,    /* immediates of two bytes and of one: ENTER's size and level */
};

enum {
    INSN_READS = 1 << 0,      /* memory */
    INSN_WRITES = 1 << 1,     /* memory */
    INSN_LOCKABLE = 1 << 2,   /* LOCK is allowed; without this flag it is #UD */
    INSN_TO_REG = 1 << 3,     /* the result goes to the register, not to memory */
    INSN_MOFFS = 1 << 4,      /* the address follows the opcode */
    INSN_SI = 1 << 5,         /* memory at rSI */
    INSN_DI = 1 << 6,         /* memory at ES:rDI, with INSN_SI in addition to rSI */
    INSN_ONLY_64 = 1 << 7,    /* 16 and 32-bit code has another instruction here */
    INSN_OTHER_64 = 1 << 16,  /* 64-bit code has another instruction here */
    INSN_NO_MODRM = 1 << 17,  /* no ModRM byte: the memory operand is implicit */
    INSN_NOT_64 = 1 << 8,     /* #UD in 64-bit code */
    INSN_REG_UD = 1 << 9,     /* the register form is #UD */
    INSN_REG_OTHER = 1 << 10, /* the register form is another instruction */
    INSN_VVVV = 1 << 11,      /* VEX.vvvv is an operand; without, it must be 1111b */
    INSN_L0 = 1 << 12,        /* VEX.L must be 0 */
    INSN_REG_VVVV = 1 << 13,  /* VEX.vvvv is an operand of the register form */
    INSN_ALIGNED = 1 << 14,   /* #GP(0) unless the operand is naturally aligned */
    INSN_VEX = 1 << 15,
};

#define INSN_NO_EXTENSION 8

struct insn_row {
    uint16_t opcode;   /* bits 9:8: the map (0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a); bit 10: VEX */
    uint8_t prefix;    /* enum insn_prefix; with VEX, as VEX.pp encodes it */
    uint8_t extension; /* ModRM.reg, or INSN_NO_EXTENSION */
    uint8_t op;        /* enum insn_op */
    uint8_t memory;    /* size of the memory operand */
    uint8_t operand;   /* enum insn_operand */
    uint8_t size;      /* size of the other operand */
    uint32_t flags;
    char mnemonic[12];
};

#define INSN_OPCODE_VEX 0x400

extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;

/* Ranges of opcodes that are #UD for the values of ModRM.reg in the mask `extensions` (0xff: for
 * all values, without a look at ModRM), sorted and disjoint. */
struct insn_undefined {
    uint16_t first, last;
    uint8_t extensions;
    bool only_64;
};
extern const struct insn_undefined insn_undefined[];
extern const unsigned insn_undefined_count;

/* The class of an instruction that is not in the table, for messages: "x87", "a far transfer". */
const char *insn_class(uint16_t opcode);
