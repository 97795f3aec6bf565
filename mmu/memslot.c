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
#include "mmu/dirty.h"
#include "mmu/mmu.h"
#include "mmu/page_bitmap.h"
#include "mmu/sides.h"
#include "mmu/spte.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/track.h"

uint64_t memslot_gfn_end(const struct mmu *mmu)
{
    uint64_t stolen = mmu->stolen.mask;
    if (stolen)
        return stolen & -stolen; /* the lowest of them */
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

static int check_flags(const struct mmu *mmu, uint32_t id, uint32_t flags)
{
    bool sides = mmu_has_sides(mmu);
    if (!(flags & ~(uint32_t)(sides ? MEMSLOT_FLAGS : MEMSLOT_FLAGS & ~MEMSLOT_SHARED)))
        return 0;
    log_error("slot %u: flags %#x are unknown; 8 (read-only), 16 (log dirty pages)%s and 64 "
              "(pinned) are allowed",
              id, flags, sides ? ", 32 (shared)" : "");
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

static unsigned capacity(unsigned order)
{
    uint64_t bytes = (PAGE_SIZE << order) - sizeof(struct memslots);
    return (unsigned)(bytes / sizeof(struct memslot));
}

static struct memslots *new_set(unsigned order)
{
    hpa_t page = page_alloc(order);
    if (page_is_none(page))
        return NULL;
    struct memslots *set = phys_to_virt(page);
    set->used = 0;
    set->order = order;
    return set;
}

static void free_set(struct memslots *set)
{
    if (set)
        page_free(virt_to_phys(set), set->order);
}

int memslots_create(struct mmu *mmu)
{
    mmu->slots = new_set(0);
    mmu->spare = new_set(0);
    if (mmu->slots && mmu->spare)
        return 0;
    free_set(mmu->slots);
    free_set(mmu->spare);
    log_error("MMU: no page left for a VM's slots; give the machine more memory");
    return -ENOMEM;
}

void memslots_lock(struct mmu *mmu)
{
    epoch_lock(&mmu->slots_lock, this_cpu());
}

static void copy_from(struct memslots *to, const struct memslots *from, unsigned index)
{
    to->used = from->used;
    memcpy(&to->slot[index], &from->slot[index], (from->used - index) * sizeof(from->slot[0]));
}

/* Makes room for one more in both copies. A copy that is too small for the next change would make
 * that one fail, and a deletion must not. */
static int make_room(struct mmu *mmu, struct memslots **replaces_current)
{
    *replaces_current = NULL;
    unsigned order = mmu->slots->order;
    if (mmu->slots->used < capacity(order))
        return 0;
    struct memslots *larger = new_set(order + 1), *other = new_set(order + 1);
    if (!larger || !other) {
        free_set(larger);
        free_set(other);
        log_error("slots: no memory for more than %u of them", mmu->slots->used);
        return -ENOMEM;
    }
    free_set(mmu->spare);
    mmu->spare = larger;
    copy_from(larger, mmu->slots, 0);
    *replaces_current = other;
    return 0;
}

struct memslots *memslots_begin(struct mmu *mmu)
{
    return mmu->spare;
}

/* Between the two stores of the generation readers see the new slots with the mark, and trust no
 * MMIO SPTE. Where the generation's 19 bits in SPTEs start over, every MMIO SPTE goes before anyone
 * can see the new number (rule F8); nobody can install an old one any more then, because nobody
 * holds the old copy. */
void memslots_publish(struct mmu *mmu, unsigned first_changed)
{
    struct memslots *old = mmu->slots, *next = mmu->spare;
    uint64_t generation = old->generation;
    next->generation = generation | SLOT_UPDATE_IN_PROGRESS;
    __atomic_store_n(&mmu->slots, next, __ATOMIC_SEQ_CST);
    tlb_wait_epoch(mmu);
    mmu->spare = old;
    if (old->order == next->order)
        copy_from(old, next, first_changed);
    generation++;
    if (!(generation & SPTE_GENERATION_MASK))
        tdp_zap_all(mmu);
    __atomic_store_n(&next->generation, generation, __ATOMIC_SEQ_CST);
}

/* Returns its index. */
static unsigned insert(struct memslots *slots, const struct memslot *slot)
{
    unsigned at = slots->used++;
    for (; at > 0 && slots->slot[at - 1].base.v > slot->base.v; at--)
        slots->slot[at] = slots->slot[at - 1];
    slots->slot[at] = *slot;
    return at;
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

struct memslot *memslot_by_id(struct memslots *slots, uint32_t id)
{
    unsigned i = index_of(slots, id);
    return i < slots->used ? &slots->slot[i] : NULL;
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

/* The same, of one that may go. */
static int find_free_to_go(const struct mmu *mmu, uint32_t id, unsigned *index)
{
    int error = find_id(mmu, id, index);
    if (error || !(mmu->slots->slot[*index].flags & MEMSLOT_PINNED))
        return error;
    log_error("slot %u is pinned: the CPU writes to its host pages", id);
    return -EBUSY;
}

/* The first half of a deletion or a move: afterwards no CPU reaches the slot's pages. `keeps_log`:
 * its dirty log goes on, so that D bits count. */
static void retire(struct mmu *mmu, unsigned index, bool keeps_log)
{
    struct memslots *next = memslots_begin(mmu);
    struct memslot *slot = &next->slot[index];
    slot->flags |= (uint32_t)MEMSLOT_INVALID;
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    memslots_publish(mmu, index);
    tdp_zap(mmu, slot->base, memslot_end(slot), keeps_log ? 0 : ZAP_TABLES);
}

static void retired(struct mmu *mmu)
{
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
}

/* The first slot that logs by PML: from the return on no vCPU is in the guest that does not know,
 * as each looks when it pays the debt. Whoever wants the D bits cleared does that afterwards: a bit
 * that was set without PML would keep the page out of the log for good. */
static void count_logging(struct mmu *mmu, uint32_t old, uint32_t new)
{
    uint32_t change = (new &MEMSLOT_LOG_DIRTY ? 1u : 0u) - (old & MEMSLOT_LOG_DIRTY ? 1u : 0u);
    uint32_t logging = __atomic_add_fetch(&mmu->logging, change, __ATOMIC_SEQ_CST);
    if (change == 1 && logging == 1 && dirty_method() == DIRTY_PML) {
        tlb_owe(mmu);
        tlb_sync(mmu);
    }
}

/* What hangs on a slot that nobody reaches any more. Its memory, which can be much, is freed in
 * pieces if there is an mmu to do that later. */
static void free_slot(struct mmu *later, struct memslot *slot)
{
    if (!later || !tdp_doom(later, &slot->backing))
        backing_free(&slot->backing);
    page_bitmap_free(slot->dirty, slot->backing.pages);
    page_bitmap_free(slot->shared, slot->backing.pages);
    track_free(slot);
}

/* ---- Operations, slots_lock held ------------------------------------------------------------- */

static int check_new(const struct mmu *mmu, const char *what, gpa_t gpa, uint64_t pages,
                     const struct memslot *slot)
{
    int error = memslot_check_range(mmu, what, gpa, pages);
    if (!error)
        error = check_flags(mmu, slot->id, slot->flags);
    if (error)
        return error;
    if (index_of(mmu->slots, slot->id) < mmu->slots->used) {
        log_error("%s exists already; delete it first", what);
        return -EEXIST;
    }
    error = check_overlap(mmu->slots, slot->id, slot->base, pages, MEMSLOTS_MAX);
    if (!error && mmu->slots->used == MEMSLOTS_MAX) {
        log_error("%s: all %u slots are in use", what, MEMSLOTS_MAX);
        error = -ENOSPC;
    }
    return error;
}

/* Where MMIO SPTEs let the CPU deliver #VE, no exit comes that could find one outdated: they go
 * when memory takes their place (rule F10). Nobody installs one any more, since the set is
 * published. */
static void forget_mmio(struct mmu *mmu, const struct memslot *slot)
{
    if (mmu_has_ve(mmu))
        tdp_zap(mmu, slot->base, memslot_end(slot), ZAP_MMIO);
}

/* All that hangs on a new slot, or -ENOMEM and nothing. */
static int equip(const struct mmu *mmu, struct memslot *slot, uint64_t pages)
{
    int error = backing_init(&slot->backing, slot->base, pages);
    if (error)
        return error;
    if (slot->flags & MEMSLOT_LOG_DIRTY) {
        slot->dirty = page_bitmap_alloc(pages);
        error = slot->dirty ? 0 : -ENOMEM;
    }
    if (!error)
        error = sides_init(mmu, slot);
    if (error)
        free_slot(NULL, slot);
    return error;
}

static int add_slot(struct mmu *mmu, struct memslot *slot, gpa_t gpa, uint64_t pages)
{
    char what[24];
    snprintf(what, sizeof(what), "slot %u", slot->id);
    int error = check_new(mmu, what, gpa, pages, slot);
    if (error)
        return error;
    error = equip(mmu, slot, pages);
    if (error) {
        log_error("%s: no memory to keep track of %#lx pages; make it smaller", what, pages);
        return error;
    }
    struct memslots *larger;
    error = make_room(mmu, &larger);
    if (error) {
        free_slot(NULL, slot);
        return error;
    }
    unsigned at = insert(memslots_begin(mmu), slot);
    __atomic_fetch_add(&mmu->slot_pages, pages, __ATOMIC_RELAXED);
    count_logging(mmu, 0, slot->flags);
    memslots_publish(mmu, at);
    forget_mmio(mmu, slot);
    if (larger) {
        free_set(mmu->spare);
        mmu->spare = larger;
        copy_from(larger, mmu->slots, 0);
    }
    return 0;
}

static int delete_slot(struct mmu *mmu, uint32_t id)
{
    unsigned index;
    int error = find_free_to_go(mmu, id, &index);
    if (error)
        return error;

    retire(mmu, index, false);
    struct memslot slot = mmu->slots->slot[index];
    remove_at(memslots_begin(mmu), index);
    __atomic_fetch_sub(&mmu->slot_pages, slot.backing.pages, __ATOMIC_RELAXED);
    memslots_publish(mmu, index);
    count_logging(mmu, slot.flags, 0);
    free_slot(mmu, &slot);
    retired(mmu);
    return 0;
}

static int move_slot(struct mmu *mmu, uint32_t id, gpa_t gpa)
{
    char what[24];
    snprintf(what, sizeof(what), "slot %u", id);
    unsigned index;
    int error = find_free_to_go(mmu, id, &index);
    if (error)
        return error;
    struct memslot slot = mmu->slots->slot[index];
    gfn_t base = gpa_to_gfn(gpa);
    error = memslot_check_range(mmu, what, gpa, slot.backing.pages);
    if (!error)
        error = check_overlap(mmu->slots, id, base, slot.backing.pages, index);
    if (error || base.v == slot.base.v)
        return error;

    retire(mmu, index, slot.flags & MEMSLOT_LOG_DIRTY);
    struct memslots *next = memslots_begin(mmu);
    remove_at(next, index);
    slot.base = base;
    unsigned at = insert(next, &slot);
    memslots_publish(mmu, at < index ? at : index);
    forget_mmio(mmu, &slot);
    retired(mmu);
    return 0;
}

/* What SPTEs say comes from the old flags. If writes are to be noticed from now on, they lose that
 * right; else they go, and faults bring the new ones, large where logging has ended. */
static void apply_flags(struct mmu *mmu, const struct memslot *slot, uint32_t old)
{
    uint32_t change = slot->flags ^ old;
    gfn_t first = slot->base, end = memslot_end(slot);
    if (change == MEMSLOT_LOG_DIRTY && slot->flags & MEMSLOT_LOG_DIRTY &&
        !dirty_protect(mmu, first, end))
        return;
    bool ended = old & MEMSLOT_LOG_DIRTY && change & MEMSLOT_LOG_DIRTY;
    tdp_zap(mmu, first, end, ended ? ZAP_MMIO | ZAP_TABLES : 0);
}

static int set_flags(struct mmu *mmu, uint32_t id, uint32_t flags)
{
    unsigned index;
    int error = find_id(mmu, id, &index);
    if (!error)
        error = check_flags(mmu, id, flags);
    if (error)
        return error;

    struct memslot old = mmu->slots->slot[index];
    flags = (flags & ~MEMSLOT_FOR_LIFE) | (old.flags & MEMSLOT_FOR_LIFE);
    if (flags == old.flags)
        return 0;
    uint64_t *dirty = flags & MEMSLOT_LOG_DIRTY ? old.dirty : NULL;
    if (flags & MEMSLOT_LOG_DIRTY && !dirty) {
        dirty = page_bitmap_alloc(old.backing.pages);
        if (!dirty) {
            log_error("slot %u: no memory for a bitmap of %#lx pages", id, old.backing.pages);
            return -ENOMEM;
        }
    }
    struct memslots *next = memslots_begin(mmu);
    next->slot[index].flags = flags;
    next->slot[index].dirty = dirty;
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    if (flags & MEMSLOT_LOG_DIRTY)
        count_logging(mmu, old.flags, flags);
    memslots_publish(mmu, index);
    if (!dirty) {
        count_logging(mmu, old.flags, flags);
        page_bitmap_free(old.dirty, old.backing.pages);
    }
    apply_flags(mmu, &next->slot[index], old.flags);
    retired(mmu);
    tdp_reclaim(mmu, false);
    return 0;
}

/* ---- Interface ------------------------------------------------------------------------------- */

int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages, uint32_t flags)
{
    struct memslot slot = {.base = gpa_to_gfn(gpa), .id = id, .flags = flags};
    memslots_lock(mmu);
    int error = add_slot(mmu, &slot, gpa, pages);
    spin_unlock(&mmu->slots_lock);
    return error;
}

int mmu_slot_delete(struct mmu *mmu, uint32_t id)
{
    memslots_lock(mmu);
    int error = delete_slot(mmu, id);
    spin_unlock(&mmu->slots_lock);
    return error;
}

int mmu_slot_move(struct mmu *mmu, uint32_t id, gpa_t gpa)
{
    memslots_lock(mmu);
    int error = move_slot(mmu, id, gpa);
    spin_unlock(&mmu->slots_lock);
    return error;
}

int mmu_slot_flags(struct mmu *mmu, uint32_t id, uint32_t flags)
{
    memslots_lock(mmu);
    int error = set_flags(mmu, id, flags);
    spin_unlock(&mmu->slots_lock);
    return error;
}

void memslots_free(struct mmu *mmu)
{
    for (unsigned i = 0; i < mmu->slots->used; i++)
        free_slot(NULL, &mmu->slots->slot[i]);
    free_set(mmu->slots);
    free_set(mmu->spare);
    mmu->slots = mmu->spare = NULL;
}
