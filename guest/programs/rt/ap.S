/* SPDX-License-Identifier: MIT */
/*
 * The code at which the other CPUs of a guest start: rt_ap_trampoline is copied to a page below 1
 * MiB. Each CPU takes a number, in the order of arrival, and a stack, and calls rt_ap_main(number).
 */
#include "guest/programs/rt/layout.h"

#define STACK_SIZE 0x2000

    .section .rodata
    .globl rt_ap_trampoline, rt_ap_trampoline_end
    .code16
rt_ap_trampoline:
    cli
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdt_pointer - rt_ap_trampoline
    movl $0x11, %eax
    movl %eax, %cr0
    ljmpl $SEL_CODE32, $in_flat_mode
gdt_pointer:
    .word 0xffff
    .long rt_gdt
rt_ap_trampoline_end:

    .text
    .code32
in_flat_mode:
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $rt_pml4, %eax
    movl %eax, %cr3
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax /* LME */
    wrmsr
    movl $0x80010033, %eax /* PG WP NE ET MP PE */
    movl %eax, %cr0
    lgdt rt_gdt_pointer
    ljmp $SEL_CODE64, $1f

    .code64
1:  movl $1, %edi
    lock xaddl %edi, rt_ap_arrived
    incl %edi
    movl %edi, %eax
    imull $STACK_SIZE, %eax
    leaq rt_ap_stacks(%rax), %rsp
    xorl %ebp, %ebp
    call rt_ap_main
    ud2

    .bss
    .balign 16
rt_ap_stacks:
    .skip 32 * STACK_SIZE
    .globl rt_ap_arrived
rt_ap_arrived:
    .long 0

    .section .note.GNU-stack, "", @progbits
