/* SPDX-License-Identifier: MIT */
/*
 * The code at which an application processor starts: in real mode, at the page below 1 MiB that the
 * start-up IPI names. arch/x86/smp.c copies ap_trampoline to that page; the code is
 * position-independent. From flat mode on, the CPU executes the image itself. `ap_start` holds what
 * the CPU needs (page tables, stack, its struct cpu), and the CPU records its progress there.
 */
#include "boot/ap_start.h"
#include "boot/layout.h"
#include "boot/long_mode.inc"

    .section .rodata
    .globl ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdt_pointer - ap_trampoline
    movl $0x11, %eax /* ET and PE; CD and NW are clear, which enables the caches */
    movl %eax, %cr0
    ljmpl $SEL_CODE_32, $in_flat_mode
gdt_pointer:
    .short boot_gdt_limit
    .long boot_gdt
ap_trampoline_end:

    .section .boot, "ax"
    .code32
in_flat_mode:
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $AP_STAGE_FLAT, PHYS(ap_start + AP_START_STAGE)
    enter_long_mode in_long_mode

    .code64
in_long_mode:
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq $1f, %rax
    jmp *%rax

    /* The final page tables do not map .boot, nor the boot page tables, at the addresses in use so
     * far, so the CPU continues in .text before it loads CR3. */
    .text
1:  movl $AP_STAGE_LONG, ap_start + AP_START_STAGE
    movq ap_start + AP_START_ROOT, %rax
    movq %rax, %cr3
    movq ap_start + AP_START_STACK, %rsp
    movq ap_start + AP_START_CPU, %rdi
    xorl %ebp, %ebp /* the backtrace ends here */
    pushq $0
    jmp ap_main

    .section .note.GNU-stack, "", @progbits
