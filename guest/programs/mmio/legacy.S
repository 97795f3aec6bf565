/* SPDX-License-Identifier: MIT */
/*
 * legacy_call(): leaves long mode for one call of 32-bit, 16-bit or real-mode code, with or without
 * paging, and returns to long mode. An exception in between causes a triple fault.
 */
#include "guest/programs/mmio/legacy.h"
#include "guest/programs/rt/layout.h"

#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

    .text
    .globl legacy_call, legacy_return
legacy_call:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movl %edi, call
    movq %rsp, saved_rsp
    movq %cr3, %rax
    movq %rax, saved_cr3
    movq %cr4, %rax
    movq %rax, saved_cr4
    movq %cr0, %rax
    movq %rax, saved_cr0
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
    movl call, %edx
    movl 32(%edx), %eax
    movl %eax, %cr4
    movl 28(%edx), %eax
    movl %eax, %cr3
    movl 24(%edx), %eax
    movl %eax, %cr0
    jmp 2f
2:  movl $SEL_DATA16, %eax
    movl %eax, %fs
    movl 8(%edx), %eax
    movl 16(%edx), %edi
    movl %edi, %ebx
    movl %edi, %ebp
    movl $4, %esi
    cmpl $0, 36(%edx)
    movzwl 6(%edx), %ecx
    movl %ecx, %ds
    jne 3f
    lcall *%es:(%edx)
    jmp legacy_return
3:  ljmp $SEL_CODE16, $0 /* real_entry is at offset 0 */

legacy_return:
    movl $SEL_DATA, %ecx
    movl %ecx, %ds
    movl %ecx, %ss
    movl %eax, result
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl saved_cr4, %eax
    movl %eax, %cr4
    movl saved_cr3, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl saved_cr0, %eax
    movl %eax, %cr0
    ljmp $SEL_CODE64, $4f

    .code64
4:  movq saved_rsp, %rsp
    popq %rdi
    movl result, %eax
    movq %rax, 8(%rdi)
    xorl %ecx, %ecx
    movl %ecx, %fs
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .bss
    .balign 8
saved_rsp:
    .quad 0
saved_cr0:
    .quad 0
saved_cr3:
    .quad 0
saved_cr4:
    .quad 0
call:
    .long 0
result:
    .long 0

    .section .note.GNU-stack, "", @progbits
