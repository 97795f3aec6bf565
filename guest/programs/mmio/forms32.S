/* SPDX-License-Identifier: MIT */
/* The forms in 32-bit code. */
#define FORM_SECTION .text
#define FORMS_START  forms32
#define LRET         lret
#define MEM          (%edi)
#define MEM_SIB      -0x20(%ebx, %esi, 8)
#define MEM_FS       %fs:(%di)
#define MOFFS_MOV    mov
#define MOFFS        0xfe000010

    .globl forms32, forms32_end
    .code32
#include "guest/programs/mmio/forms.inc"

    STORE_ABSOLUTE 0xf7e6d5c45a5b5c5d, 4, movl $0x5a5b5c5d, 0xfe000010
    .section .rodata.forms, "a"
forms32_end:

    .section .note.GNU-stack, "", @progbits
