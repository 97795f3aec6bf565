/* SPDX-License-Identifier: MIT */
/*
 * Entry of every guest program: multiboot1 header, from 32-bit flat protected mode to 64-bit mode
 * with the low 4 GiB identity-mapped, then rt_main(). It does not depend on the program. A program
 * in a TD is entered at rt_start_64 by Linux' 64-bit boot protocol.
 */
#include "guest/programs/rt/layout.h"

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x2 /* the loader passes mem_upper and the command line */
#define STACK_SIZE      0x4000

    .section .multiboot, "ax"
    .balign 4
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

/* PML4 -> PDPT -> four directories of 2 MiB pages. */
.macro make_tables
    movl $(rt_pdpt + 7), rt_pml4
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $12, %eax
    addl $(rt_pd + 7), %eax
    movl %eax, rt_pdpt(, %ecx, 8)
    incl %ecx
    cmpl $4, %ecx
    jne 1b
    xorl %ecx, %ecx
2:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax /* present, writable, large */
    movl %eax, rt_pd(, %ecx, 8)
    incl %ecx
    cmpl $2048, %ecx
    jne 2b
.endm

    .code32
    .globl rt_start
rt_start:
    cli
    cld
    movl $rt_stack_top, %esp
    movl %eax, rt_boot_magic
    movl %ebx, rt_boot_info
    make_tables
    movl $rt_pml4, %eax
    movl %eax, %cr3
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax /* LME */
    wrmsr
    movl $0x80010033, %eax /* PG WP NE ET MP PE */
    movl %eax, %cr0
    lgdt rt_gdt_pointer
    ljmp $SEL_CODE64, $3f

    .code64
    .globl rt_start_64
rt_start_64:
    cli
    cld
    movl $LINUX_PROTOCOL, rt_boot_magic
    movl %esi, rt_boot_info
    make_tables
    movl $rt_pml4, %eax
    movq %rax, %cr3
    movq %cr0, %rax
    orl $0x10032, %eax /* WP NE ET MP */
    movq %rax, %cr0
    lgdt rt_gdt_pointer
    movl $rt_stack_top, %esp
    pushq $SEL_CODE64
    pushq $3f
    lretq

3:  movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $rt_stack_top, %esp
    xorl %ebp, %ebp
    call rt_main
    ud2

    .data
    .balign 16
    .globl rt_gdt, rt_gdt_pointer
rt_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* SEL_CODE64 */
    .quad 0x00cf93000000ffff /* SEL_DATA */
    .quad 0x00cf9b000000ffff /* SEL_CODE32 */
    .quad 0x00009b000000ffff /* SEL_CODE16, base set by its user */
    .quad 0x000093000000ffff /* SEL_DATA16, base set by its user */
    .quad 0x00cff3000000ffff /* SEL_USER_DATA */
    .quad 0x00affb000000ffff /* SEL_USER_CODE */
    .quad 0, 0               /* SEL_TSS, filled by rt_traps_init() */
rt_gdt_pointer:
    .word . - rt_gdt - 1
    .quad rt_gdt

    .bss
    .balign 4096
    .globl rt_pml4, rt_pdpt, rt_pd
rt_pml4:
    .skip 4096
rt_pdpt:
    .skip 4096
rt_pd:
    .skip 4 * 4096
    .skip STACK_SIZE
    .globl rt_stack_top
rt_stack_top:
    .globl rt_boot_magic, rt_boot_info
rt_boot_magic:
    .long 0
rt_boot_info:
    .long 0

    .section .note.GNU-stack, "", @progbits
