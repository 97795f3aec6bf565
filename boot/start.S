/* SPDX-License-Identifier: MIT */
/*
 * The multiboot headers, and the code from 32-bit flat mode to boot_main() in 64-bit mode.
 *
 * The loader enters boot_entry with paging off, EAX = magic and EBX = the boot information. The
 * boot page tables map the first 4 GiB at address 0 and at DIRECT_MAP, and the first GiB also at
 * KERNEL_BASE. Everything is writable and executable until arch/x86/paging.c replaces these tables.
 */
#include "boot/layout.h"
#include "boot/long_mode.inc"

#define MB1_MAGIC 0x1badb002
#define MB1_FLAGS 0x3 /* modules on page boundaries; a memory map is required */
#define MB2_MAGIC 0xe85250d6

    .section .multiboot, "a"
    .balign 8
    .long MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)

    /* No tag requests a framebuffer: on a BIOS machine, such a tag would make GRUB leave text mode;
     * on a UEFI machine, which has no text mode, GRUB passes its framebuffer anyway. */
    .balign 8
mb2_header:
    .long MB2_MAGIC, 0, mb2_end - mb2_header, -(MB2_MAGIC + (mb2_end - mb2_header))
    .balign 8
    .short 6, 0 /* modules on page boundaries */
    .long 8
    .balign 8
    .short 0, 0
    .long 8
mb2_end:

    .section .boot, "ax"
    .code32
    .globl boot_entry
boot_entry:
    cli
    cld
    movl %eax, %ebp /* keeps the magic; CPUID overwrites EAX and EBX */
    movl %ebx, %esi /* the boot information, the second argument of boot_main() */

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    andl $((1 << 29) | (1 << 20)), %edx /* long mode and NX */
    cmpl $((1 << 29) | (1 << 20)), %edx
    jne no_long_mode

    /* Fill four page directories of 512 entries, each of which maps 2 MiB. */
    movl $PHYS(boot_directories), %edi
    movl $0x83, %eax /* present, writable, large */
    xorl %edx, %edx
1:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 1b

    movl $PHYS(boot_pdpt), %edi
    movl $(PHYS(boot_directories) + 3), %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x1000, %eax
    loop 2b
    movl $(PHYS(boot_directories) + 3), PHYS(boot_pdpt_image) + 510 * 8
    movl $(PHYS(boot_pdpt) + 3), PHYS(boot_pml4)
    movl $(PHYS(boot_pdpt) + 3), PHYS(boot_pml4) + 256 * 8
    movl $(PHYS(boot_pdpt_image) + 3), PHYS(boot_pml4) + 511 * 8

    lgdt boot_gdt_pointer
    enter_long_mode in_long_mode

    .code64
in_long_mode:
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq $(stacks + STACK_BOOT * (STACK_GUARD + STACK_SIZE) + STACK_GUARD + STACK_SIZE), %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp /* the backtrace ends here */
    pushq $0
    movq $boot_main, %rax
    jmp *%rax

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 64-bit code */
    .quad 0x00cf93000000ffff /* data */
    .quad 0x00cf9b000000ffff /* 32-bit code, for the trampoline of other CPUs */
    .globl boot_gdt_limit
    .set boot_gdt_limit, . - boot_gdt - 1
    .globl boot_gdt
boot_gdt_pointer:
    .short boot_gdt_limit
    .long boot_gdt

    .bss
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_pdpt_image:
    .skip 4096
boot_directories:
    .skip 4 * 4096

    .section .note.GNU-stack, "", @progbits
