/* SPDX-License-Identifier: MIT */
/*
 * The end of a start on a CPU without 64-bit mode, on which none of the C code runs. It prints the
 * reason on the screen, in VGA text mode as the BIOS leaves it, and on COM1, ends with the last
 * line that every run prints, and passes the exit code to the emulator, if there is one.
 * boot/start.S jumps here in 32-bit flat mode. There is no stack.
 */
#include "lib/exit_codes.h"

#define X(name, number, text) .set EXIT_##name, number;
EXIT_CODES(X)
#undef X

#define SCREEN       0xb8000
#define SCREEN_CELLS 2000 /* 80 x 25 */
#define ROW          160
#define BLANK        0x07200720 /* two cells, white on black */

#define COM1        0x3f8
#define COM1_LINE   0x3fb
#define COM1_STATUS 0x3fd
#define LINE_8N1    0x03
#define DIVISOR     0x80 /* the first two ports are the divisor latch */
#define EMPTY       0x20
#define IDLE        0x40
#define WAIT_LIMIT  1000000

#define BOCHS_DEBUG 0x8900 /* the same ports as in arch/x86/power.c */
#define QEMU_EXIT   0xf4

    /* Waits until `bit` is set in the UART's line status. Gives up after WAIT_LIMIT reads, in case
     * there is no UART. */
    .macro wait_for bit
    movl $WAIT_LIMIT, %ecx
    movw $COM1_STATUS, %dx
1:  inb %dx, %al
    testb $\bit, %al
    loopz 1b
    .endm

    .macro write_port port, value
    movw $\port, %dx
    movb $\value, %al
    outb %al, %dx
    .endm

    .section .boot, "ax"
    .code32
    .globl no_long_mode
no_long_mode:
    movl $SCREEN, %edi
    movl $BLANK, %eax
    movl $(SCREEN_CELLS / 2), %ecx
    rep stosl
    movl $SCREEN, %edi
    movl $message, %esi
next_cell:
    lodsb
    testb %al, %al
    jz on_serial
    cmpb $'\r', %al
    je next_row
    cmpb $'\n', %al
    je next_cell
    stosb
    incl %edi
    jmp next_cell
next_row:
    leal (ROW - SCREEN)(%edi), %eax
    xorl %edx, %edx
    movl $ROW, %ecx
    divl %ecx
    subl %edx, %edi
    addl $ROW, %edi
    jmp next_cell

on_serial:
    movw $COM1_STATUS, %dx
    inb %dx, %al
    cmpb $0xff, %al /* nothing answers, so nothing is written */
    je leave
    write_port COM1_LINE, DIVISOR | LINE_8N1
    write_port COM1, 1 /* 115200 */
    write_port COM1 + 1, 0
    write_port COM1_LINE, LINE_8N1
    movl $message, %esi
next_byte:
    wait_for EMPTY
    lodsb
    testb %al, %al
    jz leave
    movw $COM1, %dx
    outb %al, %dx
    jmp next_byte

leave:
    wait_for IDLE
    write_port BOCHS_DEBUG, 'D'
    write_port QEMU_EXIT, EXIT_NO_VMX
2:  hlt
    jmp 2b

message:
    .ascii "eptvisor: a hypervisor for trying ideas about memory virtualization\r\n"
    .ascii "error: this CPU has no 64-bit mode or no execute-disable bit; eptvisor needs both, "
    .ascii "and VMX; use an Intel CPU with VT-x, with \"Execute Disable Bit\" on in the firmware's "
    .ascii "setup\r\n"
    .if EXIT_NO_VMX != 10
    .error "the last line below has another exit code"
    .endif
    .asciz "EXIT 10 no-vmx\r\n"

    .section .note.GNU-stack, "", @progbits
