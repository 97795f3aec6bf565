/* SPDX-License-Identifier: MIT */
#include "arch/x86/leftovers.h"

#include "arch/x86/guarded.h"
#include "arch/x86/reg_bits.h"
#include "arch/x86/unprivileged.h"
#include "lib/log.h"

#define MSR_PERF_GLOBAL_CTRL 0x38fu
#define MSR_RTIT_CTL         0x570u

#define MISC_ENABLE_LIMIT_CPUID BIT(22)
#define RTIT_CTL_TRACE          BIT(0)
#define CPUID7_EBX_PT           BIT(25)
#define CPUIDA_EAX_VERSION      BITS(7, 0)
#define INTEL_EBX               0x756e6547u /* "Genu" */

/* Other vendors have the MSR for other things, or not at all. */
static void end_cpuid_limit(unsigned cpu)
{
    struct cpuid zero = cpuid(0, 0);
    uint64_t value;
    if (zero.ebx != INTEL_EBX || !rdmsr_safe(MSR_MISC_ENABLE, &value) ||
        !(value & MISC_ENABLE_LIMIT_CPUID) ||
        !wrmsr_safe(MSR_MISC_ENABLE, value & ~MISC_ENABLE_LIMIT_CPUID))
        return;
    log_info("CPU %u: the firmware has limited CPUID to leaf %#x (\"Limit CPUID Maximum\", "
             "IA32_MISC_ENABLE bit 22); now it goes up to %#x",
             cpu, zero.eax, cpuid(0, 0).eax);
}

static void end_trace(unsigned cpu)
{
    uint64_t value;
    if (!(cpuid(7, 0).ebx & CPUID7_EBX_PT) || !rdmsr_safe(MSR_RTIT_CTL, &value) ||
        !(value & RTIT_CTL_TRACE) || !wrmsr_safe(MSR_RTIT_CTL, value & ~RTIT_CTL_TRACE))
        return;
    log_info("CPU %u: Intel PT was on (IA32_RTIT_CTL = %#lx), and is off now", cpu, value);
}

/* From version 2 on, one MSR enables all counters (SDM 3, 20.2.2). A reset sets bits of it, so a
 * value says nothing of the counters. */
static void end_counters(unsigned cpu)
{
    uint64_t value;
    if ((cpuid(0xa, 0).eax & CPUIDA_EAX_VERSION) < 2 || !rdmsr_safe(MSR_PERF_GLOBAL_CTRL, &value) ||
        !value)
        return;
    if (!wrmsr_safe(MSR_PERF_GLOBAL_CTRL, 0))
        log_warn("CPU %u refuses to switch its performance counters off "
                 "(IA32_PERF_GLOBAL_CTRL = %#lx)",
                 cpu, value);
}

void leftovers_end(unsigned cpu)
{
    end_cpuid_limit(cpu);
    uint32_t last = cpuid(0, 0).eax;
    if (last >= 7)
        end_trace(cpu);
    if (last >= 0xa)
        end_counters(cpu);
}
