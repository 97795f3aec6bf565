/* SPDX-License-Identifier: MIT */
/*
 * Hosts for the tests of vm/features.h, recorded and made up, and a VM on one of them, whose
 * CPUID is asked as a guest's exit does. Included by one file of each program.
 */
#pragma once

#include "tests/unit/support.h"
#include "tests/unit/vm/cpuid_oracle.h"

#include "vmx/controls.h"
#include "vmx/broken.h"
#include "vmx/xcr0.h"

#define ALL_CONTROLS (SECONDARY_RDTSCP | SECONDARY_INVPCID | SECONDARY_XSAVES)

/* The CPUID leaves of a host. Leaves that are not listed are all zero. */
struct record {
    uint32_t leaf, subleaf;
    struct cpuid r;
};

/* The components of Sapphire Rapids; the first five of them are Ice Lake's. */
#define COMPONENTS                                                                                 \
    {0xd, 2, {0x100, 0x240, 0, 0}}, {0xd, 5, {0x40, 0x440, 0, 0}}, {0xd, 6, {0x200, 0x480, 0, 0}}, \
    {                                                                                              \
        0xd, 7,                                                                                    \
        {                                                                                          \
            0x400, 0x680, 0, 0                                                                     \
        }                                                                                          \
    }

#define ALL_ONES           \
    {                      \
        ~0u, ~0u, ~0u, ~0u \
    }

/* A CPU with all feature bits set, defined or not, and the components of Sapphire Rapids. */
static const struct record everything[] = {
    {0, 0, {0x20, 0x756e6547, 0x6c65746e, 0x49656e69}},
    {1, 0, {0x000806f8, 0x0b400800, ~0u, ~0u}},
    {2, 0, {0x00feff01, 0xf0, 0, 0}},
    {4, 0, {0xfc004121, 0x02c0003f, 0x3f, 0}},
    {4, 3, {0xfc1fc163, 0x0380003f, 0x1bfff, 4}},
    {5, 0, ALL_ONES},
    {6, 0, ALL_ONES},
    {7, 0, {2, ~0u, ~0u, ~0u}},
    {7, 1, ALL_ONES},
    {7, 2, ALL_ONES},
    {0xa, 0, ALL_ONES},
    {0xb, 0, {1, 2, 0x100, 7}},
    {0xb, 1, {7, 112, 0x201, 7}},
    {0xd, 0, {0x602e7, 0x2b00, 0x2b00, 0}},
    {0xd, 1, {0x1f, 0x2b00, 0x1900, 0}},
    COMPONENTS,
    {0xd, 9, {8, 0xa80, 0, 0}},
    {0xd, 17, {0x40, 0xac0, 2, 0}},
    {0xd, 18, {0x2000, 0xb00, 6, 0}},
    {0xf, 0, ALL_ONES},
    {0x10, 0, ALL_ONES},
    {0x12, 0, ALL_ONES},
    {0x14, 0, ALL_ONES},
    {0x15, 0, {2, 160, 25000000, 0}},
    {0x16, 0, {2000, 3800, 100, 0}},
    {0x19, 0, ALL_ONES},
    {0x1c, 0, ALL_ONES},
    {0x1d, 0, ALL_ONES},
    {0x1e, 0, ALL_ONES},
    {0x1f, 0, {1, 2, 0x100, 7}},
    {0x20, 0, ALL_ONES},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, ~0u, ~0u}},
    {0x80000002, 0, {1, 2, 3, 4}},
    {0x80000006, 0, {0, 0, 0x08007040, 0}},
    {0x80000007, 0, ALL_ONES},
    {0x80000008, 0, {0x003934, ~0u, ~0u, ~0u}},
};

/* Ice Lake as in Bochs 2.7: XCR0 includes PKRU's component, but its subleaf does not describe
 * it. */
static const struct record icelake_bochs[] = {
    {0, 0, {0x1b, 0x756e6547, 0x6c65746e, 0x49656e69}},
    {1, 0, {0x000706e5, 0x00100800, 0x7ffafbff, 0xbfebfbff}},
    {7, 0, {0, 0xf2bf27ef, 0x40405f4e, 0xbc000410}},
    {0xd, 0, {0x2e7, 0xa88, 0xa88, 0}},
    {0xd, 1, {0xf, 0xa08, 0x100, 0}},
    COMPONENTS,
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, 0x121, 0x2c100800}},
    {0x80000008, 0, {0x3028, 0, 0, 0}},
};

/* Westmere: no leaf 7, no XSAVE; its highest leaf is that of the topology. */
static const struct record westmere[] = {
    {0, 0, {0xb, 0x756e6547, 0x6c65746e, 0x49656e69}},
    {1, 0, {0x000206c2, 0x07200800, 0x029ee3ff, 0xbfebfbff}},
    {0xb, 0, {1, 2, 0x100, 5}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, 1, 0x2c100800}},
    {0x80000008, 0, {0x3028, 0, 0, 0}},
};

static const struct record *records;
static unsigned record_count;
static uint32_t mask_leaf, mask_word, mask_bits; /* bits that are cleared in the host's answers */

static struct cpuid recorded(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    bool has_subleaves = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
    for (unsigned i = 0; i < record_count; i++)
        if (records[i].leaf == leaf && records[i].subleaf == (has_subleaves ? subleaf : 0))
            r = records[i].r;
    if (mask_bits && leaf == mask_leaf && !subleaf)
        (mask_word == CPUID_EBX   ? &r.ebx
         : mask_word == CPUID_ECX ? &r.ecx
                                  : &r.edx)[0] &= ~mask_bits;
    return r;
}

/* The VM and its third vCPU. As in vm/cpuid.c, the answers are computed when the VM is created. */
static struct feature_vm vm;
static struct feature_vcpu vcpu;
static struct cpuid_table table;

static struct cpuid shown(const void *context, uint32_t leaf, uint32_t subleaf)
{
    return features_cpuid(context, leaf, subleaf);
}

static void make_vm(unsigned count)
{
    vm =
        (struct feature_vm){.count = count, .tsc_hz = 2000000000, .shared = 39, .execute_only = 38};
    vcpu = (struct feature_vcpu){.index = count - 1, .apic_on = true, .xcr0 = 1};
    cpuid_table_fill(&table, shown, &vm);
    assert_int_equal(table.left_out, 0);
}

typedef struct cpuid cpuid_function_t(uint32_t leaf, uint32_t subleaf);
static void start_host(cpuid_function_t *function, uint64_t controls, uint64_t cr4, uint32_t broken)
{
    struct cpuid d = function(0xd, 0);
    const struct feature_host host = {.cpuid = function,
                                      .xcr0 = xcr0_largest((uint64_t)d.edx << 32 | d.eax),
                                      .secondary = controls,
                                      .cr4 = cr4,
                                      .broken = broken};
    features_setup(&host);
    make_vm(3);
}

#define START(list, controls) start(list, ARRAY_SIZE(list), controls, 0)
static void start(const struct record *list, unsigned count, uint64_t controls, uint32_t broken)
{
    records = list;
    record_count = count;
    start_host(recorded, controls, ~0ull, broken);
}

static struct cpuid ask(uint32_t leaf, uint32_t subleaf)
{
    return oracle_ask(&table, &vcpu, leaf, subleaf);
}

static uint32_t word(const struct cpuid *r, unsigned which)
{
    const uint32_t words[] = {r->eax, r->ebx, r->ecx, r->edx};
    return words[which];
}

static void assert_same(struct cpuid a, struct cpuid b)
{
    assert_memory_equal(&a, &b, sizeof(a));
}
