/*
 * The EPT tables of one VM: walk, map, zap. All stores of SPTEs go through tdp_store(), which
 * checks the change, keeps the accounts and writes the flush ledger. Called by fault.c, memslot.c
 * and mmu.c, under the MMU's lock.
 */
#pragma once

#include "lib/page.h"
#include "mmu/spte.h"
#include "mmu/types.h"

/* Walks a range in pre-order: an entry before what is below it. `old` is a snapshot of the entry;
 * the walk descends by what stands there, so an entry that the loop's body emptied is not followed.
 * (Rule W1.) */
struct tdp_iter {
    struct mmu *mmu;
    gfn_t end;
    gfn_t gfn;      /* the first frame that this entry covers */
    unsigned level; /* of this entry; above the root's: the walk is over */
    uint64_t old;
    uint64_t *sptep;
    uint64_t *tables[EPT_LEVELS + 1];
};

void tdp_iter_start(struct tdp_iter *iter, struct mmu *mmu, gfn_t first, gfn_t end);
void tdp_iter_next(struct tdp_iter *iter);

static inline bool tdp_iter_valid(const struct tdp_iter *iter)
{
    return iter->level <= iter->mmu->root_level;
}

#define tdp_for_each(iter, mmu, first, end) \
    for (tdp_iter_start(iter, mmu, first, end); tdp_iter_valid(iter); tdp_iter_next(iter))

/* Replaces `old` at `sptep`, which is at `level`. False if the entry was not `old` any more (the
 * CPU set A or D, or another CPU was faster): nothing was done, read it again. Always a
 * compare-exchange, so that nobody has to ask which entries may change under us (rule S14). */
bool tdp_store(struct mmu *mmu, uint64_t *sptep, unsigned level, uint64_t old,
               uint64_t new) MUST_CHECK;

/* The root, and the pages that a full zap and the next fault need. Returns 0 or -ENOMEM. */
int tdp_create(struct mmu *mmu) MUST_CHECK;
void tdp_destroy(struct mmu *mmu);

/* Makes sure that the next map or MMIO install needs no allocation (rule N6). Empties the whole
 * root first if the VM has more tables than its memory justifies. Returns 0 or -ENOMEM. */
int tdp_fill_cache(struct mmu *mmu) MUST_CHECK;

static inline int MUST_CHECK tdp_top_up(struct mmu *mmu)
{
    return likely(mmu->table_cache_used == TABLE_CACHE) ? 0 : tdp_fill_cache(mmu);
}

/* Maps the page or block that `gfn` lies in; `page` is what stands behind `gfn` itself. Needs
 * tdp_top_up(). Returns FAULT_FIXED, FAULT_SPURIOUS or FAULT_RETRY. */
int tdp_map(struct mmu *mmu, gfn_t gfn, hpa_t page, unsigned level, bool writable) MUST_CHECK;

/* Installs an MMIO SPTE for `gfn`. Needs tdp_top_up(). Returns FAULT_EMULATE or FAULT_RETRY. */
int tdp_map_mmio(struct mmu *mmu, gfn_t gfn, uint64_t generation) MUST_CHECK;

/* Removes every leaf that overlaps [first, end); MMIO SPTEs only if `mmio`. Owes a flush for what
 * it removes. Tables stay. */
void tdp_zap(struct mmu *mmu, gfn_t first, gfn_t end, bool mmio);

/* Empties the root: leaves, MMIO SPTEs and tables. Flushes, then frees the tables. */
void tdp_zap_all(struct mmu *mmu);

/* The lowest entry of the walk to `gfn`, and its level. Takes no lock. */
static inline uint64_t tdp_walk(const struct mmu *mmu, gfn_t gfn, unsigned *level)
{
    const uint64_t *table = mmu->root;
    for (unsigned shift = 9 * (mmu->root_level - 1);; shift -= 9) {
        uint64_t spte = READ_ONCE(table[gfn.v >> shift & (EPT_ENTRIES - 1)]);
        if (!shift || !spte_has_table(spte)) {
            *level = shift / 9 + 1;
            return spte;
        }
        table = phys_to_virt(spte_page(spte));
    }
}
