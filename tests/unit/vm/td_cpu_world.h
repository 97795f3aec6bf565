/* SPDX-License-Identifier: MIT */
/*
 * A TD's vCPU with the CPUID and the MSRs that vm/ emulates, of which the calls are noted. Include
 * it in one file, after the file that is tested.
 */
#pragma once

#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"
#include "vm/exits.h"
#include "vm/td_cpu.h"
#include "vm/vm.h"

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;

static struct {
    unsigned asked, reads, writes;
    uint32_t leaf, subleaf, msr;
    uint64_t value;
} seen;

struct cpuid cpuid_offered(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
    assert_ptr_equal(v, vcpu);
    seen.asked++;
    seen.leaf = leaf;
    seen.subleaf = subleaf;
    return (struct cpuid){~0u, ~0u, ~0u, ~0u};
}

/* Of the emulated MSRs, those of the x2APIC that exist, the TSC, the deadline, the APIC's base and
 * IA32_EFER. */
static bool exists(uint32_t msr)
{
    static const uint32_t some[] = {0x10,  0x1b,  0x6e0, 0x802, 0x803, 0x808, 0x80a, 0x80b,
                                    0x810, 0x827, 0x828, 0x830, 0x832, 0x838, 0x83f, 0xc0000080};
    for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
        if (some[i] == msr)
            return true;
    return false;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    assert_ptr_equal(v, vcpu);
    seen.reads++;
    if (!exists(msr) || msr == 0x80b || msr == 0x83f) /* write-only */
        return false;
    *value = 0x100000000ull + msr;
    return true;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    assert_ptr_equal(v, vcpu);
    seen.writes++;
    seen.msr = msr;
    seen.value = value;
    return exists(msr) && !(value & BIT(63)); /* a reserved bit */
}
