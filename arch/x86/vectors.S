/* SPDX-License-Identifier: MIT */
/*
 * The 256 entry points of the IDT. Each builds a struct exception_frame on the stack and calls
 * exception(frame). If exception() returns, the interrupted code resumes.
 */
#include "boot/layout.h"

    .text
common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call exception
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp /* remove vector and error code */
    iretq

    /* For vectors 8, 10 to 14, 17, 21, 29 and 30, the CPU pushes an error code. */
    .set has_error, (1 << 8) | (0x1f << 10) | (1 << 17) | (1 << 21) | (1 << 29) | (1 << 30)

    .balign 16
first_entry:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector > 31 || !((has_error >> (vector & 31)) & 1)
    pushq $0
    .endif
    pushq $vector
    jmp common
    .set vector, vector + 1
    .endr

    .section .rodata
    .balign 8
    .globl exception_entries
exception_entries:
    .set vector, 0
    .rept 256
    .quad first_entry + vector * 16
    .set vector, vector + 1
    .endr

    .section .note.GNU-stack, "", @progbits
