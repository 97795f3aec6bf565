/* SPDX-License-Identifier: MIT */
/* Instructions around TDCALL by their bytes, for td_leaves.c. */
#include "guest/programs/rt/layout.h"

#define TDCALL .byte 0x66, 0x0f, 0x01, 0xcc

    .text

/* Functions for try_run() that must be #UD at their first instruction. */
.macro undefined name, bytes:vararg
    .globl undefined_\name
undefined_\name:
    .byte \bytes
    ret
.endm
    undefined ud2, 0x0f, 0x0b
    undefined ud1, 0x0f, 0xb9, 0xc0
    undefined ud0, 0x0f, 0xff, 0xc0
    undefined no_prefix, 0x0f, 0x01, 0xcc
    undefined two_prefixes, 0x66, 0x66, 0x0f, 0x01, 0xcc
    undefined repeated, 0xf3, 0x66, 0x0f, 0x01, 0xcc
    undefined locked, 0xf0, 0x66, 0x0f, 0x01, 0xcc
    undefined rex, 0x66, 0x48, 0x0f, 0x01, 0xcc
    undefined seamops, 0x66, 0x0f, 0x01, 0xce
    undefined seamcall, 0x66, 0x0f, 0x01, 0xcf
    undefined push_es, 0x06
    undefined vmread, 0x0f, 0x78, 0xc0
    undefined vmxon, 0xf3, 0x0f, 0xc7, 0x37

/* TDCALL alone, for CPL 3 and for try_run(). */
    .globl tdcall_alone, tdcall_after
tdcall_alone:
    TDCALL
tdcall_after:
    ret

/* TDCALL in compatibility mode, for try_run(). */
    .globl tdcall_32
    .globl tdcall_in_32
tdcall_32:
    pushq $SEL_CODE32
    pushq $1f
    lretq
    .code32
1:
tdcall_in_32:
    TDCALL
    ud2
    .code64

/* uint64_t step_over_tdcall(void): VP.INFO with the trap flag set from before TDCALL on. The
 * handler of #DB clears it. Returns RAX. */
    .globl step_over_tdcall, stepped
step_over_tdcall:
    movl $1, %eax
    pushfq
    orq $0x100, (%rsp)
    popfq
    TDCALL
stepped:
    nop
    ret

/* uint64_t tdcall_in_shadow(void): VP.INFO in the shadow of MOV SS. */
    .globl tdcall_in_shadow
tdcall_in_shadow:
    movl %ss, %ecx
    movl $1, %eax
    movl %ecx, %ss
    TDCALL
    ret

    .section .note.GNU-stack, "", @progbits
