/* SPDX-License-Identifier: MIT */
/*
 * Walks over the EPT tables of a VM: along a range of frames, and down to one frame. Private to
 * mmu/.
 *
 * Faults hold the lock shared and race with each other by compare-exchange. Zaps hold it
 * exclusively. Other walkers and fast faults hold no lock; the tables that they can reach are not
 * freed before their epoch is over.
 */
#pragma once

#include "lib/page.h"
#include "mmu/spte.h"
#include "mmu/types.h"

/* Walk [first, end) in every root that the CPU walks, in pre-order: an entry comes before the
 * entries of its table. tdp_iter_next() reads the entry again before it descends, so it does not
 * descend from an entry that the caller has just emptied (rule W1). */
void tdp_iter_start(struct tdp_iter *iter, const struct mmu *mmu, gfn_t first, gfn_t end);
void tdp_iter_next(struct tdp_iter *iter);

/* Moves to the next entry that is not below the current one. */
void tdp_iter_skip(struct tdp_iter *iter);

/* Descends from the composite again to the current frame, after the lock was dropped or an epoch
 * has ended. */
void tdp_iter_restart(struct tdp_iter *iter);

static inline bool tdp_iter_valid(const struct tdp_iter *iter)
{
    return iter->root != iter->end_root;
}

/* Entries in a piece of a walk: at most 30,000 instructions, whatever is done to each of them. */
#define TDP_PIECE 96u

#define tdp_for_each(iter, mmu, first, end) \
    for (tdp_iter_start(iter, mmu, first, end); tdp_iter_valid(iter); tdp_iter_next(iter))

/* The table to which an entry points. */
static inline const uint64_t *tdp_table(uint64_t spte)
{
    return phys_to_virt(spte_page(spte));
}

/* The only descent to a given alias: from the entry for `alias` in `table`, a table of `*level`,
 * down to the entry at level `lowest`, or to the first one that points to no table. Returns the
 * entry's value, and its level and address in *level and *sptep. Unrolled, because faults spend
 * their time here. The caller holds the lock, or is in an epoch (rule W2). */
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

/* The lowest entry on the CPU's walk to `alias`, with its level and address. Takes no lock; the
 * caller is in an epoch. */
static inline uint64_t tdp_walk_to(const struct mmu *mmu, alias_t alias, unsigned *level,
                                   const uint64_t **sptep)
{
    *level = mmu->root_level;
    return tdp_descend(mmu->composite, level, alias, EPT_LEVEL_4K, sptep);
}

/* Reads the entries on the way to an address from `table`, a table of level `top`; as
 * tdp_descend(). */
struct ept_path tdp_read_path(const uint64_t *table, unsigned top, alias_t alias);
