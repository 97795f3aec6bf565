/* SPDX-License-Identifier: MIT */
/* The table of instructions, and names for classes of other instructions. Called by the decoder.
 * Pure data. */
#include "mmio/instructions.h"

#include "lib/bits.h"

#define NO        INSN_NO_EXTENSION
#define R         INSN_READS
#define W         INSN_WRITES
#define RW        (INSN_READS | INSN_WRITES)
#define LOCK      INSN_LOCKABLE
#define TO_REG    INSN_TO_REG
#define MOFFS     INSN_MOFFS
#define SI        INSN_SI
#define DI        INSN_DI
#define ONLY_64   INSN_ONLY_64
#define NOT_64    INSN_NOT_64
#define OTHER_64  INSN_OTHER_64
#define NO_MODRM  INSN_NO_MODRM
#define REG_UD    INSN_REG_UD
#define REG_OTHER INSN_REG_OTHER
#define VVVV      INSN_VVVV
#define L0        INSN_L0
#define REG_VVVV  INSN_REG_VVVV
#define ALIGNED   INSN_ALIGNED
#define VEX       INSN_VEX

/* For SIZE_##memory and SIZE_##size of ROW. */
#define SIZE_0  0
#define SIZE_1  1
#define SIZE_2  2
#define SIZE_4  4
#define SIZE_8  8
#define SIZE_16 16

/* ROW() pastes the columns to the prefixes of their enumerators; a number is a size in bytes. */
#define ROW(opcode, prefix, extension, name, op, memory, other, size, flags) \
    {(opcode),        PREFIX_##prefix, extension, INSN_##op, SIZE_##memory,  \
     OPERAND_##other, SIZE_##size,     (flags),   name},

const struct insn_row insn_rows[] = {
#include "mmio/instructions.inc"
};
const unsigned insn_row_count = ARRAY_SIZE(insn_rows);

#define ALL 0xff
const struct insn_undefined insn_undefined[] = {
    {0x06, 0x07, ALL, true},     {0x0e, 0x0e, ALL, true},     {0x16, 0x17, ALL, true},
    {0x1e, 0x1f, ALL, true},     {0x27, 0x27, ALL, true},     {0x2f, 0x2f, ALL, true},
    {0x37, 0x37, ALL, true},     {0x3f, 0x3f, ALL, true},     {0x60, 0x61, ALL, true},
    {0x8c, 0x8c, 0xc0, false},   {0x8e, 0x8e, 0xc2, false},   {0x8f, 0x8f, 0xfe, false},
    {0x9a, 0x9a, ALL, true},     {0xc6, 0xc7, 0xfe, false},   {0xce, 0xce, ALL, true},
    {0xd4, 0xd6, ALL, true},     {0xea, 0xea, ALL, true},     {0xfe, 0xfe, 0xfc, false},
    {0xff, 0xff, 0x80, false},   {0x100, 0x100, 0x80, false}, {0x104, 0x104, ALL, false},
    {0x10a, 0x10c, ALL, false},  {0x124, 0x127, ALL, false},  {0x136, 0x136, ALL, false},
    {0x139, 0x139, ALL, false},  {0x13b, 0x13f, ALL, false},  {0x1b9, 0x1b9, ALL, false},
    {0x1ba, 0x1ba, 0x0f, false}, {0x1ff, 0x1ff, ALL, false},
};
const unsigned insn_undefined_count = ARRAY_SIZE(insn_undefined);

struct class
{
    uint16_t first, last;
    const char *name;
};

/* Ranges may overlap: the first one that holds the opcode applies. */
static const struct class classes[] = {
    {0x06, 0x07, "a push or pop of a segment register"},
    {0x0e, 0x0e, "a push of a segment register"},
    {0x16, 0x1f, "a push or pop of a segment register"},
    {0x40, 0x4f, "arithmetic on a register"},
    {0x50, 0x61, "a push or pop of a register"},
    {0x62, 0x62, "AVX-512 or BOUND"},
    {0x63, 0x63, "ARPL"},
    {0x68, 0x6a, "a push of an immediate"},
    {0x6c, 0x6f, "string input or output"},
    {0x70, 0x7f, "a branch"},
    {0x8d, 0x8d, "LEA"},
    {0x8e, 0x8e, "a load of a segment register"},
    {0x9a, 0x9a, "a far transfer"},
    {0x9b, 0x9b, "x87"},
    {0x9c, 0x9d, "a push or pop of the flags"},
    {0xc2, 0xc3, "a return"},
    {0xc4, 0xc5, "a load of a far pointer"},
    {0xc6, 0xc7, "a transaction"},
    {0xc8, 0xc9, "ENTER or LEAVE"},
    {0xca, 0xcb, "a far return"},
    {0xcc, 0xcf, "a software interrupt or IRET"},
    {0xd7, 0xd7, "XLAT"},
    {0xd8, 0xdf, "x87"},
    {0xe0, 0xe3, "a branch"},
    {0xe4, 0xe7, "input or output"},
    {0xe8, 0xeb, "a branch"},
    {0xec, 0xef, "input or output"},
    {0xff, 0xff, "a far transfer"},
    {0x00, 0xff, "an instruction without a memory operand"},
    {0x100, 0x109, "a system instruction"},
    {0x10d, 0x10d, "a prefetch hint"},
    {0x10e, 0x10f, "3DNow!"},
    {0x110, 0x117, "an SSE move that computes"},
    {0x118, 0x11f, "a hint or bounds check"},
    {0x120, 0x127, "a move of a control register"},
    {0x128, 0x12f, "SSE arithmetic"},
    {0x130, 0x137, "a system instruction"},
    {0x138, 0x13f, "SSE arithmetic"},
    {0x150, 0x17f, "MMX or SSE arithmetic"},
    {0x180, 0x18f, "a branch"},
    {0x1a0, 0x1a1, "a push or pop of a segment register"},
    {0x1a8, 0x1a9, "a push or pop of a segment register"},
    {0x1ae, 0x1ae, "a save or load of FPU state"},
    {0x1b2, 0x1b5, "a load of a far pointer"},
    {0x1b8, 0x1bd, "a bit count or scan"},
    {0x1c2, 0x1c6, "SSE arithmetic"},
    {0x1c7, 0x1c7, "a save or load of state"},
    {0x1d0, 0x1ff, "MMX or SSE arithmetic"},
    {0x100, 0x1ff, "an instruction without a memory operand"},
    {0x200, 0x2ef, "SSE arithmetic"},
    {0x2f0, 0x2ff, "a checksum or arithmetic"},
    {0x300, 0x3ff, "SSE arithmetic"},
    {0x400, 0x7ff, "AVX arithmetic"},
};

const char *insn_class(uint16_t opcode)
{
    for (unsigned i = 0; i < ARRAY_SIZE(classes); i++)
        if (opcode >= classes[i].first && opcode <= classes[i].last)
            return classes[i].name;
    return "an unknown instruction";
}
