/* SPDX-License-Identifier: MIT */
/*
 * What a fault does to the tables under the shared lock: it links tables, and installs, splits and
 * replaces leaves. Faults on other CPUs do the same concurrently. A CPU whose compare-exchange
 * fails returns FAULT_RETRY, and the guest faults again if necessary.
 */
#include "mmu/map.h"

#include "lib/assert.h"
#include "mmu/decide.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/tables.h"
#include "mmu/tlb.h"

/* ---- Links ----------------------------------------------------------------------------------- */

/* Links a table from the cache. Returns the new entry, or 0 if another CPU changed the entry first;
 * the table is returned to the cache then (rule W5). */
static uint64_t link_table(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                           uint64_t old)
{
    const uint64_t *table = tdp_take_table(self);
    uint64_t link = spte_nonleaf(virt_to_phys(table));
    if (likely(tdp_store(self, gfn, sptep, level, old, link, DEBT_NONE)))
        return link;
    tdp_return_table(self, table);
    return 0;
}

/* Fills a table with children that map what the parent maps, with its rights and its A and D bits,
 * and with the rights `add`. */
static void fill_children(const uint64_t *table, unsigned level, uint64_t parent, uint64_t add)
{
    tdp_fill_table(table, map_child(parent, level, add), ept_frames(level - 1) * PAGE_SIZE);
}

bool tdp_split(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level, uint64_t old,
               uint64_t add)
{
    const uint64_t *table = tdp_take_table(self);
    uint64_t link = spte_nonleaf(virt_to_phys(table)) | (add ? SPTE_NX_SPLIT : 0);
    fill_children(table, level, old, add);
    if (!tdp_store(self, gfn, sptep, level, old, link, DEBT_NONE)) {
        tdp_clear_table(table);
        tdp_return_table(self, table);
        return false;
    }
    self->stats.pages[level - 2] += EPT_ENTRIES;
    self->stats.splits++;
    return true;
}

/* ---- Leaves ---------------------------------------------------------------------------------- */

/* Replaces a table of small leaves by a large leaf (rule T6). Other faults that are in the table
 * find every entry FROZEN and retry (rule W4). tlb_sync() makes sure that no CPU is in the guest
 * with a cached pointer to the table when the leaf is stored. The table is freed after an epoch,
 * when no walker can be in it. */
static int collapse_table(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                          uint64_t old, uint64_t leaf)
{
    struct mmu *mmu = self->mmu;
    const uint64_t *table = tdp_table(old);
    gfn_t first = ept_first_frame(gfn, level);
    if (!tdp_reserve(mmu))
        return FAULT_RETRY;
    if (!tdp_store(self, gfn, sptep, level, old, SPTE_FROZEN, DEBT_TABLE_COLLAPSED)) {
        tdp_unreserve(mmu);
        return FAULT_RETRY;
    }
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        tdp_freeze(self, GFN(first.v + i * ept_frames(level - 1)), &table[i], level - 1,
                   DEBT_TABLE_COLLAPSED);
    tlb_sync(mmu);
    bool ours = tdp_store(self, gfn, sptep, level, SPTE_FROZEN, leaf, DEBT_TABLE_COLLAPSED);
    BUG_ON(!ours);
    tdp_retire(mmu, (struct retired){.page = spte_page(old)});
    self->stats.collapses++;
    return FAULT_FIXED;
}

/* Gives a leaf that does not allow the access the rights that the mapping grants now. */
static int upgrade_leaf(struct mmu_cpu *self, const uint64_t *sptep, unsigned level, uint64_t old,
                        const struct tdp_mapping *want)
{
    uint64_t new = map_upgraded_leaf(want, level, old);
    if (unlikely(map_is_outdated(old, new)))
        return FAULT_RETRY;
    bool done = tdp_store(self, want->access.gfn, sptep, level, old, new, DEBT_LEAF_REPLACED);
    return done ? FAULT_FIXED : FAULT_RETRY;
}

int tdp_map(struct mmu_cpu *self, const struct tdp_mapping *want)
{
    const struct tdp_access *access = &want->access;
    const uint64_t *table = self->mmu->composite, *sptep;
    unsigned level = want->level, l = self->mmu->root_level;
    for (;; l--) {
        uint64_t spte = tdp_descend(table, &l, access->alias, level, &sptep);
        switch (map_next_step(want, spte, l, level)) {
        case MAP_ALLOWED:
            return FAULT_SPURIOUS;
        case MAP_UPGRADE:
            return upgrade_leaf(self, sptep, l, spte, want);
        case MAP_SPLIT:
            if (!tdp_split(self, access->gfn, sptep, l, spte, map_split_adds(want, l)))
                return FAULT_RETRY;
            spte = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
            break;
        case MAP_FROZEN:
            return FAULT_RETRY;
        case MAP_COLLAPSE:
            return collapse_table(self, access->gfn, sptep, l, spte, map_leaf(want, l));
        case MAP_DESCEND:
            level -= l == level;
            break;
        case MAP_STORE:
            return tdp_store(self, access->gfn, sptep, l, spte, map_leaf(want, l), DEBT_NONE)
                       ? FAULT_FIXED
                       : FAULT_RETRY;
        case MAP_LINK:
            spte = link_table(self, access->gfn, sptep, l, spte);
            break;
        }
        if (unlikely(!spte_is_nonleaf(spte, l)))
            return FAULT_RETRY;
        table = tdp_table(spte);
    }
}

/* ---- MMIO ------------------------------------------------------------------------------------ */

/* Zaps a leaf that maps a frame for which this fault found no slot. Either a slot has been added
 * since, and another CPU has mapped the frame; or this is a bug. The leaf is zapped, which owes a
 * flush, and is never overwritten (rule P7). */
static int zap_stray_leaf(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                          uint64_t old, uint64_t generation)
{
    if (generation & SLOT_UPDATE_IN_PROGRESS ||
        memslots_generation(memslots(self->mmu)) != generation)
        return FAULT_RETRY;
    WARN_ON(true);
    bool done = tdp_store(self, gfn, sptep, level, old, SPTE_NONPRESENT, DEBT_STRAY_LEAF);
    return done ? FAULT_CONTINUE : FAULT_RETRY;
}

int tdp_map_mmio(struct mmu_cpu *self, alias_t alias, gfn_t gfn, uint64_t generation)
{
    const uint64_t *table = self->mmu->composite, *sptep;
    unsigned l = self->mmu->root_level;
    for (;; l--) {
        uint64_t spte = tdp_descend(table, &l, alias, EPT_LEVEL_4K, &sptep);
        if (unlikely(spte_is_leaf(spte, l))) {
            if (zap_stray_leaf(self, gfn, sptep, l, spte, generation) == FAULT_RETRY)
                return FAULT_RETRY;
            spte = SPTE_NONPRESENT;
        }
        switch (map_mmio_step(spte, l)) {
        case MAP_STORE: {
            uint64_t new = spte_mmio(self->mmu->mmio_value, gfn, generation & SPTE_GENERATION_MASK);
            bool done = spte == new || tdp_store(self, gfn, sptep, l, spte, new, DEBT_NONE);
            return done ? FAULT_EMULATE : FAULT_RETRY;
        }
        case MAP_LINK:
            spte = link_table(self, gfn, sptep, l, spte);
            break;
        case MAP_DESCEND:
            break;
        default: /* FROZEN */
            return FAULT_RETRY;
        }
        if (unlikely(!spte))
            return FAULT_RETRY;
        table = tdp_table(spte);
    }
}
