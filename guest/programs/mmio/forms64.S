/* SPDX-License-Identifier: MIT */
/* The forms in 64-bit code: those of all code sizes, and those that REX adds. */
#include "guest/programs/rt/layout.h"

#define FORM_SECTION .text
#define FORMS_START  forms64
#define LRET         lretl
#define MEM          (%rdi)
#define MEM_SIB      -0x20(%rbx, %rsi, 8)
#define MEM_FS       %fs:0x10
#define MOFFS_MOV    movabs
#define MOFFS        0xfe000010

    .globl forms64, forms64_end, form_near
    .code64
#include "guest/programs/mmio/forms.inc"

    STORE 0x1122334455667788, 8, movq %rax, MEM
    STORE 0xffffffffa5a6a7a8, 8, movq $-0x5a595858, MEM
    STORE 0x000000005a5b5c5d, 8, movq $0x5a5b5c5d, MEM
    LOAD 0xf7e6d5c4b3a29180, 8, movq MEM, %rax
    LOAD 0xffffffffffffff80, 1, movsbq MEM, %rax
    LOAD 0xffffffffffff9180, 2, movswq MEM, %rax
    LOAD 0xffffffffb3a29180, 4, movslq MEM, %rax
    LOAD 0x0000000000000080, 1, movzbq MEM, %rax
    LOAD 0x0000000000009180, 2, movzwq MEM, %rax
    LOAD_POSITIVE 0x0000000000000070, 1, movsbq MEM, %rax
    LOAD_POSITIVE 0x0000000000006170, 2, movswq MEM, %rax
    LOAD_POSITIVE 0x0000000043526170, 4, movslq MEM, %rax
    STORE_ABSOLUTE 0x1122334455667788, 8, movabs %rax, MOFFS
    LOAD_ABSOLUTE 0xf7e6d5c4b3a29180, 8, movabs MOFFS, %rax

    /* Bases with REX.B, two of which need special encodings; a 32-bit address. */
    STORE 0xf7e6d5c455667788, 4, movl %eax, (%r8)
    STORE 0xf7e6d5c455667788, 4, movl %eax, (%r12)
    STORE 0xf7e6d5c455667788, 4, movl %eax, (%r13)
    STORE 0xf7e6d5c455667788, 4, movl %eax, -0x20(%r12, %rsi, 8)
    STORE 0xf7e6d5c455667788, 4, movl %eax, (%edi)

    /* RIP-relative addresses, and a displacement alone. form_near is a second mapping of the
     * page. */
    STORE_ABSOLUTE 0xf7e6d5c455667788, 4, movl %eax, form_near + 0x10(%rip)
    STORE_ABSOLUTE 0xf7e6d5c45a5b5c5d, 4, movl $0x5a5b5c5d, form_near + 0x10(%rip)
    STORE_ABSOLUTE 0xf7e6d5c455667788, 4, movl %eax, form_near + 0x10

    /* The byte registers that replace AH, CH, DH and BH with a REX prefix, and each register other
     * than RAX. */
    .macro STORE_FROM register, after, size, store:vararg
    .section .rodata.form_names, "a"
9:  .asciz "\store"
    .text
8:  movq %rax, %\register
    \store
    LRET
    .section .rodata.forms, "a"
    .quad 9b, 8b, P, IN, \after, IN
    .long \size
    .short 1, 0
    .endm
    .macro LOAD_INTO register, load:vararg
    .section .rodata.form_names, "a"
9:  .asciz "\load"
    .text
8:  xorl %eax, %eax
    \load
    movq %\register, %rax
    LRET
    .section .rodata.forms, "a"
    .quad 9b, 8b, P, IN, P, P
    .long 8
    .short 0, 0
    .endm

    STORE_FROM rsi, 0xf7e6d5c4b3a29188, 1, movb %sil, MEM
    STORE_FROM rbp, 0xf7e6d5c4b3a29188, 1, movb %bpl, MEM
    STORE_FROM r9, 0xf7e6d5c4b3a29188, 1, movb %r9b, MEM
    STORE_FROM r10, 0xf7e6d5c4b3a27788, 2, movw %r10w, MEM
    STORE_FROM r11, 0xf7e6d5c455667788, 4, movl %r11d, MEM
    STORE_FROM rcx, 0xf7e6d5c4b3a29177, 1, movb %ch, MEM
    STORE_FROM rdx, 0xf7e6d5c4b3a29177, 1, movb %dh, MEM
    STORE_FROM rbx, 0xf7e6d5c4b3a29177, 1, movb %bh, MEM
    .irp r, rcx, rdx, rbx, rbp, rsi, r8, r9, r10, r11, r12, r13, r14, r15
    STORE_FROM \r, 0x1122334455667788, 8, movq %\r, MEM
    LOAD_INTO \r, movq MEM, %\r
    .endr
    LOAD_INTO rdi, movq MEM, %rdi

    .section .rodata.forms, "a"
forms64_end:
    .set form_near, 0x40000000

/* void call_form(struct form_call *call) */
    .text
    .globl call_form
call_form:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movzwl 6(%rdi), %ecx
    movl %ecx, %ds
    movl $SEL_DATA16, %ecx
    movl %ecx, %fs
    movq 8(%rdi), %rax
    movq %rdi, %r11
    movq 16(%rdi), %rdi
    movq %rdi, %rbx
    movq %rdi, %rbp
    movq %rdi, %r8
    movq %rdi, %r12
    movq %rdi, %r13
    movl $4, %esi
    lcall *(%r11)
    popq %rdi
    movq %rax, 8(%rdi)
    movl $SEL_DATA, %ecx
    movl %ecx, %ds
    xorl %ecx, %ecx
    movl %ecx, %fs
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .section .note.GNU-stack, "", @progbits
