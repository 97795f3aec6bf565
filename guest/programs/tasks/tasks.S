/* SPDX-License-Identifier: MIT */
/*
 * The 32-bit code of both tasks of tasks.c. legacy_call() calls tasks_main, which runs tasks_deed
 * and returns with the state of the first task. An exception without a task gate ends the deed, in
 * any task and mode.
 */
#include "guest/programs/rt/layout.h"
#include "guest/programs/tasks/tasks.h"

#define NT 0x4000
#define TF 0x100

    .macro PATTERNS
    movl $0xa0a0a0a0, %eax
    movl $0xa1a1a1a1, %ecx
    movl $0xa2a2a2a2, %edx
    movl $0xa3a3a3a3, %ebx
    movl $0xa5a5a5a5, %ebp
    movl $0xa6a6a6a6, %esi
    movl $0xa7a7a7a7, %edi
    .endm

    /* An event in the format of HC_INJECT. */
    .macro INJECT event
    movl $\event, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $HYPERCALL_INJECT, %eax
    vmcall
    .endm

    .text
    .code32
    .globl tasks_main
tasks_main:
    pushl %ebx
    pushl %ebp
    pushl %esi
    pushl %edi
    movl %esp, first_esp
    lgdt tasks_gdt_pointer
    lidt tasks_idt_pointer
    movl $T_A, %eax
    ltr %ax
    jmp *tasks_deed

/* ---- Deeds of the first task ----------------------------------------------------------------- */

    .globl deed_call, deed_jmp, deed_gate, deed_int, deed_ud, deed_gp, deed_pf, deed_interrupt
    .globl deed_nmi, deed_again, deed_step, deed_fault
deed_call:
    PATTERNS
    lcall $T_B, $0
    jmp back
deed_jmp:
    PATTERNS
    ljmp $T_B, $0
    jmp back
deed_gate:
    PATTERNS
    lcall $T_GATE, $0
    jmp back
deed_int:
    PATTERNS
    int $T_VECTOR
    jmp back
deed_ud:
    PATTERNS
    ud2
    jmp back
deed_gp: /* the error code is the selector */
    PATTERNS
    movl $0xfff8, %eax
deed_fault:
    movl %eax, %ds
    movl $0xa0a0a0a0, %eax
    jmp back
deed_pf:
    PATTERNS
    .byte 0x8b, 0x0d /* mov 0xd0000000, %ecx: six bytes */
    .long 0xd0000000
    movl $0xa1a1a1a1, %ecx
    jmp back
deed_interrupt:
    sti
    nop
    INJECT 0x80000051
    PATTERNS
    nop
    cli
    jmp back
deed_nmi:
    INJECT 0x80000202
    PATTERNS
    nop
    jmp back
deed_again: /* the second task continues where it was */
    lcall $T_B, $0
    PATTERNS
    lcall $T_B, $0
    jmp back
deed_step: /* the switch itself causes no trap */
    PATTERNS
    pushfl
    orl $TF, (%esp)
    popfl
    lcall $T_B, $0
    pushfl
    andl $~TF, (%esp)
    popfl
    jmp back

/* ---- The second task ------------------------------------------------------------------------- */

    .macro NOTE
    movl %eax, second
    movl %ecx, second + 4
    movl %edx, second + 8
    movl %ebx, second + 12
    movl %esp, second + 16
    movl %ebp, second + 20
    movl %esi, second + 24
    movl %edi, second + 28
    popl %eax
    movl %eax, second + 32
    pushl %eax
    pushfl
    popl %eax
    movl %eax, second + 36
    xorl %eax, %eax
    str %ax
    movl %eax, second + 40
    movl %cr3, %eax
    movl %eax, second + 44
    movl %cr0, %eax
    movl %eax, second + 48
    incl second + 52
    .endm

    .globl other_iret, other_jmp, other_error, other_nmi, other_int
other_iret:
    NOTE
    iretl
    jmp other_iret
other_jmp:
    NOTE
    ljmp $T_A, $0
    jmp other_jmp
/* For faults: pops the error code, and advances the first task's EIP past its instruction. */
other_error:
    NOTE
    addl $4, %esp
    movl tasks_skip, %eax
    addl %eax, tasks_a + 0x20
    iretl
    jmp other_error
/* The first time, injects another NMI, which has to wait for the IRET. */
other_nmi:
    NOTE
    cmpl $1, second + 52
    jne 1f
    INJECT 0x80000202
    nop
    movl second + 52, %eax
    movl %eax, second + 56
1:  iretl
    jmp other_nmi
other_int: /* at CPL 3, or in virtual-8086 mode by a copy of it */
    int $T_CALLBACK
    .globl other_int_end
other_int_end:

/* ---- The end --------------------------------------------------------------------------------- */

/* Stores the vector, the error code (0 if there is none), EIP, CS, EFLAGS, CR2 and TR, and ends the
 * deed. */
    .globl fault_ts, fault_np, fault_ss, fault_gp, fault_pf, fault_db, fault_df, fault_callback
    .irp name, ts, np, ss, gp, pf, df
fault_\name:
    pushl $(name_\name)
    jmp fault
    .endr
    .set name_ts, 10
    .set name_np, 11
    .set name_ss, 12
    .set name_gp, 13
    .set name_pf, 14
    .set name_df, 8
fault_db:
    pushl $0
    pushl $1
    jmp fault
fault_callback:
    pushl $0
    pushl $T_CALLBACK
fault:
    movl $SEL_DATA, %eax
    movl %eax, %ds
    popl %eax
    movl %eax, ended
    popl %eax
    movl %eax, ended + 4
    popl %eax
    movl %eax, ended + 8
    popl %eax
    movl %eax, ended + 12
    popl %eax
    movl %eax, ended + 16
    movl %cr2, %eax
    movl %eax, ended + 20
    xorl %eax, %eax
    str %ax
    movl %eax, ended + 24
    movl %dr6, %eax
    movl %eax, ended + 28
    jmp finish

/* Stores the state with which the first task continues. */
back:
    movl %eax, first
    movl %ecx, first + 4
    movl %edx, first + 8
    movl %ebx, first + 12
    movl %esp, first + 16
    movl %ebp, first + 20
    movl %esi, first + 24
    movl %edi, first + 28
    pushfl
    popl %eax
    movl %eax, first + 36
    xorl %eax, %eax
    str %ax
    movl %eax, first + 40
    movl %cr3, %eax
    movl %eax, first + 44
    movl %cr0, %eax
    movl %eax, first + 48
    incl first + 52
    movb tasks_gdt + T_A + 5, %al
    movb %al, first + 56
    movb tasks_gdt + T_B + 5, %al
    movb %al, first + 57
finish:
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl first_esp, %esp
    pushl $2 /* no NT, no IF */
    popfl
    andb $~2, tasks_gdt + T_A + 5 /* not busy, so that LTR can load the 32-bit TSS again */
    movl $T_A, %eax
    ltr %ax
    popl %edi
    popl %esi
    popl %ebp
    popl %ebx
    xorl %eax, %eax
    lret

    .bss
    .balign 8
    .globl second, ended, first, tasks_deed, tasks_skip
second:
    .skip 60
first:
    .skip 60
ended:
    .skip 32
tasks_deed:
    .long 0
tasks_skip:
    .long 0
first_esp:
    .long 0

    .data
    .balign 8
tasks_gdt_pointer:
    .word 8 * T_COUNT - 1
    .long tasks_gdt
tasks_idt_pointer:
    .word 8 * 256 - 1
    .long tasks_idt

    .section .note.GNU-stack, "", @progbits
