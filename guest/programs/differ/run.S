/* SPDX-License-Identifier: MIT */
/*
 * Runs one instruction of differ_code with the registers of differ_state, and stores the registers
 * there afterwards: differ_run64() in 64-bit code, differ_run32() and differ_run16() in
 * compatibility mode. After an exception, the handler in differ.c stores the general registers and
 * continues at differ_faulted.
 */
#include "guest/programs/differ/state.h"
#include "guest/programs/rt/layout.h"

    .text
    .globl differ_run64, differ_run32, differ_run16, differ_back64, differ_back32, differ_back16
    .globl differ_faulted, differ_saved_rsp, differ_code

    .macro each_vector action
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \action \n
    .endr
    .endm
    .macro load_ymm n
    vmovdqu differ_state + STATE_VECTORS + 32 * \n, %ymm\n
    .endm
    .macro load_xmm n
    movdqu differ_state + STATE_VECTORS + 32 * \n, %xmm\n
    .endm
    .macro store_ymm n
    vmovdqu %ymm\n, differ_state + STATE_VECTORS + 32 * \n
    .endm
    .macro store_xmm n
    movdqu %xmm\n, differ_state + STATE_VECTORS + 32 * \n
    .endm

    .macro enter
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, differ_saved_rsp
    cmpb $0, differ_has_avx
    je 1f
    each_vector load_ymm
    jmp 2f
1:  each_vector load_xmm
2:
    .endm

differ_run64:
    enter
    pushq differ_state + STATE_RFLAGS
    popfq
    movq differ_state + 0, %rax
    movq differ_state + 8, %rcx
    movq differ_state + 16, %rdx
    movq differ_state + 24, %rbx
    movq differ_state + 40, %rbp
    movq differ_state + 48, %rsi
    movq differ_state + 56, %rdi
    movq differ_state + 64, %r8
    movq differ_state + 72, %r9
    movq differ_state + 80, %r10
    movq differ_state + 88, %r11
    movq differ_state + 96, %r12
    movq differ_state + 104, %r13
    movq differ_state + 112, %r14
    movq differ_state + 120, %r15
    movq differ_state + 32, %rsp
    jmp *differ_entry

differ_back64:
    movq %rsp, differ_state + 32
    movq differ_saved_rsp, %rsp
    movq %rax, differ_state + 0
    movq %rcx, differ_state + 8
    movq %rdx, differ_state + 16
    movq %rbx, differ_state + 24
    movq %rbp, differ_state + 40
    movq %rsi, differ_state + 48
    movq %rdi, differ_state + 56
    movq %r8, differ_state + 64
    movq %r9, differ_state + 72
    movq %r10, differ_state + 80
    movq %r11, differ_state + 88
    movq %r12, differ_state + 96
    movq %r13, differ_state + 104
    movq %r14, differ_state + 112
    movq %r15, differ_state + 120
    pushfq
    popq differ_state + STATE_RFLAGS

differ_faulted:
    cld
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movq differ_saved_rsp, %rsp
    cmpb $0, differ_has_avx
    je 1f
    each_vector store_ymm
    jmp 2f
1:  each_vector store_xmm
2:  popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

differ_run32:
    enter
    movl $SEL_DATA16, %eax
    movl %eax, %fs
    pushq $SEL_CODE32
    pushq $1f
    lretq

    .code32
1:  movl $differ_stack_top, %esp
    pushl differ_state + STATE_RFLAGS
    popfl
    movl differ_state + 0, %eax
    movl differ_state + 8, %ecx
    movl differ_state + 16, %edx
    movl differ_state + 24, %ebx
    movl differ_state + 40, %ebp
    movl differ_state + 48, %esi
    movl differ_state + 56, %edi
    movl differ_state + 32, %esp
    jmp *differ_entry

differ_back32:
    movl %esp, differ_state + 32
    movl $differ_stack_top, %esp
    movl %eax, differ_state + 0
    movl %ecx, differ_state + 8
    movl %edx, differ_state + 16
    movl %ebx, differ_state + 24
    movl %ebp, differ_state + 40
    movl %esi, differ_state + 48
    movl %edi, differ_state + 56
    pushfl
    popl differ_state + STATE_RFLAGS
    ljmp $SEL_CODE64, $differ_faulted

    .code64
differ_run16:
    enter
    movl $SEL_DATA16, %eax
    movl %eax, %fs
    movl %eax, %es
    movl $SEL_DATA, %ecx
    movl %ecx, %gs
    movl %eax, %ds
    pushq $SEL_CODE16
    pushq $(differ_stub16 - differ_code)
    lretq

    /* The code and its 16-bit frame, in one segment. */
    .balign 4096
differ_code:
    .skip 8192
    .code16
differ_stub16:
    movl $differ_stack_top, %esp
    addr32 pushl %gs:differ_state + STATE_RFLAGS
    popfl
    addr32 movl %gs:differ_state + 0, %eax
    addr32 movl %gs:differ_state + 8, %ecx
    addr32 movl %gs:differ_state + 16, %edx
    addr32 movl %gs:differ_state + 24, %ebx
    addr32 movl %gs:differ_state + 40, %ebp
    addr32 movl %gs:differ_state + 48, %esi
    addr32 movl %gs:differ_state + 56, %edi
    addr32 movl %gs:differ_state + 32, %esp
    addr32 jmpl *%gs:differ_entry

differ_back16:
    addr32 movl %esp, %gs:differ_state + 32
    movl $differ_stack_top, %esp
    addr32 movl %eax, %gs:differ_state + 0
    addr32 movl %ecx, %gs:differ_state + 8
    addr32 movl %edx, %gs:differ_state + 16
    addr32 movl %ebx, %gs:differ_state + 24
    addr32 movl %ebp, %gs:differ_state + 40
    addr32 movl %esi, %gs:differ_state + 48
    addr32 movl %edi, %gs:differ_state + 56
    pushfl
    addr32 popl %gs:differ_state + STATE_RFLAGS
    ljmpl $SEL_CODE64, $differ_faulted

    .bss
    .balign 16
differ_saved_rsp:
    .quad 0
    .skip 64
differ_stack_top:

    .section .note.GNU-stack, "", @progbits
