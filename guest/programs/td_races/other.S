/* SPDX-License-Identifier: MIT */
/* The code at which the mailbox wakes the second CPU: it takes over the first CPU's page tables,
 * and calls the program on a stack of its own. */
#include "guest/programs/rt/layout.h"

    .text
    .code64
    .globl races_entry
races_entry:
    movl $rt_pml4, %eax
    movq %rax, %cr3
    leaq stack_end(%rip), %rsp
    call races_other
1:  pause
    jmp 1b

    .bss
    .balign 16
    .skip 8192
stack_end:

    .section .note.GNU-stack, "", @progbits
