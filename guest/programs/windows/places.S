/* SPDX-License-Identifier: MIT */
/*
 * Code in which an interrupt must or must not arrive. It is expected at the labels that end in _at.
 * Called by windows.c.
 */
#include "guest/programs/rt/inject.inc"

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

/* The shadow of MOV SS covers an instruction that exits and injects the interrupt itself. */
    .globl place_vmcall, place_vmcall_at
place_vmcall:
    pushq %rbx
    movl %ss, %esi
    INJECT_RDI
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

    .section .note.GNU-stack, "", @progbits
