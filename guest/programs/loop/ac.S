/* SPDX-License-Identifier: MIT */
/*
 * void loop_ac(void): leaves long mode, and causes an #AC at CPL 3 whose handler also runs at CPL
 * 3, on a misaligned stack. The push of each frame is the misaligned access that causes the next
 * #AC. (In long mode, the CPU aligns the stack before it pushes a frame.) Does not return.
 */
#include "guest/programs/rt/layout.h"

#define MSR_EFER  0xc0000080
#define EFER_LME  0x100
#define CR0_AM    0x40000
#define FLAG_AC   0x40000
#define USER_CODE 0x0b
#define USER_DATA 0x13

    .text
    .globl loop_ac
loop_ac:
    pushq $SEL_CODE32
    pushq $1f
    lretq

    .code32
1:  movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl $MSR_EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr
    movl %cr0, %eax
    orl $CR0_AM, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    movl $2f, %eax
    movw %ax, gate
    shrl $16, %eax
    movw %ax, gate + 6
    lidt idt_pointer
    pushl $USER_DATA
    pushl $user_stack_top - 1
    pushl $(FLAG_AC | 2)
    pushl $USER_CODE
    pushl $2f
    iretl
2:  pushl %eax
    jmp 2b

    .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00cffb000000ffff /* USER_CODE */
    .quad 0x00cff3000000ffff /* USER_DATA */
    .quad 0x00cf9b000000ffff /* SEL_CODE32, which CS still contains */
gdt_pointer:
    .word . - gdt - 1
    .long gdt
idt:
    .fill 17, 8, 0
gate:
    .word 0, USER_CODE, 0xee00, 0
idt_pointer:
    .word . - idt - 1
    .long idt

    .bss
    .balign 16
    .skip 4096
user_stack_top:

    .section .note.GNU-stack, "", @progbits
