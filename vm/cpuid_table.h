/* SPDX-License-Identifier: MIT */
/*
 * The CPUID answers of a VM: every leaf and subleaf, computed once, when the VM is created. So no
 * exit executes CPUID in the host, which takes more than a hundred cycles because it serializes,
 * and which exits itself if the hypervisor is nested. A guest also gets the same answers on
 * whatever pCPU a vCPU runs.
 *
 * The table knows which leaves have subleaves, and for which of them each vCPU keeps an answer of
 * its own, because the answer identifies the vCPU or depends on its CR4, XCR0 or APIC mode. The
 * answers themselves come from vm/features.h. Pure.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "lib/compiler.h"

struct feature_vcpu;

#define CPUID_LEAF_HYPERVISOR 0x40000000u
#define CPUID_LEAF_KVM        0x40000100u
#define CPUID_LEAF_EXTENDED   0x80000000u
#define CPUID_LEAF_TOPOLOGY   0xbu
#define CPUID_LEAF_XSAVE      0xdu

/* The answers that each vCPU keeps for itself. */
enum cpuid_own {
    CPUID_OWN_NONE,
    CPUID_OWN_FEATURES,                       /* leaf 1 */
    CPUID_OWN_EXTENDED,                       /* leaf 7 */
    CPUID_OWN_TOPOLOGY,                       /* leaf 0xb: two levels, and the end of them */
    CPUID_OWN_XSAVE = CPUID_OWN_TOPOLOGY + 3, /* leaf 0xd, two subleaves */
    CPUID_OWN_COUNT = CPUID_OWN_XSAVE + 2,
};

struct cpuid_entry {
    uint32_t leaf;
    struct cpuid answer;
    uint8_t subleaf;
    uint8_t subleaves; /* in the leaf's first entry: their number; 0: ECX is ignored */
    uint8_t own;       /* enum cpuid_own */
    bool plain;        /* it has no subleaves, and no vCPU has an answer of its own */
} __attribute__((aligned(32)));

#define CPUID_ENTRIES 160u
struct cpuid_table {
    struct cpuid_entry entries[CPUID_ENTRIES]; /* by leaf, then by subleaf; first, leaf 0 */
    unsigned count;
    unsigned left_out;   /* number of entries that did not fit: the leaves and subleaves after the
                          * last ones that did are not there */
    unsigned highest;    /* index of the first entry of the highest basic leaf */
    uint8_t places[256]; /* index of a leaf's first entry, or 0 */
};

/* Fills the table with the answers of `source` for all leaves and subleaves. */
typedef struct cpuid cpuid_source_t(const void *context, uint32_t leaf, uint32_t subleaf);
void cpuid_table_fill(struct cpuid_table *table, cpuid_source_t *source, const void *context);

/* Where `places` has the leaf: the multiplier gives each leaf that can be in the table a place of
 * its own (test_cpuid_table.c). */
static inline uint8_t cpuid_table_place(uint32_t leaf)
{
    return (uint8_t)(leaf * 0x3010001u >> 24);
}

/* The first entry of the leaf. If the leaf has no entry, this is an entry of another leaf, which
 * entry->leaf shows. */
static inline const struct cpuid_entry *cpuid_table_first(const struct cpuid_table *table,
                                                          uint32_t leaf)
{
    return &table->entries[table->places[cpuid_table_place(leaf)]];
}

/* All zeros. */
extern const struct cpuid_entry cpuid_no_entry;

/* The first entry of what CPUID returns for a leaf that has no entry: in the hypervisor's range,
 * zeros; elsewhere the leaf is above the highest one of its range, and the answer is that of the
 * highest basic leaf (SDM 2A, CPUID). */
static inline const struct cpuid_entry *cpuid_table_instead(const struct cpuid_table *table,
                                                            uint32_t leaf)
{
    return leaf >> 28 == CPUID_LEAF_HYPERVISOR >> 28 ? &cpuid_no_entry
                                                     : &table->entries[table->highest];
}
