/*
 * The EPT tables of one VM: walk, map, zap. All stores of SPTEs go through tdp_store(), which
 * checks the change, keeps the accounts and writes the flush ledger. Called inside mmu/.
 *
 * Faults map under the shared lock and race with each other by compare-exchange alone. Zaps own the
 * lock. Walkers and fast faults hold no lock, and reach only tables that are freed after an epoch.
 */
#pragma once

#include "lib/page.h"
#include "lib/trace.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"

/* This pCPU's part. */
static inline struct mmu_cpu *mmu_self(struct mmu *mmu)
{
    return &mmu->cpu[this_cpu()];
}

/* Adds to a counter that other pCPUs read while it changes; the other counters wait to be asked. */
static inline void mmu_count(uint64_t *counter, uint64_t change)
{
    __atomic_store_n(counter, *counter + change, __ATOMIC_RELAXED);
}

/* Walks a range in every root, in pre-order: an entry before what is below it. `old` is a snapshot
 * of the entry; the walk descends by what stands there, so an entry that the loop's body emptied is
 * not followed. (Rule W1.) */
struct tdp_iter {
    const struct mmu *mmu;
    const struct root *root; /* behind the last one: the walk is over */
    gfn_t first, end;
    gfn_t gfn;      /* the first frame of the range that this entry covers */
    unsigned level; /* of this entry */
    uint64_t old;
    uint64_t *sptep;
    uint64_t *tables[EPT_LEVELS + 1];
};

void tdp_iter_start(struct tdp_iter *iter, const struct mmu *mmu, gfn_t first, gfn_t end);
void tdp_iter_next(struct tdp_iter *iter);

/* From the top again to where it stands, after the lock was given away. */
void tdp_iter_restart(struct tdp_iter *iter);

static inline bool tdp_iter_valid(const struct tdp_iter *iter)
{
    return iter->root < &iter->mmu->roots[iter->mmu->root_count];
}

#define tdp_for_each(iter, mmu, first, end) \
    for (tdp_iter_start(iter, mmu, first, end); tdp_iter_valid(iter); tdp_iter_next(iter))

/* Any change: may it be, what does it count for, does it owe a flush? */
bool tdp_store_any(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level, uint64_t old,
                   uint64_t new) MUST_CHECK;

/* Replaces `old` at `sptep`, which is at `level`. False if the entry was not `old` any more (the
 * CPU set A or D, or another CPU was faster): nothing was done, read it again. Always a
 * compare-exchange, so that nobody has to ask which entries may change under us (rule S14). `gfn`
 * is any frame that the entry covers, for the trace. Of a usual leaf where nothing was, two
 * compares say all that tdp_store_any() would find out. */
static inline bool MUST_CHECK tdp_store(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep,
                                        unsigned level, uint64_t old, uint64_t new)
{
    if (unlikely(old != SPTE_NONPRESENT || !spte_is_usual_leaf(new, level) ||
                 trace_wants(TRACE_SPTE_CHANGES)))
        return tdp_store_any(self, gfn, sptep, level, old, new);
    if (!__atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
        return false;
    self->stats.spte_changes++;
    self->stats.pages[level - 1]++;
    return true;
}

/* The same of an MMIO SPTE that gets another generation. */
static inline bool MUST_CHECK tdp_renew(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep,
                                        uint64_t old, uint64_t new)
{
    if (unlikely(!spte_is_renewal(old, new, self->mmu->mmio_value) ||
                 trace_wants(TRACE_SPTE_CHANGES)))
        return tdp_store_any(self, gfn, sptep, EPT_LEVEL_4K, old, new);
    if (!__atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
        return false;
    self->stats.spte_changes++;
    self->stats.mmio_spte_created++;
    return true;
}

/* The same of a usual leaf that goes. False, too, if it is none: then ask tdp_exchange(). */
static inline bool MUST_CHECK tdp_drop_usual(struct mmu_cpu *self, uint64_t *sptep, unsigned level,
                                             uint64_t old)
{
    if (unlikely(!spte_was_usual_leaf(old, level) || trace_wants(TRACE_SPTE_CHANGES)))
        return false;
    if (!__atomic_compare_exchange_n(sptep, &old, SPTE_NONPRESENT, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_ACQUIRE))
        return false;
    self->stats.spte_changes++;
    self->stats.pages[level - 1]--;
    tlb_owe(self->mmu);
    return true;
}

/* The same until it succeeds, for changes whose result does not depend on what stood there. Returns
 * what did. */
uint64_t tdp_exchange(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level,
                      uint64_t new);

/* ---- tables.c -------------------------------------------------------------------------------- */

/* The composite, with one root. Returns 0 or -ENOMEM. */
int tdp_create(struct mmu *mmu) MUST_CHECK;
void tdp_destroy(struct mmu *mmu);

/* Makes sure that the next map or MMIO install needs no allocation (rule N6). Empties all
 * roots first if the VM has more tables than its memory justifies, and frees a piece of what is
 * retired. No locks held. Returns 0 or -ENOMEM. */
int tdp_fill_cache(struct mmu_cpu *self) MUST_CHECK;

static inline int MUST_CHECK tdp_top_up(struct mmu_cpu *self)
{
    return likely(self->table_cache_used == TABLE_CACHE) ? 0 : tdp_fill_cache(self);
}

/* How many tables a VM with so many pages of memory can have, on so many pCPUs. */
uint64_t tdp_tables_most(uint64_t pages, unsigned pcpus);

/* A page of NONPRESENT out of the cache, and back. */
uint64_t *tdp_take_table(struct mmu_cpu *self);
void tdp_return_table(struct mmu_cpu *self, uint64_t *table);
void tdp_clear_table(uint64_t *table);

/* ---- retired.c ------------------------------------------------------------------------------- */

/* Gives up what has been unlinked, to be freed after an epoch. The room for it is reserved before
 * the unlinking; where there is none, tdp_make_room() makes some or the fault is tried again. */
bool tdp_reserve(struct mmu *mmu) MUST_CHECK;
void tdp_unreserve(struct mmu *mmu);
void tdp_retire(struct mmu *mmu, struct retired r);

static inline bool tdp_has_room(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED) < RETIRED_MAX / 2;
}

/* Gives up the memory of a slot that nobody reaches any more, to be freed in pieces. False: there
 * is no room; then backing_free() has to. */
bool tdp_doom(struct mmu *mmu, const struct backing *backing) MUST_CHECK;

/* Does anything wait to be freed, but for memory of slots? */
bool tdp_is_reclaiming(const struct mmu *mmu);

/* Frees a piece, of a few thousand instructions. With `wait`, it waits for the VM's own pCPUs if an
 * epoch is not over; then no locks are held but slots_lock. Returns whether anything was freed. */
bool tdp_reclaim_piece(struct mmu *mmu, bool wait);

/* Frees until half of the room for what is unlinked is free. Waits likewise. */
void tdp_make_room(struct mmu *mmu);

/* Frees a piece; or with `wait` all. Waits likewise. */
void tdp_reclaim(struct mmu *mmu, bool wait);

/* ---- map.c ----------------------------------------------------------------------------------- */

/* What a fault wants at `alias`: the page behind it and the SPTE that says so. */
struct tdp_mapping {
    alias_t alias;
    gfn_t gfn;       /* which the alias means */
    uint32_t role;   /* of its root */
    hpa_t page;      /* what stands behind the frame itself */
    unsigned level;  /* at most */
    uint64_t access; /* EPT_ bits that the guest is waiting for */
    uint64_t rights; /* EPT_WRITE, SPTE_HOST_WRITABLE, SPTE_MMU_WRITABLE: what is given; and */
    uint64_t denied; /* EPT_EXECUTE where it is taken away (huge pages that may not be executed) */
};

/* Needs tdp_top_up() and the lock, shared. Returns FAULT_FIXED, FAULT_SPURIOUS or FAULT_RETRY. */
int tdp_map(struct mmu_cpu *self, const struct tdp_mapping *want) MUST_CHECK;

/* Installs an MMIO SPTE; no slot of this generation covers the frame. Needs the same. Returns
 * FAULT_EMULATE or FAULT_RETRY. */
int tdp_map_mmio(struct mmu_cpu *self, const struct tdp_mapping *want,
                 uint64_t generation) MUST_CHECK;

/* Replaces a large leaf by a table of leaves of the level below that translate the same, so no
 * flush is owed (rule T6). `add` are rights that the small ones get in addition. False if the entry
 * was not `old` any more. Needs a table in the cache. */
bool tdp_split(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level, uint64_t old,
               uint64_t add) MUST_CHECK;

/* ---- zap.c ----------------------------------------------------------------------------------- */

#define ZAP_MMIO 1u /* MMIO SPTEs too */
/* Tables that the range covers, as they are, so that larger leaves can take their place. Their D
 * bits are read when they are freed, too late for a dirty log: no slot in the range keeps one. */
#define ZAP_TABLES 2u

/* Removes every leaf of every root that overlaps [first, end). Takes the lock, gives way to others
 * who wait for it, and returns when no pCPU uses what was removed. */
void tdp_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags);

/* The same with the lock owned. */
void tdp_zap_locked(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags);

/* Empties all roots at once by cutting off what it links: leaves, MMIO SPTEs and tables (rule N5).
 * They are freed later; while a slot logs dirty pages, when it returns, for their D bits are in
 * them. No locks held but slots_lock. */
void tdp_zap_all(struct mmu *mmu);

/* The lowest entry of the walk to `alias`, and its level. Takes no lock; in an epoch (rule W2). */
static inline uint64_t tdp_walk_to(const struct mmu *mmu, alias_t alias, unsigned *level,
                                   uint64_t **sptep)
{
    uint64_t *table = mmu->composite;
    for (unsigned shift = 9 * (mmu->root_level - 1);; shift -= 9) {
        *sptep = &table[alias.v >> shift & (EPT_ENTRIES - 1)];
        uint64_t spte = __atomic_load_n(*sptep, __ATOMIC_ACQUIRE);
        if (!shift || !spte_has_table(spte)) {
            *level = shift / 9 + 1;
            return spte;
        }
        table = phys_to_virt(spte_page(spte));
    }
}

/* Installs `leaf` where all tables are there and nothing stands yet, which is nearly always. Needs
 * the lock. FAULT_FIXED, FAULT_RETRY, or FAULT_CONTINUE: something else is there; nothing was done.
 */
static ALWAYS_INLINE int tdp_map_new(struct mmu_cpu *self, alias_t alias, gfn_t gfn, unsigned level,
                                     uint64_t leaf)
{
    const struct mmu *mmu = self->mmu;
    uint64_t *table = mmu->composite, *sptep, spte;
#define STEP(l)                                      \
    sptep = &table[ept_index(alias, l)];             \
    spte = __atomic_load_n(sptep, __ATOMIC_ACQUIRE); \
    if ((l) == level)                                \
        break;                                       \
    if (unlikely(!spte_has_table(spte)))             \
        return FAULT_CONTINUE;                       \
    table = phys_to_virt(spte_page(spte));

    switch (mmu->root_level) {
    case 4:
        STEP(4) /* fall through */
    case 3:
        STEP(3) /* fall through */
    case 2:
        STEP(2) /* fall through */
    default:
        STEP(1)
        return FAULT_CONTINUE;
    }
#undef STEP
    if (unlikely(spte != SPTE_NONPRESENT))
        return FAULT_CONTINUE;
    return likely(tdp_store(self, gfn, sptep, level, SPTE_NONPRESENT, leaf)) ? FAULT_FIXED
                                                                             : FAULT_RETRY;
}

static inline uint64_t tdp_walk(const struct mmu *mmu, alias_t alias, unsigned *level)
{
    uint64_t *sptep;
    return tdp_walk_to(mmu, alias, level, &sptep);
}
