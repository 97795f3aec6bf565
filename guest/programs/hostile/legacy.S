/* SPDX-License-Identifier: MIT */
/*
 * Begins and ends a step outside of long mode, on the first CPU only: from 64-bit code through
 * compatibility mode into the mode and to the address in struct hostile_cpu. Every gate leads to
 * hostile_legacy_vector, and every vector of real mode to real_vector, below 64 KiB.
 */
#include "guest/programs/hostile/layout.h"

#define MSR_EFER  0xc0000080
#define EFER_LME  0x100
#define EFLAGS_VM 0x20000

    .text
    .globl hostile_enter_legacy, hostile_legacy_vector
hostile_enter_legacy:
    movl %edi, legacy_cpu
    pushq $SEL_CODE32
    pushq $1f
    lretq

    .code32
1:  lidt legacy_idt_pointer
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl $MSR_EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr
    movl CPU_CR4(%edi), %eax
    movl %eax, %cr4
    movl CPU_CR3(%edi), %eax
    movl %eax, %cr3
    movl CPU_CR0(%edi), %eax
    movl %eax, %cr0
    jmp 2f
2:  movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $SEL_LEGACY_TSS, %eax
    ltr %ax
    cmpl $0, CPU_REAL(%edi)
    jne 4f
    testl $EFLAGS_VM, CPU_RFLAGS(%edi)
    jz 3f
    xorl %eax, %eax
    pushl %eax /* GS, FS, DS, ES */
    pushl %eax
    pushl %eax
    pushl %eax
3:  testl $3, CPU_CS(%edi)
    jnz 5f
    testl $EFLAGS_VM, CPU_RFLAGS(%edi)
    jnz 5f
    movl CPU_RSP(%edi), %esp /* to the same privilege level: IRET pops three values */
    jmp 6f
5:  pushl CPU_SS(%edi)
    pushl CPU_RSP(%edi)
6:  pushl CPU_RFLAGS(%edi)
    pushl CPU_CS(%edi)
    pushl CPU_RIP(%edi)
    movl CPU_REGS + 0x00(%edi), %eax
    movl CPU_REGS + 0x08(%edi), %ecx
    movl CPU_REGS + 0x10(%edi), %edx
    movl CPU_REGS + 0x18(%edi), %ebx
    movl CPU_REGS + 0x28(%edi), %ebp
    movl CPU_REGS + 0x30(%edi), %esi
    movl CPU_REGS + 0x38(%edi), %edi
    iretl

4:  lidt real_idt_pointer
    movl CPU_RFLAGS(%edi), %eax
    movl %eax, LOW_STUBS + real_flags - real_begin
    ljmp $SEL_CODE16, $(LOW_STUBS + real_entry - real_begin)

hostile_legacy_vector:
    lgdt %cs:hostile_gdt_pointer
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $legacy_stack_top, %esp
    cld
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $rt_pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl $0x80010033, %eax
    lidt %cs:hostile_idt_pointer /* an NMI may arrive when MOV to CR0 has exited */
    movl %eax, %cr0
    ljmp $SEL_CODE64, $7f

    .code64
7:  movl legacy_cpu, %edi
    movq $0x100, CPU_VECTOR(%rdi)
    jmp hostile_recovered

/* Copied to LOW_STUBS. */
    .section .rodata
    .code16
    .globl real_begin, real_vector, real_end
real_begin:
real_entry:
    movl %cr0, %eax
    andl $~1, %eax
    movl %eax, %cr0
    ljmp $0, $(LOW_STUBS + 8f - real_begin)
8:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $LOW_STACK, %esp
    pushl LOW_STUBS + real_flags - real_begin
    popfl
    ljmp $0, $LOW_CODE
real_vector:
    cli
    lgdtl %cs:(LOW_STUBS + real_gdt - real_begin)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $SEL_CODE32, $hostile_legacy_vector
    .balign 4
real_flags:
    .long 2
real_gdt:
    .word 8 * GDT_SLOTS - 1
    .long hostile_gdt
real_end:

    .balign 4
    .globl hostile_gdt_pointer
hostile_gdt_pointer:
    .word 8 * GDT_SLOTS - 1
    .quad hostile_gdt
hostile_idt_pointer:
    .word 16 * 256 - 1
    .quad hostile_idt
legacy_idt_pointer:
    .word 8 * 256 - 1
    .long legacy_idt
real_idt_pointer:
    .word 0x3ff
    .long 0

    .bss
    .balign 16
    .skip 4096
legacy_stack_top:
legacy_cpu:
    .long 0

    .section .note.GNU-stack, "", @progbits
