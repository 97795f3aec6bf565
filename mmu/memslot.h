/*
 * The set of slots of a VM, and how it is replaced. There are two copies; a change is made in the
 * one that nobody reads, and then published with a new generation (rule F7). Readers need no lock,
 * only an epoch. Inside mmu/; the operations on slots are in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

/* The set that is current now. It stays as it is to the end of the reader's epoch. */
static inline const struct memslots *memslots(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->slots, __ATOMIC_ACQUIRE);
}

static inline uint64_t memslots_generation(const struct memslots *slots)
{
    return __atomic_load_n(&slots->generation, __ATOMIC_ACQUIRE);
}

static inline gfn_t memslot_end(const struct memslot *slot)
{
    return GFN(slot->base.v + slot->backing.pages);
}

/* The slot that covers `gfn`, being deleted or not, or NULL. Binary search. */
static inline const struct memslot *memslot_find(const struct memslots *slots, gfn_t gfn)
{
    unsigned low = 0, high = slots->used;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct memslot *slot = &slots->slot[middle];
        if (gfn.v < slot->base.v)
            high = middle;
        else if (gfn.v - slot->base.v >= slot->backing.pages)
            low = middle + 1;
        else
            return slot;
    }
    return NULL;
}

/* The first set, empty, or -ENOMEM; and the end: frees the memory of all slots, whose tables are
 * gone already. */
int memslots_create(struct mmu *mmu) MUST_CHECK;
void memslots_free(struct mmu *mmu);

/* Takes slots_lock, for whoever changes the set or what hangs on it. The caller holds no pointer
 * and no other lock: others who hold this one may wait for an epoch meanwhile. */
void memslots_lock(struct mmu *mmu);

/* A change, with slots_lock held: make it in the copy that nobody reads, publish that under a new
 * generation, and when nobody reads the old copy any more (rule F7), make it equal again, from the
 * slot of the lowest changed index on. */
struct memslots *memslots_begin(struct mmu *mmu);
void memslots_publish(struct mmu *mmu, unsigned first_changed);

/* By number, or NULL. */
struct memslot *memslot_by_id(struct memslots *slots, uint32_t id);

/* The number of guest-physical frames that a VM can have: below its stolen bits. */
uint64_t memslot_gfn_end(const struct mmu *mmu);

/* 0 if [gpa, gpa + pages) is made of whole pages and within the limit, else as in mmu/mmu.h, after
 * a sentence that begins with `what`. */
int memslot_check_range(const struct mmu *mmu, const char *what, gpa_t gpa,
                        uint64_t pages) MUST_CHECK;
