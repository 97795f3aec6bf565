/* SPDX-License-Identifier: MIT */
/* The functions that lib/ expects of a CPU: its number, and the pause in a waiting loop. */
#include "arch/x86/this_cpu.h"
#include "lib/spinlock.h"

unsigned this_cpu(void)
{
    uint64_t offset;
    __asm__("movq %%gs:0, %0" : "=r"(offset));
    return (unsigned)(offset / CPU_RECORD);
}

void cpu_relax(void)
{
    __builtin_ia32_pause();
}
