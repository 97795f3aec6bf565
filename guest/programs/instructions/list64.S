/* SPDX-License-Identifier: MIT */
/* The list in 64-bit code, with the instructions that REX adds, and call_instruction(), which runs
 * an instruction of any of the lists. */
#include "guest/programs/rt/layout.h"

#define CODE       .text
#define FAR_RETURN lretl
#define MEM        (%rdi)
#define MEM3       3(%rdi)
#define MEM12      12(%rdi)
#define LIST       instructions64

    .globl instructions64, instructions64_end
    .code64
#include "guest/programs/instructions/list.inc"
    .irp op, add, or, adc, sbb, and, sub, xor, cmp
    INSN \op\()q %rax, MEM
    .endr
    INSN lock subq $-0x55, MEM3
    INSN btsq %rdx, MEM
    INSN rolq %cl, MEM3
    INSN shldq $9, %rax, MEM
    INSN cmovzq MEM, %rax
    INSN cmovnzq MEM, %rax
    INSN xchgq %rax, MEM
    INSN xaddq %rax, MEM3
    INSN cmpxchgq %rcx, MEM
    INSN lock cmpxchg16b MEM
    INSN mulq MEM
    INSN idivq MEM12
    INSN movntiq %rax, MEM
    INSN rep stosq
    INSN rep movsq
    INSN repe cmpsq
    INSN addr32 rep movsb
    INSN addr32 lodsl
    .macro ON_STACK
    movq %rsp, %rdx
    leaq 0x40(%rdi), %rsp
    pushq %rax
    pushq $-5
    pushfq
    popq %rcx
    pushw $3
    popw %cx
    enter $8, $1
    leave
    pushq $0 /* where the frame pointer was, which is an address */
    pushq $0
    popq %rbx
    popq %rbx
    enter $16, $0
    leave
    call 1f
1:  leaq 2f(%rip), %rcx
    movq %rcx, (%rsp)
    ret
2:  popq %rbx
    xorl %ecx, %ecx
    movq %rdx, %rsp
    xorl %edx, %edx
    .endm
    INSN ON_STACK
    .macro FAR
    leaq 1f(%rip), %rcx
    movl %ecx, MEM
    movw $SEL_CODE64, 4(%rdi)
    ljmp *MEM
    ud2
1:  addl $2f - 1b, MEM
    lcall *MEM
    jmp 3f
2:  incl %eax
    lretl
3:  xorl %ecx, %ecx
    .endm
    INSN FAR
    INSN bsfq MEM, %rax
    INSN lslq MEM, %rax
    .set need, 28
    INSN vmovdqu %ymm1, -0x20(%rdi, %rcx, 8)
    .set need, 32
    .section .rodata.instructions, "a"
instructions64_end:

/* void call_instruction(struct insn_call *call, bool avx): loads the registers and flags, makes the
 * far call, and stores them. */
    .text
    .globl call_instruction
call_instruction:
    pushq %rbx
    pushq %rbp
    pushq %r12
    movq %rdi, %r11
    movl %esi, %r12d
    testl %r12d, %r12d
    jz 1f
    vmovdqu 64(%r11), %ymm0
    vmovdqu 96(%r11), %ymm1
    jmp 2f
1:  movdqu 64(%r11), %xmm0
    movdqu 96(%r11), %xmm1
2:  movzwl 6(%r11), %ecx
    movl %ecx, %ds
    movl %ecx, %es
    movq 8(%r11), %rax
    movq 16(%r11), %rcx
    movq 24(%r11), %rdx
    movq 32(%r11), %rbx
    movq 40(%r11), %rsi
    movq 48(%r11), %rdi
    pushq 56(%r11)
    popfq
    lcall *(%r11)
    pushfq
    popq 56(%r11)
    cld
    movq %rax, 8(%r11)
    movq %rcx, 16(%r11)
    movq %rdx, 24(%r11)
    movq %rbx, 32(%r11)
    movq %rsi, 40(%r11)
    movq %rdi, 48(%r11)
    movl $SEL_DATA, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    testl %r12d, %r12d
    jz 1f
    vmovdqu %ymm0, 64(%r11)
    vmovdqu %ymm1, 96(%r11)
    jmp 2f
1:  movdqu %xmm0, 64(%r11)
    movdqu %xmm1, 96(%r11)
2:  popq %r12
    popq %rbp
    popq %rbx
    ret

    .section .note.GNU-stack, "", @progbits
