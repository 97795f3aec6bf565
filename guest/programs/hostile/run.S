/* SPDX-License-Identifier: MIT */
/*
 * Begins and ends a step in long mode. Every vector has the same handler, on a stack of the CPU's
 * own (IST 1), which has the address of struct hostile_cpu at the bottom of its page. Any exception
 * or interrupt ends the step.
 */
#include "guest/programs/hostile/layout.h"

    .text
/* int hostile_guarded(cpu, run): 0, or 1 if an exception or interrupt ended it. */
    .globl hostile_guarded, hostile_recovered
hostile_guarded:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    movq %rsp, CPU_SAVED_RSP(%rdi)
    call *%rsi
    xorl %eax, %eax
    jmp 1f
hostile_recovered: /* RDI: struct hostile_cpu */
    movq CPU_SAVED_RSP(%rdi), %rsp
    movl $1, %eax
1:  addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

/* void hostile_enter(cpu) */
    .globl hostile_enter
hostile_enter:
    pushq CPU_SS(%rdi)
    pushq CPU_RSP(%rdi)
    pushq CPU_RFLAGS(%rdi)
    pushq CPU_CS(%rdi)
    pushq CPU_RIP(%rdi)
    movq CPU_REGS + 0x00(%rdi), %rax
    movq CPU_REGS + 0x08(%rdi), %rcx
    movq CPU_REGS + 0x10(%rdi), %rdx
    movq CPU_REGS + 0x18(%rdi), %rbx
    movq CPU_REGS + 0x28(%rdi), %rbp
    movq CPU_REGS + 0x30(%rdi), %rsi
    movq CPU_REGS + 0x40(%rdi), %r8
    movq CPU_REGS + 0x48(%rdi), %r9
    movq CPU_REGS + 0x50(%rdi), %r10
    movq CPU_REGS + 0x58(%rdi), %r11
    movq CPU_REGS + 0x60(%rdi), %r12
    movq CPU_REGS + 0x68(%rdi), %r13
    movq CPU_REGS + 0x70(%rdi), %r14
    movq CPU_REGS + 0x78(%rdi), %r15
    movq CPU_REGS + 0x38(%rdi), %rdi
    iretq

    .balign 16
    .globl hostile_vectors
hostile_vectors:
    vector = 0
    .rept 256
    .balign 16
    pushq $vector
    jmp hostile_trap
    vector = vector + 1
    .endr

hostile_trap:
    movq (%rsp), %rsi
    movq %rsp, %rdi
    andq $-4096, %rdi
    movq (%rdi), %rdi
    movq %rsi, CPU_VECTOR(%rdi)
    pushq $SEL_DATA
    pushq CPU_SAVED_RSP(%rdi)
    pushq $2
    pushq $SEL_CODE64
    pushq $hostile_recovered
    cld
    iretq /* ends blocking by NMI */

    .section .note.GNU-stack, "", @progbits
