/* SPDX-License-Identifier: MIT */
/*
 * What the MMU has for a guest frame, as a picture for people: the entries of the walk in one root,
 * the slot, the host page. It changes nothing, and may be out of date when it is read. Public.
 */
#pragma once

#include "mmu/mmu.h"

struct mmu_look {
    const struct root *root;
    alias_t alias;
    unsigned count; /* of entries */
    struct {
        unsigned level;
        uint64_t spte;
    } entries[EPT_LEVELS];

    bool in_slot;
    struct memslot slot; /* with in_slot */
    hpa_t page;          /* the host page behind the frame, or PAGE_NONE */
    unsigned page_level; /* of the block that it belongs to */
    bool shared;         /* the frame is on the shared side, in a VM with sides */
    unsigned tracked;    /* how often writes to it are tracked */
    bool dirty;          /* the dirty log has its bit set */
};

/* Looks at the frame of `gpa` in root number `root`. The caller is in an epoch. */
void mmu_look(const struct mmu *mmu, gpa_t gpa, unsigned root, struct mmu_look *look);

/* The slots' places in the set, in ascending order of their addresses: copies the one at `index`.
 * Returns false if there are not so many. The caller is in an epoch. */
bool mmu_look_slot(const struct mmu *mmu, unsigned index, struct memslot *slot);

/* Memory whose slot has counters for write tracking, by a name that stays what it is when the slot
 * is moved, and that no other memory of the VM ever gets. */
struct mmu_memory {
    uint64_t born;  /* the number of the counters (mmu/track.h); 0: no such memory */
    uint64_t frame; /* in the slot */
};

/* The memory at `gpa`, and whether writes to it are tracked. The caller is in an epoch. */
struct mmu_memory mmu_memory_at(const struct mmu *mmu, gpa_t gpa, bool *tracked);

/* Where this memory is now. Returns false if it is gone. The caller is in an epoch. */
bool mmu_memory_place(const struct mmu *mmu, const struct mmu_memory *memory,
                      gpa_t *gpa) MUST_CHECK;

/* The number of pages of the slot whose bit in the dirty log is set; it has one. */
uint64_t mmu_look_dirty(const struct memslot *slot);

/* An SPTE in words, as in "leaf of 4 KiB to HPA 0x1234000: RWX, WB, accessed, dirty". `generation`
 * is the slots' now. */
void spte_text(const struct mmu *mmu, uint64_t spte, unsigned level, uint64_t generation,
               char *text, size_t size);

/* The flags of a slot in words. */
void memslot_flags_text(uint32_t flags, char *text, size_t size);
