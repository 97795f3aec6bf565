/* SPDX-License-Identifier: MIT */
/*
 * The model of test_mmu_adversary.c: for each VM its stolen bits and a list of slots with the state
 * of each page; the outcome that an access must have; and counts of what has happened in a run.
 */
#pragma once

#include "tests/unit/mmu/mmu_adversary.h"

#define VMS   2
#define CPUS  2
#define SLOTS 8

/* ---- Random ---------------------------------------------------------------------------------- */

static uint64_t random_state;

static inline uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

/* ---- The model ------------------------------------------------------------------------------- */

struct page_model {
    uint64_t value;   /* the first 64 bits of the page */
    unsigned tracked; /* number of times that it is tracked */
    bool dirty;       /* written since the log was last read */
    bool may_be;      /* may or may not be in the log: both are correct */
    bool shared;      /* its side, in a VM with sides */
};

struct slot_model {
    bool used;
    bool readonly;
    bool logs;
    uint64_t base;
    uint64_t pages;
    struct page_model *page;
};

struct vm {
    struct mmu mmu;
    bool alive;
    uint64_t bits[ALIASES]; /* the stolen bits of each alias, as bits of a GFN */
    bool sides, execute_only, ve;
    uint64_t logs_one_in; /* one slot in this number logs; often one is the first that does */
    uint64_t high;        /* the first frame of the second window */
    unsigned shared[2 * FRAMES / PIECE]; /* number of shared pages in each 2 MiB */
    struct slot_model slot[SLOTS];
};

/* Counts of what has happened in a run: a run in which something never happened proves nothing
 * about it. */
static struct {
    uint64_t hits;      /* answered from the TLB */
    uint64_t writes;    /* writes that reached RAM */
    uint64_t emulated;  /* MMIO */
    uint64_t changes;   /* slots added, deleted, moved, flags changed */
    uint64_t replaced;  /* tables replaced by a block */
    uint64_t wraps;     /* full zaps */
    uint64_t lives;     /* VMs that have ended */
    uint64_t kicked;    /* CPUs that were made to leave the guest */
    uint64_t splits;    /* large leaves that were split */
    uint64_t fast;      /* faults repaired without the lock */
    uint64_t dirty;     /* pages found in the log */
    uint64_t logged;    /* entries of the CPUs' PML logs */
    uint64_t full;      /* times that a PML log was full */
    uint64_t last;      /* last writes of a CPU that is being kicked */
    uint64_t exchanged; /* compare-exchanges of guest memory */
    uint64_t straddled; /* writes that cross a page boundary */
    uint64_t adjacent;  /* slots that begin where another one ends */
    uint64_t overlaps;  /* slots refused because of another one */
    uint64_t guarded;   /* writes to tracked pages that faulted */
    uint64_t remaps;    /* host pages replaced */
    uint64_t refused;   /* accesses that end a VM */
    uint64_t converted; /* pages that changed sides */
    uint64_t late;      /* writes to a page during its conversion */
    uint64_t mixed;     /* small pages seen where 2 MiB have pages of both sides */
    uint64_t ve;        /* #VE delivered by the CPU */
    uint64_t ve_exits;  /* violations that install an entry for #VE */
    uint64_t aliases;   /* translations found for other aliases of the frame */
} met;

static struct vm vms[VMS];
static struct vm *in_guest[CPUS];
static uint64_t stamp;

static inline struct slot_model *model_slot(struct vm *vm, gfn_t gfn)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot_model *s = &vm->slot[i];
        if (s->used && gfn.v >= s->base && gfn.v - s->base < s->pages)
            return s;
    }
    return NULL;
}

static inline struct page_model *model_page(struct vm *vm, gfn_t gfn)
{
    struct slot_model *slot = model_slot(vm, gfn);
    return &slot->page[gfn.v - slot->base];
}

static inline bool model_free(struct vm *vm, uint64_t base, uint64_t pages, unsigned except)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot_model *s = &vm->slot[i];
        if (i != except && s->used && base < s->base + s->pages && s->base < base + pages)
            return false;
    }
    return true;
}

/* ---- Aliases and sides ----------------------------------------------------------------------- */

#define SHARED_ALIAS 1u
#define XO_ALIAS     2u

static inline unsigned frame_index(gfn_t gfn)
{
    return (unsigned)(gfn.v < FRAMES ? gfn.v : FRAMES + gfn.v % FRAMES);
}

static inline struct place place_of(const struct vm *vm, gfn_t gfn, unsigned alias)
{
    return (struct place){.gfn = gfn,
                          .alias = alias,
                          .walked = GFN(gfn.v | vm->bits[alias]),
                          .index = alias * 2 * FRAMES + frame_index(gfn)};
}

static inline gpa_t gpa_of(const struct place *place)
{
    return gfn_to_gpa(place->walked);
}

static inline bool alias_exists(const struct vm *vm, unsigned alias)
{
    return !(alias & SHARED_ALIAS && !vm->sides) && !(alias & XO_ALIAS && !vm->execute_only);
}

/* The address through which the hypervisor, or a guest that obeys the rules, accesses the frame. */
static inline struct place proper_place(struct vm *vm, gfn_t gfn)
{
    struct slot_model *slot = model_slot(vm, gfn);
    bool shared = slot ? slot->page[gfn.v - slot->base].shared : vm->sides;
    return place_of(vm, gfn, shared ? SHARED_ALIAS : 0);
}

/* Called after pages have moved or changed sides. */
static inline void model_count_shared(struct vm *vm)
{
    memset(vm->shared, 0, sizeof(vm->shared));
    for (unsigned id = 0; vm->sides && id < SLOTS; id++) {
        const struct slot_model *slot = &vm->slot[id];
        for (uint64_t i = 0; slot->used && i < slot->pages; i++)
            vm->shared[frame_index(GFN(slot->base + i)) / PIECE] += slot->page[i].shared;
    }
}

/* Are there pages of both sides in the 2 MiB around the frame, so that they cannot be one page?
 * They lie wholly in a slot. */
static inline bool model_is_mixed(const struct vm *vm, gfn_t gfn)
{
    return vm->shared[frame_index(gfn) / PIECE] % PIECE;
}

/* The outcome that an access must have, computed without mmu/ (rules F2, F3, F6, X5, X10, X11).
 * Negative: the error that ends the VM. */
enum { MODEL_RAM, MODEL_GUARDED, MODEL_DEVICE, MODEL_READ_ONLY, MODEL_VE };

static inline int model_outcome(struct vm *vm, const struct place *place, unsigned access)
{
    bool shared = place->alias & SHARED_ALIAS, execute_only = place->alias & XO_ALIAS;
    unsigned rights = execute_only ? (shared ? 0 : 4) : shared ? 3 : 7;
    bool refused = access & ~rights;
    if (refused && !(vm->ve && rights == 4))
        return -EACCES;
    struct slot_model *slot = model_slot(vm, place->gfn);
    if (!slot)
        return execute_only || (vm->sides && !shared) ? -EFAULT : vm->ve ? MODEL_VE : MODEL_DEVICE;
    const struct page_model *page = &slot->page[place->gfn.v - slot->base];
    if (vm->sides && page->shared != shared)
        return -EACCES;
    if (refused)
        return MODEL_VE;
    if (access == 2 && slot->readonly)
        return MODEL_READ_ONLY;
    return access == 2 && page->tracked ? MODEL_GUARDED : MODEL_RAM;
}

/* ---- Where something happens ----------------------------------------------------------------- */

/* Are these frames in one of the windows that are in use? */
static inline bool is_window(const struct vm *vm, uint64_t base, uint64_t pages)
{
    uint64_t offset = base < FRAMES ? base : base - vm->high;
    return offset < FRAMES && pages <= FRAMES - offset;
}

static inline gfn_t random_frame(const struct vm *vm)
{
    uint64_t frame = rnd(FRAMES);
    return GFN(rnd(4) ? frame : vm->high + frame);
}

/* An offset at an end of a slot, at an end of 64 bits of its bitmaps, or one frame beside it. */
static inline uint64_t interesting_offset(const struct slot_model *slot)
{
    switch (rnd(8)) {
    case 0:
        return rnd(slot->pages);
    case 1:
        return slot->pages - 1 - rnd(2);
    case 2:
        return 62 + rnd(4);
    case 3:
        return (slot->pages & ~63ull) - rnd(2); /* where the last 64 bits begin */
    default:
        return rnd(8);
    }
}

/* Most accesses go to slots, and to their ends. */
static inline gfn_t interesting_frame(struct vm *vm)
{
    struct slot_model *slot = &vm->slot[rnd(SLOTS)];
    if (!slot->used || rnd(8) == 0)
        return random_frame(vm);
    gfn_t gfn = GFN(slot->base + interesting_offset(slot) - (rnd(32) == 0));
    return is_window(vm, gfn.v, 1) ? gfn : GFN(slot->base);
}

/* Mostly an alias through which the frame can be accessed. */
static inline struct place random_place(struct vm *vm, gfn_t gfn)
{
    struct place place = proper_place(vm, gfn);
    unsigned alias = rnd(8) ? place.alias : (unsigned)rnd(ALIASES);
    if (alias == 0 && rnd(4) == 0)
        alias = XO_ALIAS;
    return alias_exists(vm, alias) ? place_of(vm, gfn, alias) : place;
}

static inline unsigned random_access(const struct place *place)
{
    return place->alias & XO_ALIAS && rnd(4) ? 4 : 1u << rnd(place->alias && rnd(8) ? 2 : 3);
}

/* A random range; `pages` is 0, or the size that it must have. Some ranges begin or end at an end
 * of a slot, or one page beside it. */
static inline void random_range(const struct vm *vm, uint64_t *base, uint64_t *pages)
{
    static const uint64_t sizes[] = {1,   2,   3,   7,   63,  64,  65,   100,  129,
                                     300, 511, 512, 513, 700, 512, 1024, 1024, 1087};
    if (!*pages)
        *pages = sizes[rnd(ARRAY_SIZE(sizes))];
    const struct slot_model *slot = &vm->slot[rnd(SLOTS)];
    if (slot->used && rnd(3) == 0) {
        *base = rnd(2) ? slot->base + slot->pages : slot->base - *pages;
        *base += rnd(4) ? 0 : rnd(3) - 1;
        if (is_window(vm, *base, *pages))
            return;
    }
    *base = rnd(FRAMES - *pages + 1);
    if (rnd(2))
        *base = align_down(*base, PIECE);
    if (rnd(4) == 0)
        *base += vm->high;
}
