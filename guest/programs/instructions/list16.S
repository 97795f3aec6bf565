/* SPDX-License-Identifier: MIT */
/* The list in 16-bit code, at offsets inside its own segment. */
#include "guest/programs/rt/layout.h"

#define CODE       .text
#define FAR_RETURN lretl
#define MEM        (%di)
#define MEM3       3(%di)
#define MEM12      12(%di)
#define LIST       instructions16

    .globl instructions16, instructions16_end, instructions16_code
    .text
    .balign 16
    .code16
instructions16_code:
#include "guest/programs/instructions/list.inc"
    INSN addl %eax, -0x20(%edi, %ecx, 4)
    INSN addw %ax, -5(%bx, %di)
    .section .rodata.instructions, "a"
instructions16_end:

    .section .note.GNU-stack, "", @progbits
