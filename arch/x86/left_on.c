/* SPDX-License-Identifier: MIT */
/* Switches off what makes a CPU refuse instructions; see the header. */
#include "arch/x86/left_on.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"
#include "arch/x86/this_cpu.h"
#include "lib/log.h"

/* The bits exist on CPUs that do not enumerate them, too, so the MSR itself is asked: a bit that is
 * set exists. Both exceptions come before a VM exit of the instruction. */
static const struct {
    uint32_t msr;
    uint64_t bit;
    const char *name;
} features[] = {
    {0x33, BIT(29), "#AC of split locks"},            /* SDM 3, 9.1.2.3 */
    {0x33, BIT(28), "#GP or #AC of uncached locks"},  /* SDM 3, 9.1.2.3 */
    {0x140, BIT(0), "#GP of CPUID in user programs"}, /* SDM 4, MSR_MISC_FEATURES_ENABLES */
};

void left_on_clear(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        uint32_t msr = features[i].msr;
        uint64_t value;
        if (!rdmsr_safe(msr, &value) || !(value & features[i].bit))
            continue;
        uint64_t without = value & ~features[i].bit;
        if (wrmsr_safe(msr, without) && rdmsr_safe(msr, &value) && value == without)
            log_info("CPU %u: the firmware has left on %s (MSR %#x); it is off now, because no "
                     "guest expects it",
                     this_cpu(), features[i].name, msr);
        else
            log_warn("CPU %u: the firmware has left on %s, and MSR %#x cannot be changed: a guest "
                     "may get an exception that it does not expect; look for it in the firmware's "
                     "setup",
                     this_cpu(), features[i].name, msr);
    }
}
