/* SPDX-License-Identifier: MIT */
/*
 * Prints docs/MMIO_INSTRUCTIONS.md from the decoder's table. `make docs` writes the file, and `make
 * lint` checks that it is up to date.
 */
#include "mmio/instructions.h"

#include <stdio.h>
#include <string.h>

static const char *number(unsigned size)
{
    static char text[4][12];
    static unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof(text[0]), "%u", size);
    return t;
}

static const char *bits(uint8_t size)
{
    switch (size) {
    case SIZE_OPERAND:
        return "16/32/64";
    case SIZE_OPERAND_MAX_4:
        return "16/32";
    case SIZE_4_OR_8:
        return "32/64";
    case SIZE_PAIR:
        return "64/128";
    case SIZE_STACK:
    case SIZE_BRANCH:
        return "16/32/64";
    case SIZE_VECTOR:
        return "128/256";
    case SIZE_POINTER:
        return "16:16/16:32/16:64";
    case SIZE_TABLE:
        return "16&32/16&64";
    case SIZE_BOUNDS:
        return "16&16/32&32";
    default:
        return number(size * 8u);
    }
}

/* The operand that is not in memory. */
static void print_other(const struct insn_row *row)
{
    static const char *const formats[] = {
        [OPERAND_NONE] = "",
        [OPERAND_GPR] = "r%s",
        [OPERAND_RAX] = "accumulator",
        [OPERAND_IMM] = "imm",
        [OPERAND_IMM8] = "imm8",
        [OPERAND_ONE] = "1",
        [OPERAND_CL] = "CL",
        [OPERAND_GPR_IMM] = "r%s, imm",
        [OPERAND_GPR_IMM8] = "r%s, imm8",
        [OPERAND_GPR_CL] = "r%s, CL",
        [OPERAND_SEGMENT] = "Sreg",
        [OPERAND_XMM] = "xmm",
        [OPERAND_MMX] = "mm",
        [OPERAND_OPCODE] = "r%s",
        [OPERAND_DISTANCE] = "rel",
        [OPERAND_IMM16] = "imm16",
        [OPERAND_FRAME] = "imm16, imm8",
    };
    if (row->operand == OPERAND_XMM && row->size == SIZE_VECTOR)
        printf("xmm/ymm");
    else
        printf(formats[row->operand], bits(row->size));
    if (row->flags & INSN_VVVV)
        printf(", xmm");
}

static void print_opcode(const struct insn_row *row)
{
    static const char *const prefixes[] = {
        [PREFIX_66] = "66 ", [PREFIX_F3] = "F3 ", [PREFIX_F2] = "F2 ", [PREFIX_NO_REP] = ""};
    static const char *const maps[] = {"", "0F ", "0F 38 ", "0F 3A "};
    printf("`%s", row->flags & INSN_VEX ? "VEX " : "");
    if (row->prefix != PREFIX_ANY && prefixes[row->prefix])
        printf("%s", prefixes[row->prefix]);
    printf("%s%02X", maps[row->opcode >> 8 & 3], row->opcode & 0xff);
    if (row->extension != INSN_NO_EXTENSION)
        printf(" /%u", row->extension);
    printf("`");
}

static void print_notes(const struct insn_row *row)
{
    const char *separator = "";
    static const struct {
        uint32_t flag;
        const char *note;
    } notes[] = {
        {INSN_LOCKABLE, "LOCK"},       {INSN_ALIGNED, "aligned"},
        {INSN_ONLY_64, "64-bit code"}, {INSN_NOT_64, "not in 64-bit code"},
        {INSN_MOFFS, "moffs"},         {INSN_L0, "VEX.L=0"},
        {INSN_OTHER_64, "not in 64-bit code"},
    };
    if (row->flags & (INSN_SI | INSN_DI)) {
        printf("REP, %s",
               row->flags & INSN_SI ? row->flags & INSN_DI ? "rSI and ES:rDI" : "rSI" : "ES:rDI");
        separator = ", ";
    }
    for (unsigned i = 0; i < sizeof(notes) / sizeof(notes[0]); i++)
        if (row->flags & notes[i].flag) {
            printf("%s%s", separator, notes[i].note);
            separator = ", ";
        }
}

static const char introduction[] =
    "# Instructions that are emulated on MMIO\n"
    "\n"
    "Printed from the decoder's table, `mmio/instructions.inc`, by `make docs`: do not edit.\n"
    "\n"
    "Each row allows any prefix, segment and address form, in 16, 32 and 64-bit code. Sizes "
    "are in bits;\n"
    "where there are several, prefixes select one. An operand of more than 64 bits reaches a "
    "device whole\n"
    "if the device accepts that, otherwise in pieces of 64 bits, lowest address first. A row "
    "without an\n"
    "access is a hint that never leads to an exit.\n"
    "\n"
    "Where the manual says #UD, the guest gets #UD. Any other instruction ends the VM\n"
    "(`unsupported-instruction`) with a message that has its bytes and kind: x87 and AVX-512, MMX "
    "and\n"
    "vector arithmetic, IRET and INT, POPF, PUSHA and POPA on a stack in MMIO, ENTER with a level "
    "above\n"
    "1, and far transfers that switch the task or the privilege level.\n"
    "\n"
    "The operands of XLAT and of instructions that access only the stack are implicit: no ModRM "
    "byte.\n"
    "\n"
    "| instruction | opcode | memory | access | other operand | notes |\n"
    "|---|---|---|---|---|---|\n";

int main(void)
{
    static const char *const access[] = {"none", "read", "write", "read, write"};
    fputs(introduction, stdout);
    for (unsigned i = 0; i < insn_row_count; i++) {
        const struct insn_row *row = &insn_rows[i];
        printf("| %s | ", row->mnemonic);
        print_opcode(row);
        printf(" | m%s | %s | ", bits(row->memory),
               access[row->flags & (INSN_READS | INSN_WRITES)]);
        print_other(row);
        printf(" | ");
        print_notes(row);
        printf(" |\n");
    }
    printf("\n%u rows.\n", insn_row_count);
    return 0;
}
