/* SPDX-License-Identifier: MIT */
/* Code of iret.c: the function that raises NMIs, the NMI handler, and the IRET that exits. */
#include "guest/programs/rt/inject.inc"

    .text
/*
 * void iret_raise(uint64_t event, uint64_t *rsp): injects an NMI that arrives at iret_raised.
 * Stores the RSP at that point in *rsp, for a frame that the caller of iret_raise() builds.
 */
    .globl iret_raise, iret_raised
iret_raise:
    pushq %rbx
    pushq %rbp
    movq %rsp, (%rsi)
    movq %rsp, escape_rsp
    INJECT_RDI
    vmcall
iret_raised:
    nop
    nop
    popq %rbp
    popq %rbx
    movl $SEL_DATA, %eax
    movl %eax, %ss
    ret

/* In the first NMI, calls iret_prepare() and returns by the frame at iret_frame, which nothing else
 * accesses. For later NMIs, only the interrupted RIP is stored. */
    .globl iret_nmi, iret_at
iret_nmi:
    pushq %rax
    pushq %rcx
    movl iret_nmis, %ecx
    incl iret_nmis
    movq 16(%rsp), %rax
    andl $3, %ecx
    movq %rax, iret_rips(, %rcx, 8)
    jnz 1f
    .irp reg, rdx, rbx, rsi, rdi, rbp, r8, r9, r10, r11
    pushq %\reg
    .endr
    cld
    call iret_prepare
    .irp reg, r11, r10, r9, r8, rbp, rdi, rsi, rbx, rdx
    popq %\reg
    .endr
    popq %rcx
    popq %rax
    movq iret_frame, %rsp
iret_at:
    iretq
1:  popq %rcx
    popq %rax
    iretq

/* The handler of the #VE that the IRET causes continues at iret_raised, as if the IRET had
 * completed. */
    .globl iret_ve
    .set ve_busy, 0xfd000004 /* docs/ABI.md */
iret_ve:
    nop
    incl iret_ves
    movl $ve_busy, %eax
    movl $0, (%rax)
    movq escape_rsp, %rsp
    jmp iret_raised

    .bss
    .balign 8
    .globl iret_nmis, iret_ves, iret_rips, iret_frame
iret_rips:
    .skip 4 * 8
iret_frame:
    .quad 0
escape_rsp:
    .quad 0
iret_nmis:
    .long 0
iret_ves:
    .long 0

    .section .note.GNU-stack, "", @progbits
