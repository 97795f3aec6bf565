/* SPDX-License-Identifier: MIT */
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

/* The first set, empty, or -ENOMEM; and the end: frees a piece of the memory of all slots, whose
 * tables are gone already. True: that was the last. */
int memslots_create(struct mmu *mmu) MUST_CHECK;
bool memslots_free_piece(struct mmu *mmu) MUST_CHECK;

/* Takes slots_lock, for whoever changes the set or what hangs on it. The caller holds no pointer
 * and no other lock. -EINPROGRESS: somebody else has it, or a change is in progress; some of that
 * has been done, and the caller is to look around and then try again. */
int memslots_lock(struct mmu *mmu) MUST_CHECK;

/* A change, with slots_lock held: make it in the copy that nobody reads, publish that under a new
 * generation, which returns when nobody reads the old copy any more (rule F7), and before the next
 * change make the two equal again, from the slot of the lowest changed index on. */
struct memslots *memslots_begin(struct mmu *mmu);
void memslots_publish(struct mmu *mmu);
void memslots_settle(struct mmu *mmu, unsigned first_changed);

/* Changes in the copy that nobody reads, which is equal to the current one: a new slot, a slot
 * less, another one in the place of that at `index`. Where there is an index to return, it is the
 * lowest that has changed. */
unsigned memslots_insert(struct mmu *mmu, const struct memslot *slot);
void memslots_remove(struct mmu *mmu, unsigned index);
unsigned memslots_replace(struct mmu *mmu, unsigned index, const struct memslot *slot);

/* Makes room for one more in both copies. *room is to take the place of the current one when that
 * is read no more, or NULL. -ENOMEM after a sentence. */
int memslots_make_room(struct mmu *mmu, struct memslots **room) MUST_CHECK;
void memslots_use_room(struct mmu *mmu, struct memslots *room);
void memslots_free_set(struct memslots *set);

/* What hangs on a slot that nobody reaches any more, its memory apart. */
void memslot_free_parts(struct memslot *slot);

/* The index of the slot with this number, or how many there are. */
unsigned memslot_index(const struct memslots *slots, uint32_t id);

/* By number, or NULL. */
const struct memslot *memslot_by_id(const struct memslots *slots, uint32_t id);

/* Does [base, base + pages) overlap a slot other than that at `except`? The slot, or NULL. */
const struct memslot *memslot_overlapped(const struct memslots *slots, gfn_t base, uint64_t pages,
                                         unsigned except);

/* The number of guest-physical frames that a VM can have: below its stolen bits. */
uint64_t memslot_gfn_end(const struct mmu *mmu);

/* 0 if [gpa, gpa + pages) is made of whole pages and within the limit, else as in mmu/mmu.h, after
 * a sentence that begins with `what`. */
int memslot_check_range(const struct mmu *mmu, const char *what, gpa_t gpa,
                        uint64_t pages) MUST_CHECK;
