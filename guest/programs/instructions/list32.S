/* SPDX-License-Identifier: MIT */
/* The list in 32-bit code, with the instructions whose encodings are REX prefixes in 64-bit
 * code. */
#include "guest/programs/rt/layout.h"

#define CODE       .text
#define FAR_RETURN lretl
#define MEM        (%edi)
#define MEM3       3(%edi)
#define MEM12      12(%edi)
#define LIST       instructions32

    .globl instructions32, instructions32_end
    .code32
#include "guest/programs/instructions/list.inc"
    INSN addl %eax, -0x20(%edi, %ecx, 4)
    .section .rodata.instructions, "a"
instructions32_end:

    .section .note.GNU-stack, "", @progbits
