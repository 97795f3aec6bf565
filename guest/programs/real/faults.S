/* SPDX-License-Identifier: MIT */
/*
 * Faults in real mode, for real.c, which copies this code to REAL_BASE, sets the bases of
 * SEL_CODE16 and SEL_DATA16 to it, and calls it by legacy_call(). So it contains no relocations.
 * Each call causes the fault that real_choice selects. With real_drop, the page for its frame is
 * first dropped from EPT.
 */
#include "guest/programs/real/faults.h"
#include "guest/programs/rt/layout.h"

#define AT(symbol) (symbol - real_code)

    .section .rodata
    .balign 16
    .globl real_code, real_code_end, real_choice, real_drop, real_limit, real_seen
    .code16
real_code:
    movl %esp, AT(saved_esp)
    movw $SEL_DATA16, %ax /* a stack of 64 KiB */
    movw %ax, %ss
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $REAL_SEGMENT, $AT(1f)
1:  movw %cs, %ax
    movw %ax, %ds
    lidtl AT(real_limit)
    cmpb $0, AT(real_drop)
    je 2f
    movl $REAL_STACK, %ebx
    movl $1, %ecx
    movl $HYPERCALL_ZAP, %eax
    vmcall
2:  movw $(REAL_STACK >> 4), %ax
    movw %ax, %ss
    movw $REAL_TOP, %sp
    movw AT(real_choice), %bx
    jmp *AT(table)(%bx)

/* The order is that of real.c. The IP that each fault should store follows it. */
table:
    .irp kind, gp, ss, ud, de, int, int3, int1, df
    .word AT(raise_\kind), AT(at_\kind)
    .endr
raise_gp:
at_gp:
    movw 0xffff, %ax
raise_ss:
    movw $0xffff, %bp
at_ss:
    movw (%bp), %ax
raise_ud:
at_ud:
    ud2
raise_de:
    xorw %cx, %cx
at_de:
    divw %cx
raise_int:
    int $REAL_INT
at_int:
raise_int3:
    int3
at_int3:
raise_int1:
    .byte 0xf1
at_int1:
raise_df: /* a #GP for which the IVT is too short, so that its delivery is another #GP */
at_df:
    movw 0xffff, %ax

    .irp vector, 0, 1, 3, 6, 8, 12, 13, REAL_INT
handle_\vector:
    movw $\vector, %bx
    jmp handle
    .endr

/* The vector, SP and IP that the handler has found, and the expected IP. */
handle:
    movw %sp, %bp
    movw (%bp), %cx
    movw %cs, %ax
    movw %ax, %ds
    movw %bx, AT(real_seen)
    movw %bp, AT(real_seen + 2)
    movw %cx, AT(real_seen + 4)
    movw AT(real_choice), %bx
    movw AT(table + 2)(%bx), %ax
    movw %ax, AT(real_seen + 6)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $SEL_CODE16, $AT(3f)
3:  movw $SEL_DATA, %ax
    movw %ax, %ss
    movl AT(saved_esp), %esp
    lretl

    .balign 4
real_limit:
    .word 0
    .long 0
    .balign 4
real_choice:
    .word 0
real_drop:
    .word 0
real_seen:
    .word 0, 0, 0, 0
    .balign 4
saved_esp:
    .long 0
real_code_end:

/* The handlers, by vector. */
    .balign 4
    .globl real_handlers
real_handlers:
    .irp vector, 0, 1, 3, 6, 8, 12, 13, REAL_INT
    .word \vector, AT(handle_\vector)
    .endr
    .word 0xffff

    .section .note.GNU-stack, "", @progbits
