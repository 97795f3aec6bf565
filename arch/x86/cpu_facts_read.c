/* SPDX-License-Identifier: MIT */
/* Reads the facts of this machine's CPUs; see the header. */
#include "arch/x86/cpu_facts.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"
#include "lib/string.h"

#define MSR_BIOS_SIGN_ID 0x8bu

/* The revision of the microcode update: CPUID leaf 1 writes it into the MSR, which is cleared
 * before, because a CPU without an update leaves it alone (SDM 3, 10.11.7.1). Only Intel's CPUs
 * work like that. */
static uint32_t read_microcode(void)
{
    uint64_t value = 0;
    if (!wrmsr_safe(MSR_BIOS_SIGN_ID, 0))
        return 0;
    (void)cpuid(1, 0);
    (void)rdmsr_safe(MSR_BIOS_SIGN_ID, &value);
    return (uint32_t)(value >> 32);
}

void cpu_facts_read(struct cpu_facts *facts)
{
    cpu_facts_parse(facts, cpuid);
    if (!strcmp(facts->vendor, "GenuineIntel"))
        facts->microcode = read_microcode();
}

const struct cpu_facts *cpu_facts(void)
{
    static struct cpu_facts boot_cpu;
    if (!boot_cpu.vendor[0])
        cpu_facts_read(&boot_cpu);
    return &boot_cpu;
}
