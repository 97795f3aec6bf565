/* SPDX-License-Identifier: MIT */
/*
 * The decisions of a fault as pure functions, each of which returns its reason (mmu/why.h). Faults
 * act on the reasons, and mmu_why() reports them, so that nothing is decided in two places. They
 * are inlined, and cost the faults nothing: a reason that is only compared is never computed.
 * Private to mmu/.
 */
#pragma once

#include "ept/misconfig.h"
#include "mmu/dirty.h"
#include "mmu/huge.h"
#include "mmu/map.h"
#include "mmu/memslot.h"
#include "mmu/sides.h"
#include "mmu/track.h"
#include "mmu/why.h"

/* ---- The root -------------------------------------------------------------------------------- */

static ALWAYS_INLINE enum why why_role(const struct tdp_access *access)
{
    if (likely(!(access->bits & ~access->role)))
        return WHY_NEXT;
    if (access->role & ROLE_MIRROR)
        return WHY_MIRROR;
    return access->role & ROLE_CONVERTS ? WHY_ROLE_CONVERTS : WHY_ROLE_REFUSES;
}

/* ---- A present entry, without a lock --------------------------------------------------------- */

/* Is a fast fault tried? It needs a present entry. Aging clears R, W and X of entries that are
 * present. Of an address that is too wide for the tables, which a CPU with a larger MAXPHYADDR lets
 * a guest use, the index bits would lead to the entry of another address. */
static inline bool fast_is_tried(const struct mmu *mmu, gfn_t gfn, uint32_t error_code)
{
    if (error_code & FAULT_PRESENT)
        return true;
    return __atomic_load_n(&mmu->access_tracked, __ATOMIC_RELAXED) &&
           !(error_code & FAULT_RESERVED) && gfn.v < memslot_gfn_end(mmu);
}

/* The SPTE with the rights that may be restored for this access. */
static inline uint64_t fast_repair(const struct mmu *mmu, const struct tdp_access *want,
                                   uint64_t spte, unsigned level)
{
    uint64_t new = spte;
    if (spte_is_access_tracked(spte)) {
        new = spte_restore_access(spte) | EPT_ACCESSED;
        if (want->role & ROLE_CONVERTS)
            new &= ~SPTE_SUPPRESS_VE;
    }
    /* A large page of a slot that logs must be split first, by the slow path (rule N2). */
    bool large_logged = level > EPT_LEVEL_4K && __atomic_load_n(&mmu->logging, __ATOMIC_RELAXED);
    if (want->bits & EPT_WRITE && spte & SPTE_MMU_WRITABLE && !large_logged)
        new |= EPT_WRITE;
    return new;
}

/* *repaired is the SPTE that allows the access. WHY_NEXT: the slow path decides, also if the entry
 * is FROZEN. */
static ALWAYS_INLINE enum why why_fast(const struct mmu *mmu, const struct tdp_access *want,
                                       uint64_t spte, unsigned level, uint64_t *repaired)
{
    *repaired = spte;
    if (!spte_is_leaf(spte, level))
        return WHY_NEXT;
    if (!(want->bits & ~spte))
        return WHY_LEAF_ALLOWS;
    *repaired = fast_repair(mmu, want, spte, level);
    if (want->bits & ~*repaired)
        return WHY_NEXT;
    return spte_is_access_tracked(spte) ? WHY_ACCESS_RESTORED : WHY_WRITE_RESTORED;
}

/* ---- No slot --------------------------------------------------------------------------------- */

static inline enum why why_no_slot(const struct mmu *mmu, const struct tdp_access *access)
{
    if (unlikely(!role_has_mmio(access->role)))
        return WHY_NO_DEVICES;
    if (mmu->mmio_value == SPTE_MMIO_NEVER)
        return WHY_UNCACHED;
    return access->gfn.v >= spte_format.mmio_gfn_end ? WHY_TOO_HIGH : WHY_MMIO_STORED;
}

/* Of an MMIO SPTE that the CPU has found. */
static ALWAYS_INLINE enum why why_mmio(const struct memslots *slots, uint64_t generation, gfn_t gfn,
                                       uint64_t spte)
{
    if (likely(!(generation & SLOT_UPDATE_IN_PROGRESS) &&
               spte_mmio_generation(spte) == (generation & SPTE_GENERATION_MASK)))
        return WHY_MMIO_CURRENT;
    if (generation & SLOT_UPDATE_IN_PROGRESS)
        return WHY_MMIO_UPDATING;
    return memslot_find(slots, gfn) ? WHY_MMIO_COVERED : WHY_MMIO_RENEWED;
}

/* ---- The slot -------------------------------------------------------------------------------- */

static ALWAYS_INLINE enum why why_slot(const struct memslot *slot, const struct tdp_access *access)
{
    if (slot->flags & MEMSLOT_INVALID) /* not MMIO: its SPTEs are still live (rule P5) */
        return WHY_SLOT_LEAVES;
    if (!(access->bits & EPT_WRITE && slot->flags & MEMSLOT_READONLY))
        return WHY_NEXT;
    /* A write to a read-only slot is emulated, if it comes through the page's side. */
    return sides_match(slot, access->gfn.v - slot->base.v, access->role) ? WHY_READ_ONLY
                                                                         : WHY_OTHER_SIDE;
}

/* Has an invalidation of guest pages begun or ended since `sequence` was read, or was one in
 * progress then? The sequence only grows, and is odd during an invalidation. */
static ALWAYS_INLINE bool fault_is_stale(const struct mmu *mmu, uint64_t sequence)
{
    return __atomic_load_n(&mmu->invalidate_sequence, __ATOMIC_ACQUIRE) != (sequence & ~1ull);
}

/* Fills in the mapping that the slot, the root and the page require. `level` is that of the backing
 * of `page`. WHY_NEXT: it is to be installed. The caller holds the lock. */
static inline enum why why_mapping(const struct mmu *mmu, const struct memslot *slot,
                                   const struct tdp_access *access, hpa_t page, unsigned level,
                                   struct tdp_mapping *want)
{
    uint64_t offset = access->gfn.v - slot->base.v;
    bool write = access->bits & EPT_WRITE;
    *want = (struct tdp_mapping){.access = *access, .page = page, .level = level};
    if (unlikely(!sides_match(slot, offset, access->role)))
        return WHY_OTHER_SIDE;
    if (unlikely(track_is(slot, offset) && !track_is_open(mmu, access->gfn))) {
        if (write)
            return WHY_TRACKED; /* not MMIO (rule N10) */
        want->rights = slot->flags & MEMSLOT_READONLY ? 0 : SPTE_HOST_WRITABLE;
    } else if (!(slot->flags & MEMSLOT_READONLY)) {
        want->rights = SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE | EPT_WRITE;
    }
    if (unlikely(slot->dirty && dirty_method() == DIRTY_WRITE_PROTECT) && !write)
        want->rights &= ~EPT_WRITE;
    if (!(access->role & EPT_WRITE))
        want->rights = 0;
    if (want->level > EPT_LEVEL_4K) {
        want->denied = huge_denied();
        want->level = huge_level(slot, access->gfn, page, want->level, access->bits);
    }
    return WHY_NEXT;
}

/* ---- The tables ------------------------------------------------------------------------------ */

static inline uint64_t map_leaf(const struct tdp_mapping *want, unsigned level)
{
    hpa_t start = HPA(align_down(want->page.v, ept_frames(level) * PAGE_SIZE));
    uint64_t denied = ~want->access.role & ROLE_RIGHTS;
    if (level > EPT_LEVEL_4K)
        denied |= want->denied;
    if (want->access.role & ROLE_CONVERTS)
        denied |= SPTE_SUPPRESS_VE;
    return (spte_leaf(start, level, false) | want->rights) & ~denied;
}

/* The leaf that gives `old` the rights that the mapping grants now. */
static inline uint64_t map_upgraded_leaf(const struct tdp_mapping *want, unsigned level,
                                         uint64_t old)
{
    return map_leaf(want, level) | (old & (EPT_ACCESSED | EPT_DIRTY));
}

/* Is the leaf `old` from before a change of the slot's flags, so that it is going to be zapped? */
static inline bool map_is_outdated(uint64_t old, uint64_t new)
{
    return (old ^ new) & SPTE_HOST_WRITABLE;
}

/* Whether a table must not be collapsed: it replaces a large page that was executed (rule N1), or
 * it is above level 2, where a collapse would have to free more than one page. Zaps remove such
 * tables. */
static inline bool map_table_stays(uint64_t table_entry, unsigned level)
{
    return level > EPT_LEVEL_2M || table_entry & SPTE_NX_SPLIT;
}

/* The rights that the children of a large leaf get in addition when it is split for a fetch that
 * large pages deny: 4 KiB children allow it, but 2 MiB children are large as well. */
static inline uint64_t map_split_adds(const struct tdp_mapping *want, unsigned level)
{
    return level == EPT_LEVEL_2M ? want->access.bits & want->denied : 0;
}

/* A child of a large leaf of `level`, which maps what its parent maps, but for the address. */
static inline uint64_t map_child(uint64_t parent, unsigned level, uint64_t add)
{
    uint64_t child = parent | add;
    return level - 1 == EPT_LEVEL_4K ? child & ~EPT_LARGE : child;
}

/* What a mapping of `level` does at an entry of level `at` on its way. */
enum map_step {
    MAP_ALLOWED,  /* the leaf allows the access: done */
    MAP_UPGRADE,  /* the leaf gets the missing rights: done */
    MAP_SPLIT,    /* the leaf is larger than the mapping */
    MAP_FROZEN,   /* another CPU is changing the entry */
    MAP_COLLAPSE, /* a large leaf replaces the table: done */
    MAP_DESCEND,
    MAP_STORE, /* the entry is empty: done */
    MAP_LINK,  /* … and above the mapping's level */
};

static ALWAYS_INLINE enum map_step map_next_step(const struct tdp_mapping *want, uint64_t spte,
                                                 unsigned at, unsigned level)
{
    if (spte_is_leaf(spte, at)) {
        if (!(want->access.bits & ~spte))
            return MAP_ALLOWED;
        return at == level ? MAP_UPGRADE : MAP_SPLIT;
    }
    if (unlikely(spte == SPTE_FROZEN))
        return MAP_FROZEN;
    if (spte_is_nonleaf(spte, at))
        return at == level && !map_table_stays(spte, at) ? MAP_COLLAPSE : MAP_DESCEND;
    return at == level ? MAP_STORE : MAP_LINK;
}

/* The same of an MMIO SPTE, whose way no leaf is on. */
static ALWAYS_INLINE enum map_step map_mmio_step(uint64_t spte, unsigned at)
{
    if (unlikely(spte == SPTE_FROZEN))
        return MAP_FROZEN;
    if (at == EPT_LEVEL_4K)
        return MAP_STORE;
    return spte_is_nonleaf(spte, at) ? MAP_DESCEND : MAP_LINK;
}
