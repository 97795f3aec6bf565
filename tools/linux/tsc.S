/* SPDX-License-Identifier: MIT */
/*
 * A program for Linux that prints the TSC in millions. In Bochs the TSC of a machine of one CPU
 * counts the instructions that were executed since it was switched on.
 */
    .globl _start
_start:
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    xorl %edx, %edx
    movl $1000000, %ecx
    divq %rcx
    leaq end(%rip), %rsi /* the digits are written from the last one on */
    movl $10, %ecx
1:  xorl %edx, %edx
    divq %rcx
    addb $'0', %dl
    decq %rsi
    movb %dl, (%rsi)
    testq %rax, %rax
    jnz 1b
    leaq end + 1(%rip), %rdx
    subq %rsi, %rdx
    movl $1, %eax /* write(1, digits and newline) */
    movl %eax, %edi
    syscall
    movl $60, %eax /* exit(0) */
    xorl %edi, %edi
    syscall

    .data
    .skip 20
end:
    .ascii "\n"

    .section .note.GNU-stack, "", @progbits
