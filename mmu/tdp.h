/* SPDX-License-Identifier: MIT */
/*
 * The walk over the EPT tables of one VM: along a range of frames, and down to one. Inside mmu/.
 *
 * Faults map under the shared lock and race with each other by compare-exchange alone. Zaps own the
 * lock. Walkers and fast faults hold no lock, and reach only tables that are freed after an epoch.
 */
#pragma once

#include "lib/page.h"
#include "mmu/spte.h"
#include "mmu/types.h"

/* Walks a range in every root, in pre-order: an entry before what is below it. The walk descends by
 * what stands there, so an entry that the loop's body emptied is not followed. (Rule W1.) */
void tdp_iter_start(struct tdp_iter *iter, const struct mmu *mmu, gfn_t first, gfn_t end);
void tdp_iter_next(struct tdp_iter *iter);

/* To the next entry that is not below this one. */
void tdp_iter_skip(struct tdp_iter *iter);

/* From the top again to where it stands, after the lock was given away or an epoch has ended. */
void tdp_iter_restart(struct tdp_iter *iter);

static inline bool tdp_iter_valid(const struct tdp_iter *iter)
{
    return iter->root != iter->end_root;
}

/* So many entries are a piece of a walk: at most 30,000 instructions, whatever is done to them. */
#define TDP_PIECE 96u

#define tdp_for_each(iter, mmu, first, end) \
    for (tdp_iter_start(iter, mmu, first, end); tdp_iter_valid(iter); tdp_iter_next(iter))

/* The table that an entry links. */
static inline const uint64_t *tdp_table(uint64_t spte)
{
    return phys_to_virt(spte_page(spte));
}

/* The one descent: from the entry for `alias` in a table of `*level` down to that of level
 * `lowest`, or to one above it that links no table. Returns what it says, its level and where it
 * is. Unrolled, because faults spend their time here. With the lock, or in an epoch (rule W2). */
static ALWAYS_INLINE uint64_t tdp_descend(const uint64_t *table, unsigned *level, alias_t alias,
                                          unsigned lowest, const uint64_t **sptep)
{
    uint64_t spte;
#define STEP(l)                                           \
    *sptep = &table[ept_index(alias, l)];                 \
    spte = __atomic_load_n(*sptep, __ATOMIC_ACQUIRE);     \
    *level = l;                                           \
    if ((l) == lowest || unlikely(!spte_has_table(spte))) \
        return spte;                                      \
    table = tdp_table(spte);

    switch (*level) {
    case EPT_LEVEL_512G:
        STEP(EPT_LEVEL_512G) /* fall through */
    case EPT_LEVEL_1G:
        STEP(EPT_LEVEL_1G) /* fall through */
    case EPT_LEVEL_2M:
        STEP(EPT_LEVEL_2M) /* fall through */
    default:
        break;
    }
#undef STEP
    *sptep = &table[ept_index(alias, EPT_LEVEL_4K)];
    *level = EPT_LEVEL_4K;
    return __atomic_load_n(*sptep, __ATOMIC_ACQUIRE);
}

/* The lowest entry of the walk to `alias`, and its level. Takes no lock; in an epoch. */
static inline uint64_t tdp_walk_to(const struct mmu *mmu, alias_t alias, unsigned *level,
                                   const uint64_t **sptep)
{
    *level = mmu->root_level;
    return tdp_descend(mmu->composite, level, alias, EPT_LEVEL_4K, sptep);
}

static inline uint64_t tdp_walk(const struct mmu *mmu, alias_t alias, unsigned *level)
{
    const uint64_t *sptep;
    return tdp_walk_to(mmu, alias, level, &sptep);
}
