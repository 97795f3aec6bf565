/* SPDX-License-Identifier: MIT */
/*
 * The set of slots of a VM. There are two copies: a change is made in the copy that nobody reads,
 * which is then published with a new generation (rule F7). Readers take no lock, but are in an
 * epoch. Private to mmu/; the operations on slots are in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

/* The current set, which does not change before the end of the reader's epoch. */
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

/* The slot that covers `gfn`, even if it is MEMSLOT_INVALID; or NULL. Binary search. */
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

/* memslots_create() makes an empty set; returns 0 or -ENOMEM. memslots_free_piece() frees a piece
 * of the set and of the memory of all slots, after their tables; it returns true when all is free.
 */
int memslots_create(struct mmu *mmu) MUST_CHECK;
bool memslots_free_piece(struct mmu *mmu) MUST_CHECK;

/* Takes slots_lock, for changes of the set or of what belongs to its slots. The caller holds no
 * pointer into the MMU and no other lock. Returns 0, or -EINPROGRESS if another CPU has the lock or
 * a change is in progress, on which this function has then worked: the caller attends to other
 * things and tries again. */
int memslots_lock(struct mmu *mmu) MUST_CHECK;

/* A change, with slots_lock held, is made in the copy that nobody reads, and change_publish() makes
 * this copy the current one. Before the next change the two are made equal again, from the lowest
 * index that has changed on. */
struct memslots *memslots_begin(struct mmu *mmu);
void memslots_settle(struct mmu *mmu, unsigned first_changed);

/* Change the copy that nobody reads, which is equal to the current one: add a slot, remove the slot
 * at `index`, or replace it by another one. memslots_insert() and memslots_replace() return the
 * lowest index that has changed. */
unsigned memslots_insert(struct mmu *mmu, const struct memslot *slot);
void memslots_remove(struct mmu *mmu, unsigned index);
unsigned memslots_replace(struct mmu *mmu, unsigned index, const struct memslot *slot);

/* Makes room for one more slot in both copies. *room is NULL, or a larger copy for
 * memslots_use_room(), which replaces the copy that is current now when nobody reads it any more.
 * Returns 0, or -ENOMEM after a message. */
int memslots_make_room(struct mmu *mmu, struct memslots **room) MUST_CHECK;
void memslots_use_room(struct mmu *mmu, struct memslots *room);
void memslots_free_set(struct memslots *set);

/* Frees the bitmaps and counts of a slot that nobody can reach any more, but not its memory. */
void memslot_free_parts(struct memslot *slot);

/* The index of the slot with this id, or slots->used if there is none. */
unsigned memslot_index(const struct memslots *slots, uint32_t id);

/* The slot with this id, or NULL. */
const struct memslot *memslot_by_id(const struct memslots *slots, uint32_t id);

/* A slot that overlaps [base, base + pages), except the one at index `except`; or NULL. */
const struct memslot *memslot_overlapped(const struct memslots *slots, gfn_t base, uint64_t pages,
                                         unsigned except);

/* The number of guest-physical frames that the VM can use, which are below its stolen bits. */
uint64_t memslot_gfn_end(const struct mmu *mmu);

/* Returns 0 if `gpa` is aligned to pages and `pages` pages from there are within the limit; else an
 * error as the operations on slots, after a message that begins with `what`. */
int memslot_check_range(const struct mmu *mmu, const char *what, gpa_t gpa,
                        uint64_t pages) MUST_CHECK;

/* 0, or -EINVAL after a message: the generation is out of range for a set of slots. */
int memslots_check_generation(uint64_t generation) MUST_CHECK;
