/* SPDX-License-Identifier: MIT */
/*
 * The 256 interrupt entries, each 16 bytes long, and the one frame that they share: struct frame
 * in rt.h. rt_try() is the way back from an expected exception.
 */
#include "guest/programs/rt/layout.h"

    .text
    .balign 16
    .globl rt_vectors
rt_vectors:
    vector = 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector == 17) || (vector == 21) || ((vector >= 10) && (vector <= 14))
    .else
    pushq $0
    .endif
    pushq $vector
    jmp rt_vector_common
    vector = vector + 1
    .endr

rt_vector_common:
    cld
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
    movq %rsp, %rdi
    call rt_trap
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
    addq $16, %rsp
    iretq

/* int rt_try(void (*run)(void *), void *argument): 0, or 1 if an exception ended it. */
    .globl rt_try, rt_try_recover
rt_try:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    movq %rsp, rt_try_stack
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    xorl %eax, %eax
    jmp 1f
rt_try_recover:
    movq rt_try_stack, %rsp
    movl $1, %eax
1:  movq $0, rt_try_stack
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

/* void rt_user(uint64_t rip): enters CPL 3 at `rip` with RSP = 0. Only an exception or interrupt
 * leaves it, so it is called under rt_try(). */
    .globl rt_user
rt_user:
    pushq $SEL_USER_DATA
    pushq $0
    pushq $2
    pushq $SEL_USER_CODE
    pushq %rdi
    iretq

    .bss
    .balign 8
    .globl rt_try_stack
rt_try_stack:
    .quad 0

    .section .note.GNU-stack, "", @progbits
