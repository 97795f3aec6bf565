/* SPDX-License-Identifier: MIT */
/*
 * Freeing of unlinked tables and pages; see the header. A table is freed with all tables below it,
 * whose entries can cover half a million pages. The pCPU that frees them has other work to do, also
 * for other VMs, so this is done in pieces.
 */
#include "mmu/retired.h"

#include "lib/assert.h"
#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/spte.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

/* The limits of one piece. A fault needs at most TABLE_CACHE tables, so it frees more than it uses.
 */
#define PIECE_TABLES  (TABLE_CACHE + 1u)
#define PIECE_ENTRIES 1024u

/* ---- The queue ------------------------------------------------------------------------------- */

bool tdp_reserve(struct mmu *mmu)
{
    spin_lock(&mmu->retired_lock);
    bool room = mmu->retired_used + mmu->retired_reserved < RETIRED_MAX;
    mmu->retired_reserved += room;
    spin_unlock(&mmu->retired_lock);
    return room;
}

void tdp_unreserve(struct mmu *mmu)
{
    spin_lock(&mmu->retired_lock);
    mmu->retired_reserved--;
    spin_unlock(&mmu->retired_lock);
}

/* The epoch begins with the lock held, so the queue is sorted by epoch. */
void tdp_retire(struct mmu *mmu, struct retired r)
{
    spin_lock(&mmu->retired_lock);
    BUG_ON(!mmu->retired_reserved);
    r.epoch = epoch_begin();
    mmu->retired_reserved--;
    mmu->retired[(mmu->retired_first + mmu->retired_used) % RETIRED_MAX] = r;
    __atomic_store_n(&mmu->retired_used, mmu->retired_used + 1, __ATOMIC_RELAXED);
    spin_unlock(&mmu->retired_lock);
}

/* Removes the oldest element from the queue if its epoch is over. *newest is set to the epoch of
 * the newest element, after which all can be freed, or to 0 if the queue was empty. */
static bool take_retired(struct mmu *mmu, struct retired *out, uint64_t *newest)
{
    bool found = false;
    *newest = 0;
    spin_lock(&mmu->retired_lock);
    if (mmu->retired_used) {
        *out = mmu->retired[mmu->retired_first];
        found = epoch_over(out->epoch, mmu);
        *newest = mmu->retired[(mmu->retired_first + mmu->retired_used - 1) % RETIRED_MAX].epoch;
    }
    if (found) {
        mmu->retired_first = (mmu->retired_first + 1) % RETIRED_MAX;
        __atomic_store_n(&mmu->retired_used, mmu->retired_used - 1, __ATOMIC_RELAXED);
    }
    spin_unlock(&mmu->retired_lock);
    return found;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

/* Updates counters and the dirty log for an entry of a table that nobody can reach any more.
 * Returns its cost, in entries. */
static unsigned account_freed_entry(struct mmu_cpu *self, const struct table_walk *w,
                                    unsigned level, uint64_t spte)
{
    if (spte_is_leaf(spte, level)) {
        self->stats.pages[level - 1]--;
        if (unlikely(w->logs && spte & EPT_DIRTY))
            dirty_note(self->mmu, stolen_strip(&self->mmu->stolen, w->alias), ept_frames(level));
        return spte & EPT_DIRTY ? 4 : 1;
    }
    if (spte_is_present(spte)) {
        mmu_count_table(self, spte, ~0ull);
    }
    return 1;
}

static void begin_freeing(struct table_walk *walk, const struct retired *r)
{
    walk->level = r->level;
    __atomic_store_n(&walk->top, r->level, __ATOMIC_RELAXED); /* tdp_is_reclaiming() has no lock */
    walk->alias = r->alias;
    walk->logs = r->logs;
    walk->tables[r->level] = phys_to_virt(r->page);
    walk->index[r->level] = 0;
}

/* Skips empty entries, of which the tables of a guest with scattered accesses are full. */
static void skip_nonpresent(struct table_walk *w, unsigned level)
{
    const uint64_t *table = w->tables[level];
    unsigned from = w->index[level], i = from;
    while (i < EPT_ENTRIES && table[i] == SPTE_NONPRESENT)
        i++;
    w->index[level] = i;
    w->alias.v += (i - from) * ept_frames(level);
}

/* Frees the next piece of a table and all tables below it: goes down while an entry points to a
 * table, else to the next entry, and up at the end of a table. */
static void free_tables(struct mmu *mmu, struct table_walk *w)
{
    struct mmu_cpu *self = mmu_self(mmu);
    unsigned tables = 0, entries = 0;
    while (w->level <= w->top && tables < PIECE_TABLES && entries < PIECE_ENTRIES) {
        unsigned level = w->level;
        skip_nonpresent(w, level);
        if (w->index[level] == EPT_ENTRIES) {
            page_free(virt_to_phys(w->tables[level]), 0);
            w->level++;
            tables++;
            continue;
        }
        uint64_t spte = w->tables[level][w->index[level]++];
        entries += account_freed_entry(self, w, level, spte);
        if (spte_is_nonleaf(spte, level)) {
            w->level--;
            w->tables[w->level] = tdp_table(spte);
            w->index[w->level] = 0;
        } else {
            w->alias.v += ept_frames(level);
        }
    }
    if (w->level > w->top)
        __atomic_store_n(&w->top, 0, __ATOMIC_RELAXED);
}

/* ---- Memory of slots ------------------------------------------------------------------------- */

bool tdp_can_doom(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->doomed_used, __ATOMIC_RELAXED) < DOOMED_MAX;
}

void tdp_doom(struct mmu *mmu, const struct backing *backing)
{
    spin_lock(&mmu->retired_lock);
    BUG_ON(!tdp_can_doom(mmu));
    mmu->doomed[mmu->doomed_used] = *backing;
    __atomic_store_n(&mmu->doomed_used, mmu->doomed_used + 1, __ATOMIC_RELAXED);
    spin_unlock(&mmu->retired_lock);
}

/* The pCPU that is tidying owns the last element until it is empty: others only add elements behind
 * it. */
static void free_doomed(struct mmu *mmu)
{
    spin_lock(&mmu->retired_lock);
    unsigned last = mmu->doomed_used - 1;
    struct backing backing = mmu->doomed[last];
    spin_unlock(&mmu->retired_lock);
    bool empty = backing_free_some(&backing, BACKING_FREE_PAGES);
    spin_lock(&mmu->retired_lock);
    if (empty) {
        unsigned end = mmu->doomed_used - 1;
        mmu->doomed[last] = mmu->doomed[end];
        __atomic_store_n(&mmu->doomed_used, end, __ATOMIC_RELAXED);
    } else {
        mmu->doomed[last] = backing;
    }
    spin_unlock(&mmu->retired_lock);
}

/* ---- Pieces ---------------------------------------------------------------------------------- */

bool tdp_is_reclaiming(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED) ||
           __atomic_load_n(&mmu->dying.top, __ATOMIC_RELAXED);
}

/* Frees one piece; *newest as for take_retired(). Returns false if nothing could be freed. */
static bool free_piece(struct mmu *mmu, uint64_t *newest)
{
    struct retired r;
    *newest = 0;
    if (!mmu->dying.top && take_retired(mmu, &r, newest)) {
        if (!r.level) {
            page_free(r.page, r.order);
            return true;
        }
        begin_freeing(&mmu->dying, &r);
    }
    if (mmu->dying.top)
        free_tables(mmu, &mmu->dying);
    else if (__atomic_load_n(&mmu->doomed_used, __ATOMIC_RELAXED))
        free_doomed(mmu);
    else
        return false;
    return true;
}

/* One pCPU tidies at a time. */
static bool begin_tidying(struct mmu *mmu)
{
    return !__atomic_exchange_n(&mmu->tidying, true, __ATOMIC_ACQUIRE);
}

static void end_tidying(struct mmu *mmu)
{
    __atomic_store_n(&mmu->tidying, false, __ATOMIC_RELEASE);
}

bool tdp_reclaim_piece(struct mmu *mmu, bool wait)
{
    uint64_t newest;
    if (!begin_tidying(mmu))
        return false;
    bool done = free_piece(mmu, &newest);
    if (!done && wait && newest) {
        epoch_wait(newest, mmu, this_cpu(), cpu_kick);
        done = free_piece(mmu, &newest);
    }
    end_tidying(mmu);
    return done;
}

bool tdp_drain_piece(struct mmu *mmu)
{
    if (!tdp_is_reclaiming(mmu))
        return true;
    (void)tdp_reclaim_piece(mmu, true);
    return false;
}

void tdp_reclaim(struct mmu *mmu, bool wait)
{
    if (!wait) {
        (void)tdp_reclaim_piece(mmu, false);
        return;
    }
    while (tdp_is_reclaiming(mmu) || mmu->doomed_used) {
        if (!tdp_reclaim_piece(mmu, true))
            cpu_relax();
    }
}
