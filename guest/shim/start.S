/* SPDX-License-Identifier: MIT */
/*
 * The boot shim's entry and exit, and the loop of the CPUs that wait.
 *
 * All vCPUs of a TD start at once at the reset vector, in 32-bit flat protected mode without
 * paging: ECX is the address of the parameters, ESI the vCPU's index, which is also its APIC ID.
 * TDCALL works in 64-bit mode only, so the page tables are part of the image. They map the first 4
 * GiB at their physical addresses and as private memory.
 */
#include "guest/shim/layout.h"

#define CR0_PG   0x80000000
#define CR4_PAE  0x20
#define CR4_MCE  0x40 /* a TD cannot clear it */
#define MSR_EFER 0xc0000080
#define EFER_LONG_MODE 0x900 /* LME and NXE, which a TD has set from the beginning */

#define PTE_TABLE 0x63 /* present, writable, accessed, dirty */
#define PTE_2M    0xe3

#define MAILBOX_COMMAND 0 /* ACPI 6.5, table 5.44 */
#define MAILBOX_APIC_ID 4
#define MAILBOX_VECTOR  8
#define MAILBOX_WAKE_UP 1
#define MAILBOX_USED    0xffffffff0000ffff /* of its first 8 bytes: command and APIC ID */

    .section .reset, "ax", @progbits
    .code32
    .globl shim_reset
shim_reset:
    jmp start
    .balign 16, 0xcc

    .section .start, "ax", @progbits
    .code32
start:
    movl %ecx, %edi
    lgdt gdt_pointer
    movl $SHIM_TABLES, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $(CR4_PAE | CR4_MCE), %eax
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    rdmsr
    movl %eax, %ebx
    orl $EFER_LONG_MODE, %eax
    cmpl %ebx, %eax
    je 1f /* in a TD, WRMSR would be #VE */
    wrmsr
1:  movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    ljmp $SHIM_CODE, $in_64_bit_mode

    .code64
in_64_bit_mode:
    movl $SHIM_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    lidt idt_pointer(%rip)
    movl %edi, %edi
    movl %esi, %esi
    xorl %ebp, %ebp
    cld
    testl %esi, %esi
    jnz wait
    movl $SHIM_STACK_TOP, %esp
    call shim_main
    ud2

/* A CPU waits until the mailbox holds its APIC ID and the command to wake up. Both are read at
 * once: between two reads, the command could become that of another CPU. The kernel writes the ID,
 * the vector and then the command, so that the vector belongs to both. Clearing the command tells
 * the kernel that the vector has been read. */
wait:
    leal 1(%rsi), %esp
    imull $SHIM_AP_STACK_SIZE, %esp
    addl $SHIM_AP_STACKS, %esp
    movl $SHIM_MAILBOX, %ebx
    movl %esi, %edx
    shlq $(8 * (MAILBOX_APIC_ID - MAILBOX_COMMAND)), %rdx
    orq $MAILBOX_WAKE_UP, %rdx
    movabsq $MAILBOX_USED, %rcx
1:  pause
    movq MAILBOX_COMMAND(%rbx), %rax
    andq %rcx, %rax
    cmpq %rdx, %rax
    jne 1b
    movq MAILBOX_VECTOR(%rbx), %rax
    movw $0, MAILBOX_COMMAND(%rbx)
    jmp *%rax

/* _Noreturn void shim_enter(uint64_t entry, uint64_t zero_page) */
    .globl shim_enter
shim_enter:
    movq %rdi, %rax
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %edi, %edi
    xorl %ebp, %ebp
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    cld
    jmp *%rax

/* ---- Exceptions: none is expected, so each is reported. -------------------------------------- */

/* The vectors whose exceptions have an error code: 8, 10 to 14, 17, 21, 29 and 30. */
#define HAS_ERROR 0x60227d00

    .section .traps, "ax", @progbits
    .set vector, 0
    .rept 32
    .balign 16, 0xcc
    .if !((HAS_ERROR >> vector) & 1)
    pushq $0
    .endif
    pushq $vector
    jmp trap
    .set vector, vector + 1
    .endr
    .balign 16, 0xcc
trap:
    popq %rdi
    popq %rsi
    popq %rdx
    call shim_trap /* vector, error code, RIP */
    ud2

    .section .rodata
    .balign 8
gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff /* SHIM_CODE */
    .quad 0x00cf93000000ffff /* SHIM_DATA */
gdt_pointer:
    .word . - gdt - 1
    .quad gdt

    .balign 8
idt:
    .set vector, 0
    .rept 32
    .word (SHIM_TRAPS + 16 * vector) & 0xffff, SHIM_CODE, 0x8e00, SHIM_TRAPS >> 16
    .quad 0
    .set vector, vector + 1
    .endr
idt_pointer:
    .word . - idt - 1
    .quad idt

    .section .tables, "aw", @progbits
    .quad SHIM_TABLES + 0x1000 + PTE_TABLE
    .balign 4096
    .set i, 0
    .rept 4
    .quad SHIM_TABLES + 0x2000 + 0x1000 * i + PTE_TABLE
    .set i, i + 1
    .endr
    .balign 4096
    .set i, 0
    .rept 2048
    .quad 0x200000 * i + PTE_2M
    .set i, i + 1
    .endr

    .section .head, "aw", @progbits
    .byte 0

    .section .note.GNU-stack, "", @progbits
