/* SPDX-License-Identifier: MIT */
/* Instructions that are not privileged, as inline functions. */
#pragma once

#include "lib/types.h"

/* The result of CPUID. */
struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "0"(leaf), "2"(subleaf));
    return r;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* No later instruction, RDTSC included, is executed before the earlier ones (SDM 2, LFENCE). */
static inline void load_fence(void)
{
    __asm__ volatile("lfence" : : : "memory");
}
