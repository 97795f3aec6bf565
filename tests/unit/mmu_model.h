/*
 * What test_mmu_adversary.c holds the MMU against: for each VM a plain list of slots with what is
 * known of each page, and what has happened in a run.
 */
#pragma once

#include "tests/unit/mmu_adversary.h"

#define VMS   2
#define CPUS  2
#define SLOTS 6

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
    uint64_t value;   /* what stands in its first word */
    unsigned tracked; /* how often */
    bool dirty;       /* written since the log was asked */
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
    struct slot_model slot[SLOTS];
};

/* What happened in a run: a run in which something never happened proves nothing about it. */
static struct {
    uint64_t hits;     /* answered from the TLB */
    uint64_t writes;   /* that reached RAM */
    uint64_t emulated; /* MMIO */
    uint64_t changes;  /* slots added, deleted, moved, flags changed */
    uint64_t replaced; /* a table by a block */
    uint64_t wraps;    /* full zaps */
    uint64_t lives;    /* VMs ended */
    uint64_t kicked;   /* a CPU made to leave the guest */
    uint64_t splits;   /* large leaves */
    uint64_t fast;     /* faults repaired without the lock */
    uint64_t dirty;    /* pages found in the log */
    uint64_t guarded;  /* writes to tracked pages stopped */
    uint64_t remaps;   /* of host pages */
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

static inline bool model_free(struct vm *vm, uint64_t base, uint64_t pages, unsigned except)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot_model *s = &vm->slot[i];
        if (i != except && s->used && base < s->base + s->pages && s->base < base + pages)
            return false;
    }
    return true;
}

/* ---- Where something happens ----------------------------------------------------------------- */

static inline gfn_t random_frame(void)
{
    uint64_t frame = rnd(FRAMES);
    return GFN(rnd(4) ? frame : HIGH + frame);
}

/* Half of the accesses go where slots are, and to their ends. */
static inline gfn_t interesting_frame(struct vm *vm)
{
    struct slot_model *slot = &vm->slot[rnd(SLOTS)];
    if (!slot->used || rnd(4) == 0)
        return random_frame();
    uint64_t near = rnd(3) ? rnd(slot->pages < 8 ? slot->pages : 8) : rnd(slot->pages);
    return GFN(slot->base + (rnd(4) ? near : slot->pages - 1));
}

static inline void random_range(uint64_t *base, uint64_t *pages)
{
    static const uint64_t sizes[] = {1, 2, 7, 64, 511, 512, 513, 1024};
    *pages = sizes[rnd(ARRAY_SIZE(sizes))];
    *base = rnd(FRAMES - *pages + 1);
    if (rnd(2))
        *base = align_down(*base, PIECE);
    if (rnd(4) == 0)
        *base += HIGH;
}
