/* SPDX-License-Identifier: MIT */
#include "vm/cpuid_table.h"

#include "vm/features.h"
#include "lib/bits.h"

#define SUBLEAVES_MOST 64u
#define CACHE_TYPE     BITS(4, 0)
#define LEVEL_TYPE     BITS(15, 8)

enum subleaves {
    UP_TO_EAX,  /* up to the number that EAX of subleaf 0 contains */
    CACHES,     /* up to the first one whose type in EAX is 0 */
    LEVELS,     /* up to the first one whose type in ECX is 0 */
    COMPONENTS, /* 0, 1, and one for each state component */
    FOUR,
};

/* Leaves with subleaves (SDM 2A, CPUID), and for how many of the subleaves each vCPU has an answer
 * of its own. */
static const struct indexed {
    uint32_t leaf;
    enum subleaves subleaves;
    enum cpuid_own own;
    unsigned owned;
} indexed[] = {
    {.leaf = 0x4, CACHES},
    {.leaf = 0x7, UP_TO_EAX, CPUID_OWN_EXTENDED, 1},
    {.leaf = CPUID_LEAF_TOPOLOGY, LEVELS, CPUID_OWN_TOPOLOGY, 3},
    {.leaf = CPUID_LEAF_XSAVE, COMPONENTS, CPUID_OWN_XSAVE, 2},
    {.leaf = 0xf, FOUR},
    {.leaf = 0x10, FOUR},
    {.leaf = 0x12, FOUR},
    {.leaf = 0x14, UP_TO_EAX},
    {.leaf = 0x17, UP_TO_EAX},
    {.leaf = 0x18, UP_TO_EAX},
    {.leaf = 0x1b, FOUR},
    {.leaf = 0x1d, UP_TO_EAX},
    {.leaf = 0x1f, LEVELS},
    {.leaf = 0x20, UP_TO_EAX},
    {.leaf = 0x23, FOUR},
    {.leaf = 0x24, UP_TO_EAX},
};

const struct cpuid_entry cpuid_no_entry;

/* ---- Making it ------------------------------------------------------------------------------- */

static const struct indexed *indexed_leaf(uint32_t leaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(indexed); i++)
        if (indexed[i].leaf == leaf)
            return &indexed[i];
    return NULL;
}

/* Whether the subleaf is the last one of a leaf whose first answer is `first`. */
static bool is_last(enum subleaves subleaves, uint32_t subleaf, const struct cpuid *first,
                    const struct cpuid *answer)
{
    switch (subleaves) {
    case UP_TO_EAX:
        return subleaf >= first->eax;
    case CACHES:
        return !(answer->eax & CACHE_TYPE);
    case LEVELS:
        return !(answer->ecx & LEVEL_TYPE);
    case COMPONENTS:
        return false;
    case FOUR:
        return subleaf == 3;
    }
    return true;
}

static void cpuid_table_add(struct cpuid_table *table, const struct cpuid_entry *entry)
{
    if (table->count < CPUID_ENTRIES)
        table->entries[table->count++] = *entry;
    else
        table->left_out++;
}

/* Adds the first subleaf, and the others up to the last one that is not zero or that each vCPU
 * answers for itself. */
static void cpuid_table_add_subleaves(struct cpuid_table *table, cpuid_source_t *source,
                                      const void *context, const struct indexed *rule)
{
    unsigned begin = table->count, end = begin + 1, left_out = table->left_out;
    struct cpuid first = {0};
    for (uint32_t i = 0; i < SUBLEAVES_MOST; i++) {
        struct cpuid r = source(context, rule->leaf, i);
        struct cpuid_entry entry = {.leaf = rule->leaf, .answer = r, .subleaf = (uint8_t)i};
        if (i < rule->owned)
            entry.own = (uint8_t)(rule->own + i);
        if (i == 0)
            first = r;
        cpuid_table_add(table, &entry);
        if (r.eax | r.ebx | r.ecx | r.edx || i < rule->owned) {
            end = table->count;
            left_out = table->left_out;
        }
        if (is_last(rule->subleaves, i, &first, &r))
            break;
    }
    table->left_out = left_out;
    table->count = end < table->count ? end : table->count;
    if (begin < table->count)
        table->entries[begin].subleaves = (uint8_t)(table->count - begin);
}

static void cpuid_table_add_leaf(struct cpuid_table *table, cpuid_source_t *source,
                                 const void *context, uint32_t leaf)
{
    const struct indexed *rule = indexed_leaf(leaf);
    table->places[cpuid_table_place(leaf)] =
        (uint8_t)(table->count < CPUID_ENTRIES ? table->count : 0);
    if (rule) {
        cpuid_table_add_subleaves(table, source, context, rule);
        return;
    }
    struct cpuid_entry entry = {.leaf = leaf, .answer = source(context, leaf, 0)};
    entry.own = leaf == 1 ? CPUID_OWN_FEATURES : CPUID_OWN_NONE;
    entry.plain = !entry.own;
    cpuid_table_add(table, &entry);
}

/* Where leaves can be. The first leaf of each range says which is the last; `places` has room for
 * `most` of them. */
static const struct {
    uint32_t first, most;
} ranges[] = {
    {0, 64},
    {CPUID_LEAF_HYPERVISOR, 16},
    {CPUID_LEAF_KVM, 16},
    {CPUID_LEAF_EXTENDED, 64},
};

/* Adds the leaves of a range. Its first leaf then names the last one that there was room for, so
 * that each leaf without an entry is above the highest one. */
static void cpuid_table_add_range(struct cpuid_table *table, cpuid_source_t *source,
                                  const void *context, uint32_t first, uint32_t most)
{
    unsigned begin = table->count;
    uint32_t highest = source(context, first, 0).eax;
    for (uint32_t n = 0; n < most && first + n <= highest; n++)
        cpuid_table_add_leaf(table, source, context, first + n);
    if (begin < table->count)
        table->entries[begin].answer.eax = table->entries[table->count - 1].leaf;
}

void cpuid_table_fill(struct cpuid_table *table, cpuid_source_t *source, const void *context)
{
    *table = (struct cpuid_table){0};
    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
        cpuid_table_add_range(table, source, context, ranges[i].first, ranges[i].most);
    table->highest = table->places[cpuid_table_place(table->entries[0].answer.eax)];
}
