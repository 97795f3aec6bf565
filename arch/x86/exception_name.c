/* SPDX-License-Identifier: MIT */
/* The names of exceptions, for messages about the hypervisor and about guests. Pure. */
#include "arch/x86/exceptions.h"
#include "lib/bits.h"

const char *exception_name(unsigned vector)
{
    static const char *const names[] = {
        "#DE divide error",
        "#DB debug",
        "NMI",
        "#BP breakpoint",
        "#OF overflow",
        "#BR bound range",
        "#UD invalid opcode",
        "#NM device not available",
        "#DF double fault",
        "coprocessor segment overrun",
        "#TS invalid TSS",
        "#NP segment not present",
        "#SS stack segment",
        "#GP general protection",
        "#PF page fault",
        "reserved vector 15",
        "#MF x87 error",
        "#AC alignment check",
        "#MC machine check",
        "#XM SIMD error",
        "#VE virtualization",
        "#CP control protection",
    };
    return vector < ARRAY_SIZE(names) ? names[vector] : "interrupt";
}
