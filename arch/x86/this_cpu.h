/* SPDX-License-Identifier: MIT */
/* The number of the executing CPU, without a call. A file that includes this header runs only on
 * the machine, not hosted; see PURE in the Makefile. */
#pragma once

#include "arch/x86/cpus.h"

/* this_cpu() of lib/cpu_local.h, inline. The assembly is not volatile, so the compiler may reuse
 * its result: a function and everything that it calls run on one CPU. The elements of per-CPU
 * arrays have the size of a cache line, so GS points to the number times that size, and the exit
 * path need not multiply. */
extern inline __attribute__((gnu_inline, always_inline)) unsigned this_cpu(void)
{
    uint64_t offset;
    __asm__("movq %%gs:0, %0" : "=r"(offset));
    if (offset % CPU_RECORD || offset / CPU_RECORD >= CPUS_MAX)
        __builtin_unreachable();
    return (unsigned)(offset / CPU_RECORD);
}
