/* SPDX-License-Identifier: MIT */
/* The code at which the mailbox wakes a CPU. It notes its state, tells that it has arrived, and
 * spins. The first CPU's page tables map all that it needs. */
#include "guest/programs/rt/layout.h"

    .text
    .code64
    .globl wake_entry
wake_entry:
    pushfq
    popq %rcx
    movl $1, %eax
    lock xaddl %eax, wake_arrived
    imull $48, %eax, %eax
    leaq wake_records(%rax), %rdx
    movl %esi, 0(%rdx) /* the shim's index of the CPU; no protocol promises it */
    movl %cs, %eax
    movl %eax, 4(%rdx)
    movq %rcx, 8(%rdx)
    movq %cr0, %rax
    movq %rax, 16(%rdx)
    movq %cr3, %rax
    movq %rax, 24(%rdx)
    movq %cr4, %rax
    movq %rax, 32(%rdx)
    movl $0xc0000080, %ecx
    pushq %rdx
    rdmsr
    popq %rdx
    movl %eax, 40(%rdx)
    lock incl wake_noted
1:  pause
    jmp 1b

    .bss
    .balign 16
    .globl wake_records, wake_arrived, wake_noted
wake_records:
    .skip 16 * 48
wake_arrived:
    .long 0
wake_noted:
    .long 0

    .section .note.GNU-stack, "", @progbits
