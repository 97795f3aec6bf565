/* SPDX-License-Identifier: MIT */
/*
 * The real-mode code at which a CPU starts after an INIT. It stores its registers at PROBE_FOUND,
 * in the order of `struct found` in init.c, and continues at the runtime's trampoline. All data is
 * addressed through DS, ES, SS, FS and GS with a selector and a base of 0.
 */
#include "guest/programs/init/probe.h"

    .section .rodata
    .globl probe, probe_end, mark, mark_end
    .code16
probe:
    cli
    movl %eax, PROBE_FOUND
    movl %ecx, PROBE_FOUND + 4
    movl %edx, PROBE_FOUND + 8
    movl %ebx, PROBE_FOUND + 12
    movl %esp, PROBE_FOUND + 16
    movl %ebp, PROBE_FOUND + 20
    movl %esi, PROBE_FOUND + 24
    movl %edi, PROBE_FOUND + 28
    pushfl
    popl %eax
    movl %eax, PROBE_FOUND + 32
    movl %cr0, %eax
    movl %eax, PROBE_FOUND + 36
    movl %cr2, %eax
    movl %eax, PROBE_FOUND + 40
    movl %cr3, %eax
    movl %eax, PROBE_FOUND + 44
    movl %cr4, %eax
    movl %eax, PROBE_FOUND + 48
    movl %dr0, %eax
    movl %eax, PROBE_FOUND + 52
    movl %dr1, %eax
    movl %eax, PROBE_FOUND + 56
    movl %dr2, %eax
    movl %eax, PROBE_FOUND + 60
    movl %dr3, %eax
    movl %eax, PROBE_FOUND + 64
    movl %dr6, %eax
    movl %eax, PROBE_FOUND + 68
    movl %dr7, %eax
    movl %eax, PROBE_FOUND + 72
    movl $0xc0000080, %ecx /* IA32_EFER */
    rdmsr
    movl %eax, PROBE_FOUND + 76
    movl $0xc0000100, %ecx /* IA32_FS_BASE, and that of GS */
    rdmsr
    orl %edx, %eax
    movl %eax, PROBE_FOUND + 80
    incl %ecx
    rdmsr
    orl %edx, %eax
    movl %eax, PROBE_FOUND + 84
    movl $PROBE_MARK, %eax
    movl %eax, PROBE_FOUND + 88
    movl %es:PROBE_FOUND + 88, %ebx
    movl %ebx, %ss:PROBE_FOUND + 92
    movl %fs:PROBE_FOUND + 92, %ebx
    movl %ebx, %gs:PROBE_FOUND + 96
    sgdt PROBE_FOUND + 100
    sidt PROBE_FOUND + 108
    movw %ds, PROBE_FOUND + 116
    movw %es, PROBE_FOUND + 118
    movw %ss, PROBE_FOUND + 120
    movw %fs, PROBE_FOUND + 122
    movw %gs, PROBE_FOUND + 124
    movw %cs, PROBE_FOUND + 126
    ljmp $0x800, $0 /* the runtime's trampoline */
probe_end:

/* Stores the page at which the CPU started, and loops. */
mark:
    cli
    movw %cs, %ax
    movw %ax, PROBE_FOUND
    1: jmp 1b
mark_end:

/* Fills all registers, and waits for the INIT. */
    .text
    .globl probe_spin
    .code64
probe_spin:
    movq $0x1111111111111111, %rax
    movq %rax, %rcx
    movq %rax, %rdx
    movq %rax, %rbx
    movq %rax, %rbp
    movq %rax, %rsi
    movq %rax, %rdi
    movq %rax, %r8
    movq %rax, %r15
    movq $0x40cd7, %r9 /* AC, DF and the arithmetic flags */
    pushq %r9
    popfq
    movl $1, probe_ready
1:  jmp 1b

    .bss
    .globl probe_ready
probe_ready:
    .long 0

    .section .note.GNU-stack, "", @progbits
