/* SPDX-License-Identifier: MIT */
/*
 * The set of slots and its two copies; see memslot.h. change.c says how the set is changed.
 */
#include "mmu/memslot.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/mmu.h"
#include "mmu/page_array.h"
#include "mmu/spte.h"
#include "mmu/track.h"

#define GENERATION_END BIT(62) /* far below SLOT_UPDATE_IN_PROGRESS */

uint64_t memslot_gfn_end(const struct mmu *mmu)
{
    uint64_t stolen = mmu->stolen.mask;
    if (stolen)
        return stolen & -stolen; /* the lowest stolen bit */
    unsigned maxphyaddr = spte_format.caps.maxphyaddr;
    return BIT((maxphyaddr < EPT_GPA_BITS ? maxphyaddr : EPT_GPA_BITS) - PAGE_SHIFT);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

int memslot_check_range(const struct mmu *mmu, const char *what, gpa_t gpa, uint64_t pages)
{
    if (page_offset(gpa.v)) {
        log_error("%s: address %#lx is not aligned to a page", what, gpa.v);
        return -EINVAL;
    }
    if (!pages) {
        log_error("%s: 0 pages at %#lx; at least one is needed", what, gpa.v);
        return -EINVAL;
    }
    uint64_t base = gpa_to_gfn(gpa).v, end = memslot_gfn_end(mmu);
    if (base >= end || pages > end - base) {
        log_error("%s: %#lx pages at %#lx go beyond the guest-physical limit %#lx", what, pages,
                  gpa.v, end << PAGE_SHIFT);
        return -ERANGE;
    }
    return 0;
}

int memslots_check_generation(uint64_t generation)
{
    if (generation < GENERATION_END)
        return 0;
    log_error("MMU: slot generation %#lx is out of range; it must be below %#llx", generation,
              GENERATION_END);
    return -EINVAL;
}

/* ---- Two copies ------------------------------------------------------------------------------ */

static unsigned slots_capacity(unsigned order)
{
    uint64_t bytes = (PAGE_SIZE << order) - sizeof(struct memslots);
    return (unsigned)(bytes / sizeof(struct memslot));
}

static struct memslots *slots_new_set(unsigned order)
{
    hpa_t page = page_alloc(order);
    if (page_is_none(page))
        return NULL;
    struct memslots *set = phys_to_virt(page);
    set->used = 0;
    set->order = order;
    return set;
}

void memslots_free_set(struct memslots *set)
{
    if (set)
        page_free(virt_to_phys(set), set->order);
}

int memslots_create(struct mmu *mmu)
{
    mmu->slots = slots_new_set(0);
    mmu->spare = slots_new_set(0);
    if (mmu->slots && mmu->spare)
        return 0;
    memslots_free_set(mmu->slots);
    memslots_free_set(mmu->spare);
    log_error("MMU: no page left for a VM's slots; give the machine more memory");
    return -ENOMEM;
}

static void slots_copy_from(struct memslots *to, const struct memslots *from, unsigned index)
{
    to->used = from->used;
    memcpy(&to->slot[index], &from->slot[index], (from->used - index) * sizeof(from->slot[0]));
}

int memslots_make_room(struct mmu *mmu, struct memslots **room)
{
    /* Both copies grow now, so that no later change fails for lack of room: deletions must not
     * fail. */
    *room = NULL;
    unsigned order = mmu->slots->order;
    if (mmu->slots->used < slots_capacity(order))
        return 0;
    struct memslots *larger = slots_new_set(order + 1), *other = slots_new_set(order + 1);
    if (!larger || !other) {
        memslots_free_set(larger);
        memslots_free_set(other);
        log_error("slots: no memory for more than %u of them", mmu->slots->used);
        return -ENOMEM;
    }
    memslots_free_set(mmu->spare);
    mmu->spare = larger;
    slots_copy_from(larger, mmu->slots, 0);
    *room = other;
    return 0;
}

void memslots_use_room(struct mmu *mmu, struct memslots *room)
{
    memslots_free_set(mmu->spare);
    mmu->spare = room;
}

struct memslots *memslots_begin(struct mmu *mmu)
{
    return mmu->spare;
}

void memslots_settle(struct mmu *mmu, unsigned first_changed)
{
    slots_copy_from(mmu->spare, mmu->slots, first_changed);
}

/* Copies slots into the copy that nobody reads, from another index of the current one. */
static void slots_shift(struct mmu *mmu, unsigned to, unsigned from, unsigned count)
{
    memcpy(&mmu->spare->slot[to], &mmu->slots->slot[from], count * sizeof(struct memslot));
}

/* The index of the first slot that ends after this frame. */
static unsigned slots_first_behind(const struct memslots *slots, gfn_t gfn)
{
    unsigned low = 0, high = slots->used;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (memslot_end(&slots->slot[middle]).v <= gfn.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

unsigned memslots_insert(struct mmu *mmu, const struct memslot *slot)
{
    unsigned at = slots_first_behind(mmu->slots, slot->base);
    slots_shift(mmu, at + 1, at, mmu->slots->used - at);
    mmu->spare->slot[at] = *slot;
    mmu->spare->used++;
    return at;
}

void memslots_remove(struct mmu *mmu, unsigned index)
{
    slots_shift(mmu, index, index + 1, mmu->slots->used - index - 1);
    mmu->spare->used--;
}

unsigned memslots_replace(struct mmu *mmu, unsigned index, const struct memslot *slot)
{
    unsigned at = slots_first_behind(mmu->slots, slot->base);
    if (at > index) /* the slot that is replaced was counted, too */
        at--;
    if (at < index)
        slots_shift(mmu, at + 1, at, index - at);
    else
        slots_shift(mmu, index, index + 1, at - index);
    mmu->spare->slot[at] = *slot;
    return at < index ? at : index;
}

unsigned memslot_index(const struct memslots *slots, uint32_t id)
{
    unsigned i = 0;
    while (i < slots->used && slots->slot[i].id != id)
        i++;
    return i;
}

const struct memslot *memslot_by_id(const struct memslots *slots, uint32_t id)
{
    unsigned i = memslot_index(slots, id);
    return i < slots->used ? &slots->slot[i] : NULL;
}

const struct memslot *memslot_overlapped(const struct memslots *slots, gfn_t base, uint64_t pages,
                                         unsigned except)
{
    unsigned at = slots_first_behind(slots, base);
    if (at == except)
        at++;
    const struct memslot *other = &slots->slot[at];
    return at < slots->used && other->base.v < base.v + pages ? other : NULL;
}

void memslot_free_parts(struct memslot *slot)
{
    page_array_free(slot->dirty, slot->backing.pages, PAGE_ARRAY_BITS);
    page_array_free(slot->shared, slot->backing.pages, PAGE_ARRAY_BITS);
    page_array_free(slot->tracked, track_counters(slot->backing.pages), PAGE_ARRAY_COUNTS);
}

/* From the last slot on. */
bool memslots_free_piece(struct mmu *mmu)
{
    struct memslots *slots = mmu->slots;
    if (!slots)
        return true;
    clearing_end(&mmu->clearing);
    if (slots->used) {
        struct memslot *last = &slots->slot[slots->used - 1];
        if (backing_free_some(&last->backing, BACKING_FREE_PAGES)) {
            memslot_free_parts(last);
            slots->used--;
        }
        return false;
    }
    memslots_free_set(mmu->slots);
    memslots_free_set(mmu->spare);
    mmu->slots = mmu->spare = NULL;
    return true;
}
