/* SPDX-License-Identifier: MIT */
/* The forms in 16-bit code, which also runs from a copy below 1 MiB, and so contains no
 * relocations. The base of DS is the page; ES is flat. */
#include "guest/programs/mmio/legacy.h"
#include "guest/programs/rt/layout.h"

#define FORM_SECTION .section .text.form16, "ax"
#define FORMS_START  forms16
#define LRET         lretl
#define MEM          (%di)
#define MEM_SIB      -4(%bx, %si)
#define MEM_FS       %fs:0x10
#define MOFFS_MOV    mov
#define MOFFS        0x10

    .globl forms16, forms16_end, form16_code, form16_code_end, real_entry
    FORM_SECTION
    .balign 16
form16_code:
    .code16
/* Switches from 16-bit protected mode to real mode, runs the form, and switches back (see
 * legacy.S). */
real_entry:
    movl %cr0, %ecx
    andb $0xfe, %cl
    movl %ecx, %cr0
    ljmp $REAL_SEGMENT, $(1f - form16_code)
1:  lcalll *%es:(%edx)
    movl %cr0, %ecx
    orb $1, %cl
    movl %ecx, %cr0
    ljmpl $SEL_CODE32, $legacy_return

#include "guest/programs/mmio/forms.inc"

    STORE 0xf7e6d5c455667788, 4, movl %eax, %es:(%edi)
    STORE 0xf7e6d5c455667788, 4, movl %eax, %ds:-4(%bp, %si)
    LOAD 0x1122334455669180, 2, movw %es:-0x20(%ebx, %esi, 8), %ax
    FORM_SECTION
form16_code_end:
    .section .rodata.forms, "a"
forms16_end:

    .section .note.GNU-stack, "", @progbits
