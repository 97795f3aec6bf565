/* SPDX-License-Identifier: MIT */
/*
 * bool vmx_enter(struct vmx_vcpu *vcpu)
 *
 * The run loop: enters the guest, stores the guest's general registers at each exit, calls
 * vmx_exited(vcpu), and enters the guest again as long as vmx_exited() returns true. Only the first
 * entry of a VMCS is a VMLAUNCH. Returns true after vmx_exited() has returned false, and false if
 * VMLAUNCH or VMRESUME itself failed (CF or ZF). The guest's RSP is in the VMCS. The offsets are
 * those of struct vmx_vcpu and are asserted in vmx/vcpu.c.
 */
#define RAX 0
#define RCX 8
#define RDX 16
#define RBX 24
#define RBP 40
#define RSI 48
#define RDI 56
#define R8  64
#define R9  72
#define R10 80
#define R11 88
#define R12 96
#define R13 104
#define R14 112
#define R15 120
#define HOST_RSP 544
#define LAUNCHED 552
#define VMCS_HOST_RSP 0x6c14

    .macro load_guest
    movq RAX(%rdi), %rax
    movq RCX(%rdi), %rcx
    movq RDX(%rdi), %rdx
    movq RBX(%rdi), %rbx
    movq RBP(%rdi), %rbp
    movq RSI(%rdi), %rsi
    movq R8(%rdi), %r8
    movq R9(%rdi), %r9
    movq R10(%rdi), %r10
    movq R11(%rdi), %r11
    movq R12(%rdi), %r12
    movq R13(%rdi), %r13
    movq R14(%rdi), %r14
    movq R15(%rdi), %r15
    movq RDI(%rdi), %rdi
    .endm

    .text
    .globl vmx_enter
    .globl vmx_exit_entry
    .globl vmx_exit_entry_filled
    .globl vmx_exit_entry_cleared
vmx_enter:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi /* on top of the stack at every exit */

    cmpq HOST_RSP(%rdi), %rsp
    je 1f
    movq %rsp, HOST_RSP(%rdi)
    movl $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
1:
    cmpb $0, LAUNCHED(%rdi)
    jne 2f
    load_guest
    vmlaunch
    jmp 3f

2:  load_guest
    vmresume
3:  /* The instruction failed; no guest code ran. */
    xorl %eax, %eax
    jmp 4f

/* The code at host RIP: one variant for each set of speculation mitigations at exits, so that a
 * mitigation that is not needed costs nothing. */
    .macro save_guest
    pushq %rdi
    movq 8(%rsp), %rdi
    movq %rax, RAX(%rdi)
    movq %rcx, RCX(%rdi)
    movq %rdx, RDX(%rdi)
    movq %rbx, RBX(%rdi)
    movq %rbp, RBP(%rdi)
    movq %rsi, RSI(%rdi)
    movq %r8, R8(%rdi)
    movq %r9, R9(%rdi)
    movq %r10, R10(%rdi)
    movq %r11, R11(%rdi)
    movq %r12, R12(%rdi)
    movq %r13, R13(%rdi)
    movq %r14, R14(%rdi)
    movq %r15, R15(%rdi)
    popq RDI(%rdi)
    leaq 48(%rsp), %rbp /* the frame of vmx_enter, for backtraces */
    .endm

/* Clears the general registers, so that guest values in them can't influence mispredicted code of
 * the hypervisor. */
    .macro clear_guest
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %ebx, %ebx
    xorl %esi, %esi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    .endm

/* Fills the RSB with 32 calls whose returns lead nowhere. The run loop returns only from calls that
 * were made since the exit, so the guest's entries of the RSB could be used only after the loop,
 * and the RSB is filled there. */
    .macro fill_rsb
    movl $16, %ecx
70: call 72f
71: pause
    lfence
    jmp 71b
72: call 74f
73: pause
    lfence
    jmp 73b
74: addq $16, %rsp
    decl %ecx
    jnz 70b
    lfence
    .endm

vmx_exit_entry:
    save_guest
    call vmx_exited
    movq (%rsp), %rdi
    testb %al, %al
    jne 2b
    movl $1, %eax
    jmp 4f

vmx_exit_entry_filled:
    save_guest
    call vmx_exited
    movq (%rsp), %rdi
    testb %al, %al
    jne 2b
    jmp 5f

vmx_exit_entry_cleared:
    save_guest
    clear_guest
    call vmx_exited
    movq (%rsp), %rdi
    testb %al, %al
    jne 2b
5:  fill_rsb
    movl $1, %eax

4:  popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

    .section .note.GNU-stack, "", @progbits
