/* SPDX-License-Identifier: MIT */
/*
 * What CPUID answers in a VM: every leaf and subleaf, asked for once, when the VM is made. So no
 * exit executes CPUID in the host, which takes more than a hundred cycles because it serialises,
 * and an exit of its own where we are nested; and a guest is told the same wherever its vCPUs run.
 *
 * The table knows which leaves have subleaves, and of which each vCPU keeps an answer of its own,
 * because that says who it is or follows its CR4, XCR0 and APIC. What the answers are is for
 * vm/features.h to say. Pure.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "lib/compiler.h"

struct feature_vcpu;

#define CPUID_LEAF_HYPERVISOR 0x40000000u
#define CPUID_LEAF_EXTENDED   0x80000000u
#define CPUID_LEAF_TOPOLOGY   0xbu
#define CPUID_LEAF_XSAVE      0xdu

/* The answers that each vCPU has for itself. */
enum cpuid_own {
    CPUID_OWN_NONE,
    CPUID_OWN_FEATURES,                       /* leaf 1 */
    CPUID_OWN_EXTENDED,                       /* leaf 7 */
    CPUID_OWN_TOPOLOGY,                       /* leaf 0xb, two subleaves */
    CPUID_OWN_XSAVE = CPUID_OWN_TOPOLOGY + 2, /* leaf 0xd, two subleaves */
    CPUID_OWN_COUNT = CPUID_OWN_XSAVE + 2,
};

struct cpuid_entry {
    uint32_t leaf;
    struct cpuid answer;
    uint8_t subleaf;
    uint8_t subleaves; /* how many entries follow each other; 0: ECX does not matter */
    uint8_t own;       /* enum cpuid_own */
    bool plain;        /* neither of these */
} __attribute__((aligned(32)));

#define CPUID_ENTRIES 160u
struct cpuid_table {
    struct cpuid_entry entries[CPUID_ENTRIES]; /* by leaf, then by subleaf; the first is leaf 0 */
    unsigned count;
    unsigned left_out;   /* entries that there was no room for: they answer 0 */
    uint8_t places[256]; /* where the entries of a leaf begin; 0 where it has none */
};

/* Asks `source` for everything. */
typedef struct cpuid cpuid_source_t(const void *context, uint32_t leaf, uint32_t subleaf);
void cpuid_table_fill(struct cpuid_table *table, cpuid_source_t *source, const void *context);

/* The first entry of the leaf; that of another leaf, as its number shows, if there is none. */
static inline const struct cpuid_entry *cpuid_table_first(const struct cpuid_table *table,
                                                          uint32_t leaf)
{
    return &table->entries[table->places[(uint8_t)(leaf ^ leaf >> 24)]];
}

/* Which leaf answers for this one: above the highest one of its range it is the highest basic one
 * (SDM 2A, CPUID). The range of the hypervisor is ours, and zeros above its end. */
uint32_t cpuid_table_leaf(const struct cpuid_table *table, uint32_t leaf);

/* NULL: there is nothing but zeros. */
const struct cpuid_entry *cpuid_table_find(const struct cpuid_table *table, uint32_t leaf,
                                           uint32_t subleaf);

/* The answer to CPUID with EAX = leaf and ECX = subleaf, whatever they are, on this vCPU. */
struct cpuid cpuid_table_ask(const struct cpuid_table *table, const struct feature_vcpu *vcpu,
                             uint32_t leaf, uint32_t subleaf);
