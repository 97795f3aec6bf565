/* The number of the CPU that executes this, without a call. A file that includes this one runs on
 * the machine alone; see PURE in the Makefile. */
#pragma once

#include "arch/x86/cpus.h"

/* this_cpu() of lib/cpu_local.h, inline: a call and all that it calls run on one CPU, so the
 * compiler may remember it. What each CPU has in an array has the size of a cache line, so its
 * offset is what is kept: the exit path then need not multiply. */
extern inline __attribute__((gnu_inline)) unsigned this_cpu(void)
{
    uint64_t offset;
    __asm__("movq %%gs:0, %0" : "=r"(offset));
    if (offset % CPU_RECORD || offset / CPU_RECORD >= CPUS_MAX)
        __builtin_unreachable();
    return (unsigned)(offset / CPU_RECORD);
}
