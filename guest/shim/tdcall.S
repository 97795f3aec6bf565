/* SPDX-License-Identifier: MIT */
/* TDCALL by its bytes, because not every assembler knows it; see the header. */
    .text
    .globl execute_tdcall
execute_tdcall:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movq %rdi, %rax
    movq 0x08(%rax), %rcx
    movq 0x10(%rax), %rdx
    movq 0x18(%rax), %rbx
    movq 0x20(%rax), %rbp
    movq 0x28(%rax), %rsi
    movq 0x30(%rax), %rdi
    movq 0x38(%rax), %r8
    movq 0x40(%rax), %r9
    movq 0x48(%rax), %r10
    movq 0x50(%rax), %r11
    movq 0x58(%rax), %r12
    movq 0x60(%rax), %r13
    movq 0x68(%rax), %r14
    movq 0x70(%rax), %r15
    movq 0x00(%rax), %rax
    .byte 0x66, 0x0f, 0x01, 0xcc /* TDCALL */
    xchgq %rax, (%rsp)
    movq %rcx, 0x08(%rax)
    movq %rdx, 0x10(%rax)
    movq %rbx, 0x18(%rax)
    movq %rbp, 0x20(%rax)
    movq %rsi, 0x28(%rax)
    movq %rdi, 0x30(%rax)
    movq %r8, 0x38(%rax)
    movq %r9, 0x40(%rax)
    movq %r10, 0x48(%rax)
    movq %r11, 0x50(%rax)
    movq %r12, 0x58(%rax)
    movq %r13, 0x60(%rax)
    movq %r14, 0x68(%rax)
    movq %r15, 0x70(%rax)
    popq %rcx
    movq %rcx, 0x00(%rax)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .section .note.GNU-stack, "", @progbits
