/* SPDX-License-Identifier: MIT */
/* 32-bit code of refused.c, called by legacy_call(). */
#include "guest/programs/rt/layout.h"

#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define CR0_CD   0x40000000
#define CR0_PG   0x80000000

    .text
    .code32
/*
 * Activates long mode twice, first with TR = refused_tr and then with a valid TR, by a MOV to CR0
 * that also clears CD. Returns in EAX the number of #GP(0), plus 0x100 for each success.
 */
    .globl refused_activate
refused_activate:
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %cr0, %esi
    movl $rt_pml4, %eax
    movl %eax, %cr3
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    lidt refused_idt_pointer
    xorl %edi, %edi
    movl refused_tr, %ebx
    call try
    movl $SEL_CODE16, %ebx /* refused.c has put a 32-bit TSS there */
    call try
    movl %edi, %eax
    popl %edi
    popl %esi
    popl %ebx
    lret
try:
    ltr %bx
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl %esi, %eax
    orl $CR0_PG, %eax
    andl $~CR0_CD, %eax
    movl %esp, %ebp
    .globl refused_fault
    movl %eax, %cr0
    addl $0x100, %edi
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    jmp 1f
refused_fault:
    cmpl $0, (%esp) /* the error code */
    jne 1f
    incl %edi
1:  movl %ebp, %esp
    movl $MSR_EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr
    movl %esi, %cr0
    ret

/* Executes CPUID in the last bytes below 4 GiB, in 32-bit code whose CS has the L bit set: EIP
 * wraps to 0, where refused_low is. */
    .globl refused_wrap, refused_low, refused_low_end
refused_wrap:
    pushl %ebx
    ljmp $SEL_CODE16, $0xfffffffe
refused_low:
    ljmp $SEL_CODE32, $1f
refused_low_end:
1:  popl %ebx
    movl $1, %eax
    lret

    .data
    .balign 4
    .globl refused_idt, refused_tr
refused_idt:
    .fill 16, 8, 0
refused_idt_pointer:
    .word 16 * 8 - 1
    .long refused_idt
refused_tr:
    .long 0

    .section .note.GNU-stack, "", @progbits
