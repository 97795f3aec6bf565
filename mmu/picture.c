/* SPDX-License-Identifier: MIT */
/* Visits all entries of a VM's tables, and says what they mean; see the header. Pure. */
#include "mmu/picture.h"

#include "lib/bits.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/sides.h"
#include "mmu/spte.h"
#include "mmu/tdp.h"
#include "mmu/track.h"

#define OF_ALL (PICTURE_OF_TABLE | PICTURE_OF_LEAF)

const struct picture_field picture_fields[] = {
    {EPT_READ, OF_ALL, "may be read"},
    {EPT_WRITE, OF_ALL, "may be written"},
    {EPT_EXECUTE, OF_ALL, "may be executed"},
    {EPT_MEMTYPE, PICTURE_OF_LEAF, "memory type (6 is write-back)"},
    {EPT_IPAT, PICTURE_OF_LEAF, "the guest's PAT is ignored"},
    {EPT_LARGE, PICTURE_OF_LEAF, "large page"},
    {EPT_ACCESSED, OF_ALL, "accessed"},
    {EPT_DIRTY, PICTURE_OF_LEAF, "dirty"},
    {SPTE_MMU_PRESENT, OF_ALL, "present for the MMU"},
    {EPT_ADDRESS, OF_ALL, "host-physical address"},
    {SPTE_AD_TYPE, OF_ALL, "type of A and D (0: the CPU sets them, 1: no, 2: D by faults)"},
    {SPTE_SAVED, PICTURE_OF_LEAF, "rights saved by aging"},
    {SPTE_HOST_WRITABLE, PICTURE_OF_LEAF, "the slot allows writes"},
    {SPTE_MMU_WRITABLE, PICTURE_OF_LEAF, "a fault may make it writable without the lock"},
    {SPTE_NX_SPLIT, PICTURE_OF_TABLE, "stands for a large page that was executed"},
    {EPT_RWX, PICTURE_OF_MMIO, "what makes the CPU exit (6: write and execute without read)"},
    {SPTE_GENERATION_LOW, PICTURE_OF_MMIO, "generation, bits 7:0"},
    {EPT_ADDRESS, PICTURE_OF_MMIO, "guest-physical address"},
    {SPTE_GENERATION_HIGH, PICTURE_OF_MMIO, "generation, bits 18:8"},
    {SPTE_SUPPRESS_VE, OF_ALL | PICTURE_OF_MMIO, "violations exit, even with #VE"},
};
const unsigned picture_field_count = ARRAY_SIZE(picture_fields);

/* ---- What an entry means --------------------------------------------------------------------- */

static bool is_dirty(const struct memslot *slot, uint64_t offset, uint64_t word)
{
    return __atomic_load_n(&slot->dirty[offset / 64], __ATOMIC_RELAXED) >> offset % 64 & 1 ||
           (word & EPT_DIRTY && spte_ad_enabled(word));
}

/* A slot with attributes by which a page is marked has no large pages there. */
static uint8_t marks_of(const struct memslot *slot, const struct picture_entry *entry)
{
    uint64_t offset = entry->gfn.v - slot->base.v;
    uint8_t marks = 0;
    if (entry->gfn.v < slot->base.v)
        return 0; /* a large entry whose slot begins within it */
    if (track_is(slot, offset))
        marks |= PICTURE_MARK(TRACKED);
    if (slot->dirty)
        marks |= PICTURE_MARK(LOGGED);
    if (slot->dirty && is_dirty(slot, offset, entry->word))
        marks |= PICTURE_MARK(DIRTY);
    if (slot->shared && sides_is_shared(slot, offset))
        marks |= PICTURE_MARK(SHARED);
    return marks;
}

static enum picture_class class_of_leaf(const struct picture_entry *entry,
                                        const struct memslot *slot)
{
    uint64_t rights = entry->word & EPT_RWX;
    if (rights == EPT_EXECUTE)
        return PICTURE_EXECUTE_ONLY;
    if (!rights)
        return PICTURE_AGED;
    if (rights & EPT_WRITE)
        return rights & EPT_EXECUTE ? PICTURE_RAM : PICTURE_NO_EXECUTE;
    if (entry->marks & PICTURE_MARK(TRACKED))
        return PICTURE_TRACKED;
    return slot && slot->flags & MEMSLOT_READONLY ? PICTURE_READ_ONLY : PICTURE_NO_WRITE;
}

static enum picture_class class_of_mmio(uint64_t word, const struct memslots *slots)
{
    uint64_t generation = memslots_generation(slots);
    bool current = !(generation & SLOT_UPDATE_IN_PROGRESS) &&
                   spte_mmio_generation(word) == (generation & SPTE_GENERATION_MASK);
    return current ? PICTURE_MMIO : PICTURE_MMIO_STALE;
}

static void classify(const struct mmu *mmu, struct picture_entry *entry)
{
    const struct memslots *slots = memslots(mmu);
    const struct memslot *slot;
    switch (spte_classify(entry->word, entry->level, mmu->mmio_value)) {
    case SPTE_CLASS_NONPRESENT:
        entry->class = PICTURE_EMPTY;
        return;
    case SPTE_CLASS_FROZEN:
        entry->class = PICTURE_FROZEN;
        return;
    case SPTE_CLASS_MMIO:
        entry->class = class_of_mmio(entry->word, slots);
        return;
    case SPTE_CLASS_NONLEAF:
        entry->class = PICTURE_TABLE;
        return;
    case SPTE_CLASS_LEAF:
    case SPTE_CLASS_TRACKED:
        slot = memslot_find(slots, entry->gfn);
        entry->marks = slot ? marks_of(slot, entry) : 0;
        entry->class = class_of_leaf(entry, slot);
        if (mmu->roots[entry->root].role & ROLE_MIRROR && entry->class == PICTURE_AGED)
            entry->class = PICTURE_BLOCKED;
        return;
    case SPTE_CLASS_ALIEN:
        entry->class = PICTURE_ALIEN;
        return;
    }
}

/* ---- The visit ------------------------------------------------------------------------------- */

/* The entry for the frame at `lowest`, or the lowest one on the way to it. */
static struct picture_entry find(const struct mmu *mmu, const struct picture_at *at)
{
    const struct root *root = &mmu->roots[at->root];
    struct picture_entry entry = {.root = at->root, .level = mmu->root_level};
    if (root->role & ROLE_MIRROR) {
        struct mirror_place place = mirror_find(mmu, at->gfn, at->level);
        entry.level = place.level;
        entry.word = place.old;
    } else {
        const uint64_t *sptep;
        entry.word =
            tdp_descend(mmu->composite, &entry.level, root_alias(root, at->gfn), at->level, &sptep);
    }
    entry.gfn = ept_first_frame(at->gfn, entry.level);
    return entry;
}

/* Goes to the entry behind this one: of the same table, or of a higher one at the table's end. */
static void skip(const struct mmu *mmu, struct picture_at *at, const struct picture_entry *entry)
{
    at->gfn.v = entry->gfn.v + ept_frames(entry->level);
    at->level = entry->level;
    if (at->gfn.v >= memslot_gfn_end(mmu)) {
        *at = (struct picture_at){.root = at->root + 1};
        return;
    }
    while (at->level < mmu->root_level && !ept_index(ALIAS(at->gfn.v), at->level))
        at->level++;
}

bool picture_next(const struct mmu *mmu, struct picture_at *at, struct picture_entry *entry)
{
    if (at->root >= mmu->root_count)
        return false;
    if (!at->level)
        at->level = mmu->root_level;
    *entry = find(mmu, at);
    classify(mmu, entry);
    if (entry->class == PICTURE_TABLE)
        at->level--;
    else
        skip(mmu, at, entry);
    return true;
}
