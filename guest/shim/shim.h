/* SPDX-License-Identifier: MIT */
/* The boot shim's C part, and what it takes from start.S or, in the hosted tests, from the test. */
#pragma once

#include "guest/shim/interface.h"
#include "lib/compiler.h"

/* The general registers in the order of their numbers, without RSP. */
struct shim_registers {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
};

/* Supplied by start.S: executes TDCALL with these registers, which it replaces. */
void shim_tdcall(struct shim_registers *registers);

/* Supplied by start.S: jumps to a kernel's 64-bit entry point. */
NORETURN void shim_enter(uint64_t entry, uint64_t zero_page);

/* Called by start.S on vCPU 0, and after an exception on any vCPU. */
NORETURN void shim_main(const struct shim_parameters *parameters);
NORETURN void shim_trap(uint64_t vector, uint64_t error, uint64_t rip);
