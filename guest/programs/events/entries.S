/*
 * Code of events.c whose every instruction counts: places where an interrupt must or must not
 * arrive, and an NMI handler that loses its stack page before IRET. The labels ending in _at are
 * the addresses at which the interrupt is expected.
 */
#include "guest/abi.h"

/* void place(uint64_t rdi): called with interrupts off, returns with interrupts off. */
    .macro PLACE name, insn:vararg
    .globl \name, \name\()_at
\name:
    pushq %rbx
    movl %ss, %eax
    sti
    \insn
\name\()_at:
    nop
    nop
    cli
    popq %rbx
    ret
    .endm

    .macro INJECT
    movq %rdi, %rbx
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $(ABI_HYPERCALL | HC_INJECT), %eax
    .endm

    .text
    PLACE place_sti, nop
    .macro MOV_SS_AND_NOP
    movl %eax, %ss
    nop
    .endm
    PLACE place_mov_ss, MOV_SS_AND_NOP
    PLACE place_cpuid, cpuid
    PLACE place_mmio, movl %eax, (%rdi)
    PLACE place_hlt, hlt

/* MOV SS puts the shadow over an instruction that exits, and that injects the interrupt itself. */
    .globl place_vmcall, place_vmcall_at
place_vmcall:
    pushq %rbx
    movl %ss, %esi
    INJECT
    sti
    nop
    movl %esi, %ss
    vmcall
place_vmcall_at:
    nop
    nop
    cli
    popq %rbx
    ret

/* HLT with interrupts off: only an NMI ends it. */
    .globl place_hlt_nmi, place_hlt_nmi_at
place_hlt_nmi:
    hlt
place_hlt_nmi_at:
    ret

/* The trap flag set over one store. */
    .globl place_single_step, place_single_step_at
place_single_step:
    pushfq
    orl $0x100, (%rsp)
    popfq
    movl %eax, (%rdi)
place_single_step_at:
    nop
    ret

/*
 * void nmi_raise(uint64_t event): injects an NMI that arrives at nmi_raise_at.
 * nmi_entry runs on a stack of its own. The first time it injects another NMI, drops the page of
 * that stack from EPT if nmi_zap is set, and from there on touches no memory but the image until
 * IRET has faulted and been repeated. A second NMI that arrives at the IRET came too early; it
 * would have overwritten the first frame, which is put back so that the test can end.
 */
    .globl nmi_raise, nmi_raise_at
nmi_raise:
    pushq %rbx
    INJECT
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
    movl $(0x80000000 | 2 << 8 | 2), %edi /* an NMI, valid */
    INJECT
    vmcall
    movl %eax, nmi_result
    cmpl $0, nmi_zap
    je 2f
    movq %rsp, %rbx
    andq $-4096, %rbx
    movl $1, %ecx
    movl $(ABI_HYPERCALL | HC_ZAP), %eax
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
