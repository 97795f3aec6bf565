/* SPDX-License-Identifier: MIT */
/* A vCPU's registers that are loaded on demand, as an array. Include this in one file of each test
 * program. */
#pragma once

#include "arch/x86/regs.h"

static uint64_t reg[REG_COUNT];

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg which)
{
    (void)cpu;
    return reg[which];
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg which, uint64_t value)
{
    (void)cpu;
    reg[which] = value;
}
