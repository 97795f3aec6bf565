/* SPDX-License-Identifier: MIT */
/*
 * An NMI handler that raises another NMI, and whose stack page is dropped from EPT before its IRET.
 * Called by events.c.
 */
#include "guest/programs/rt/inject.inc"

    .text
/*
 * void nmi_raise(uint64_t event): injects an NMI that arrives at nmi_raise_at. nmi_entry runs on
 * its own stack. The first time, it injects another NMI, drops the page of the stack from EPT if
 * nmi_zap is set, and then accesses no memory outside of the image until the IRET has caused a
 * violation and is repeated. A second NMI that arrives at the IRET has come too early. It has
 * overwritten the first frame, which is restored so that the test can end.
 */
    .globl nmi_raise, nmi_raise_at
nmi_raise:
    pushq %rbx
    INJECT_RDI
    vmcall
nmi_raise_at:
    nop
    nop
    popq %rbx
    ret

    .globl nmi_entry, nmi_iret
nmi_entry:
    movq %rax, nmi_saved
    movq %rbx, nmi_saved + 8
    movq %rcx, nmi_saved + 16
    movq %rdx, nmi_saved + 24
    movl nmi_count, %ecx
    movq (%rsp), %rax
    andl $3, %ecx
    movq %rax, nmi_rips(, %rcx, 8)
    incl nmi_count
    testl %ecx, %ecx
    jnz 1f

    .irp i, 0, 8, 16, 24, 32
    movq \i(%rsp), %rax
    movq %rax, nmi_frame + \i
    .endr
    movl $(0x80000000 | 2 << 8 | 2), %edi /* valid, type NMI, vector 2 */
    INJECT_RDI
    vmcall
    movl %eax, nmi_result
    cmpl $0, nmi_zap
    je 2f
    movq %rsp, %rbx
    andq $-4096, %rbx
    movl $1, %ecx
    movl $(HYPERCALL_ZAP), %eax
    vmcall
    jmp 2f

1:  leaq nmi_iret(%rip), %rbx
    cmpq %rax, %rbx
    jne 2f
    .irp i, 0, 8, 16, 24, 32
    movq nmi_frame + \i, %rax
    movq %rax, \i(%rsp)
    .endr

2:  movq nmi_saved, %rax
    movq nmi_saved + 8, %rbx
    movq nmi_saved + 16, %rcx
    movq nmi_saved + 24, %rdx
nmi_iret:
    iretq

    .bss
    .balign 8
    .globl nmi_count, nmi_rips, nmi_zap, nmi_result
nmi_rips:
    .skip 4 * 8
nmi_frame:
    .skip 5 * 8
nmi_saved:
    .skip 4 * 8
nmi_count:
    .long 0
nmi_zap:
    .long 0
nmi_result:
    .long 0

    .section .note.GNU-stack, "", @progbits
