/* SPDX-License-Identifier: MIT */
/* The instruction by which a TD calls the TDX module. */
#pragma once

#include <stdint.h>

/* The general registers in the order of their numbers, without RSP. */
struct td_registers {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
};

/* Executes TDCALL with these registers, which it replaces. Only in 64-bit mode. */
void execute_tdcall(struct td_registers *registers);
