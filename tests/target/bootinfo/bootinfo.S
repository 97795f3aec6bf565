/* SPDX-License-Identifier: MIT */
/* Multiboot1 and multiboot2 headers and the entry of the boot-protocol checker, see bootinfo.c. */
    .intel_syntax noprefix

    .section .multiboot, "a"
    .balign 8
multiboot2:
    .long 0xe85250d6, 0, multiboot2_end - multiboot2
    .long -(0xe85250d6 + multiboot2_end - multiboot2)
    .short 6, 0 /* module alignment */
    .long 8
    .short 0, 0
    .long 8
multiboot2_end:
    .balign 4
    .long 0x1badb002, 3, -(0x1badb002 + 3)

    .text
    .globl start
start:
    mov esp, offset stack_top /* the loader's may lie in a module */
    pushf
    mov ecx, cr0
    push ecx
    push ebx  /* the boot information */
    push eax  /* the magic number */
    call bootinfo
    mov dx, 0xf4
    out dx, al
    mov dx, 0x8900
    mov al, 'D'
    out dx, al
halt:
    cli
    hlt
    jmp halt

    .bss
    .balign 16
    .skip 4096
stack_top:

    .section .note.GNU-stack, "", @progbits
