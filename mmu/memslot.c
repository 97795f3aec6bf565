/*
 * Adding, deleting, moving slots; see mmu/mmu.h and memslot.h. A slot that goes away is first
 * marked INVALID, so that a fault on it waits instead of taking it for MMIO (rule P5); then its
 * SPTEs are zapped, the flush is paid, and only then it leaves the set and its pages are freed
 * (rule F9). MMIO SPTEs are never looked for: the generation outdates them.
 */
#include "mmu/memslot.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

uint64_t memslot_gfn_end(void)
{
    unsigned maxphyaddr = spte_format.caps.maxphyaddr;
    return BIT((maxphyaddr < EPT_GPA_BITS ? maxphyaddr : EPT_GPA_BITS) - PAGE_SHIFT);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

int memslot_check_range(const char *what, gpa_t gpa, uint64_t pages)
{
    if (page_offset(gpa.v)) {
        log_error("%s: address %#lx is not aligned to a page", what, gpa.v);
        return -EINVAL;
    }
    if (!pages) {
        log_error("%s: 0 pages at %#lx; at least one is needed", what, gpa.v);
        return -EINVAL;
    }
    uint64_t base = gpa_to_gfn(gpa).v, end = memslot_gfn_end();
    if (base >= end || pages > end - base) {
        log_error("%s: %#lx pages at %#lx go beyond the guest-physical limit %#lx", what, pages,
                  gpa.v, end << PAGE_SHIFT);
        return -ERANGE;
    }
    return 0;
}

static int check_flags(uint32_t id, uint32_t flags)
{
    if (!(flags & ~(uint32_t)MEMSLOT_READONLY))
        return 0;
    log_error("slot %u: flags %#x are unknown; 0 and 1 (read-only) are allowed", id, flags);
    return -EINVAL;
}

/* Does [base, base + pages) touch a slot other than number `except`? */
static int check_overlap(const struct memslots *slots, uint32_t id, gfn_t base, uint64_t pages,
                         unsigned except)
{
    for (unsigned i = 0; i < slots->used; i++) {
        const struct memslot *other = &slots->slot[i];
        if (i == except || base.v >= memslot_end(other).v || base.v + pages <= other->base.v)
            continue;
        log_error("slot %u: frames %#lx to %#lx overlap slot %u at %#lx to %#lx", id, base.v,
                  base.v + pages - 1, other->id, other->base.v, memslot_end(other).v - 1);
        return -EEXIST;
    }
    return 0;
}

/* ---- Two copies ------------------------------------------------------------------------------ */

/* The copy that nobody reads, made equal to the current one. */
static struct memslots *begin_update(struct mmu *mmu)
{
    const struct memslots *now = mmu->slots;
    struct memslots *next = &mmu->copies[now == &mmu->copies[0]];
    next->used = now->used;
    memcpy(next->slot, now->slot, now->used * sizeof(now->slot[0]));
    return next;
}

/* Makes `next` current under a new generation. Between the two stores readers see the new slots
 * with the mark, and trust no MMIO SPTE. Where the generation's 19 bits in SPTEs start over, every
 * MMIO SPTE goes before anyone can see the new number (rule F8). */
static void publish(struct mmu *mmu, struct memslots *next)
{
    uint64_t generation = mmu->slots->generation;
    next->generation = generation | SLOT_UPDATE_IN_PROGRESS;
    __atomic_store_n(&mmu->slots, next, __ATOMIC_SEQ_CST);
    /* With more than one pCPU: wait here until nobody reads the old copy. */
    generation++;
    if (!(generation & SPTE_GENERATION_MASK))
        tdp_zap_all(mmu);
    __atomic_store_n(&next->generation, generation, __ATOMIC_SEQ_CST);
}

static void insert(struct memslots *slots, const struct memslot *slot)
{
    unsigned at = slots->used++;
    for (; at > 0 && slots->slot[at - 1].base.v > slot->base.v; at--)
        slots->slot[at] = slots->slot[at - 1];
    slots->slot[at] = *slot;
}

static void remove_at(struct memslots *slots, unsigned at)
{
    slots->used--;
    memmove(&slots->slot[at], &slots->slot[at + 1], (slots->used - at) * sizeof(slots->slot[0]));
}

static unsigned index_of(const struct memslots *slots, uint32_t id)
{
    unsigned i = 0;
    while (i < slots->used && slots->slot[i].id != id)
        i++;
    return i;
}

/* The same, of a slot that must exist. */
static int find_id(const struct mmu *mmu, uint32_t id, unsigned *index)
{
    *index = index_of(mmu->slots, id);
    if (*index < mmu->slots->used)
        return 0;
    log_error("slot %u does not exist", id);
    return -EINVAL;
}

/* The first half of a deletion or a move: afterwards no CPU reaches the slot's pages. */
static void retire(struct mmu *mmu, unsigned index)
{
    struct memslots *next = begin_update(mmu);
    struct memslot *slot = &next->slot[index];
    slot->flags |= (uint32_t)MEMSLOT_INVALID;
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    publish(mmu, next);
    tdp_zap(mmu, slot->base, memslot_end(slot), false);
    tlb_flush_before_reuse(mmu);
}

static void retired(struct mmu *mmu)
{
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
}

/* ---- Operations ------------------------------------------------------------------------------ */

int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages, uint32_t flags)
{
    char what[24];
    snprintf(what, sizeof(what), "slot %u", id);
    gfn_t base = gpa_to_gfn(gpa);
    int error = memslot_check_range(what, gpa, pages);
    if (!error)
        error = check_flags(id, flags);
    if (error)
        return error;
    if (index_of(mmu->slots, id) < mmu->slots->used) {
        log_error("slot %u exists already; delete it first", id);
        return -EEXIST;
    }
    error = check_overlap(mmu->slots, id, base, pages, MEMSLOTS_MAX);
    if (error)
        return error;
    if (mmu->slots->used == MEMSLOTS_MAX) {
        log_error("slot %u: all %u slots are in use", id, MEMSLOTS_MAX);
        return -ENOSPC;
    }

    struct memslot slot = {.base = base, .id = id, .flags = flags};
    error = backing_init(&slot.backing, base, pages);
    if (error) {
        log_error("slot %u: no memory to keep track of %#lx pages; make it smaller", id, pages);
        return error;
    }
    struct memslots *next = begin_update(mmu);
    insert(next, &slot);
    mmu->slot_pages += pages;
    publish(mmu, next);
    return 0;
}

int mmu_slot_delete(struct mmu *mmu, uint32_t id)
{
    unsigned index;
    int error = find_id(mmu, id, &index);
    if (error)
        return error;

    struct backing backing = mmu->slots->slot[index].backing;
    retire(mmu, index);
    struct memslots *next = begin_update(mmu);
    remove_at(next, index);
    mmu->slot_pages -= backing.pages;
    publish(mmu, next);
    backing_free(&backing);
    retired(mmu);
    return 0;
}

int mmu_slot_move(struct mmu *mmu, uint32_t id, gpa_t gpa)
{
    char what[24];
    snprintf(what, sizeof(what), "slot %u", id);
    unsigned index;
    int error = find_id(mmu, id, &index);
    if (error)
        return error;
    struct memslot slot = mmu->slots->slot[index];
    gfn_t base = gpa_to_gfn(gpa);
    error = memslot_check_range(what, gpa, slot.backing.pages);
    if (!error)
        error = check_overlap(mmu->slots, id, base, slot.backing.pages, index);
    if (error || base.v == slot.base.v)
        return error;

    retire(mmu, index);
    struct memslots *next = begin_update(mmu);
    remove_at(next, index);
    slot.base = base;
    insert(next, &slot);
    publish(mmu, next);
    retired(mmu);
    return 0;
}

/* The SPTEs of the range say what the old flags allowed, so they go; faults bring the new. */
int mmu_slot_flags(struct mmu *mmu, uint32_t id, uint32_t flags)
{
    unsigned index;
    int error = find_id(mmu, id, &index);
    if (!error)
        error = check_flags(id, flags);
    if (error || mmu->slots->slot[index].flags == flags)
        return error;

    struct memslots *next = begin_update(mmu);
    struct memslot *slot = &next->slot[index];
    slot->flags = flags;
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    publish(mmu, next);
    tdp_zap(mmu, slot->base, memslot_end(slot), false);
    retired(mmu);
    return 0;
}

void memslots_free(struct mmu *mmu)
{
    for (unsigned i = 0; i < mmu->slots->used; i++)
        backing_free(&mmu->slots->slot[i].backing);
    mmu->slots->used = 0;
}
