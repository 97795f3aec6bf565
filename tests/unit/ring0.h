/* SPDX-License-Identifier: MIT */
/*
 * Code for ring 0 in a hosted test, an instruction at a time. What user mode refuses (WRMSR, RDMSR,
 * HLT, CLI, VMXOFF) comes here as a signal and is done in a model, and with RFLAGS.TF set each
 * instruction is seen before it is executed. this_cpu() is 0. Include it in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include <asm/prctl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Supplied by the test. `rip` may be changed: there the CPU goes on. */
static void ring0_step(uint64_t *rip);  /* before each instruction, while single steps are on */
static void ring0_halts(uint64_t *rip); /* at HLT or CLI, with `rip` after it */
static void ring0_wrmsr(uint32_t msr, uint64_t value);
static uint64_t ring0_rdmsr(uint32_t msr);

static unsigned ring0_vmxoffs; /* VMXOFFs that have been executed */

/* Places in `gregs`; their names need _GNU_SOURCE, and are our own names of other things. */
enum { CONTEXT_RDX = 12, CONTEXT_RAX, CONTEXT_RCX, CONTEXT_RSP, CONTEXT_RIP };

static void ring0_trap(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)regs[CONTEXT_RIP];
    (void)number, (void)info;
    ring0_step(&rip);
    regs[CONTEXT_RIP] = (greg_t)rip;
}

static void ring0_fault(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)regs[CONTEXT_RIP];
    uint32_t msr = (uint32_t)regs[CONTEXT_RCX];
    const uint8_t *code = (const uint8_t *)rip;
    (void)info;
    if (code[0] == 0xf4 || code[0] == 0xfa) {
        rip++;
        ring0_halts(&rip);
    } else if (code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xc4) {
        rip += 3;
        ring0_vmxoffs++;
    } else if (code[0] == 0x0f && code[1] == 0x30) {
        rip += 2;
        ring0_wrmsr(msr, (uint64_t)regs[CONTEXT_RDX] << 32 | (uint32_t)regs[CONTEXT_RAX]);
    } else if (code[0] == 0x0f && code[1] == 0x32) {
        uint64_t value = ring0_rdmsr(msr);
        rip += 2;
        regs[CONTEXT_RAX] = (greg_t)(uint32_t)value;
        regs[CONTEXT_RDX] = (greg_t)(value >> 32);
    } else {
        signal(number, SIG_DFL);
    }
    regs[CONTEXT_RIP] = (greg_t)rip;
}

static void ring0_begin(void)
{
    static uint64_t cpu_0;
    struct sigaction trap = {.sa_sigaction = ring0_trap, .sa_flags = SA_SIGINFO};
    struct sigaction fault = {.sa_sigaction = ring0_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGTRAP, &trap, NULL);
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGILL, &fault, NULL); /* VMXOFF outside of VMX operation */
    syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu_0);
}

#define RING0_STEPS(flag) __asm__ volatile("pushfq; " flag "; popfq" ::: "cc", "memory")

static inline void ring0_single_steps(bool on)
{
    if (on)
        RING0_STEPS("orq $0x100, (%%rsp)");
    else
        RING0_STEPS("andq $~0x100, (%%rsp)");
}
