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

/* The bits exist on CPUs that do not enumerate them, too, so the MSR itself is asked: a bit that is
 * set exists. These exceptions come before a VM exit of the instruction. */
static const struct {
    uint32_t msr;
    uint64_t bit;
    const char *name;
} refusals[] = {
    {0x33, BIT(29), "#AC of split locks"},            /* SDM 3, 9.1.2.3 */
    {0x33, BIT(28), "#GP or #AC of uncached locks"},  /* SDM 3, 9.1.2.3 */
    {0x140, BIT(0), "#GP of CPUID in user programs"}, /* SDM 4, MSR_MISC_FEATURES_ENABLES */
};

static void end_refusals(unsigned cpu)
{
    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        uint32_t msr = refusals[i].msr;
        uint64_t value;
        if (!rdmsr_safe(msr, &value) || !(value & refusals[i].bit))
            continue;
        uint64_t without = value & ~refusals[i].bit;
        if (wrmsr_safe(msr, without) && rdmsr_safe(msr, &value) && value == without)
            log_info("CPU %u: the firmware has left on %s (MSR %#x); it is off now, because no "
                     "guest expects it",
                     cpu, refusals[i].name, msr);
        else
            log_warn("CPU %u: the firmware has left on %s, and MSR %#x cannot be changed: a guest "
                     "may get an exception that it does not expect; look for it in the firmware's "
                     "setup",
                     cpu, refusals[i].name, msr);
    }
}

void leftovers_end(unsigned cpu)
{
    end_refusals(cpu);
    end_cpuid_limit(cpu);
    uint32_t last = cpuid(0, 0).eax;
    if (last >= 7)
        end_trace(cpu);
    if (last >= 0xa)
        end_counters(cpu);
}
