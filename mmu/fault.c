/* SPDX-License-Identifier: MIT */
/*
 * What happens on an EPT violation and on a misconfiguration; see mmu/mmu.h for both, and rules F2
 * to F4 for the order of the steps.
 */
#include "ept/misconfig.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/fast.h"
#include "mmu/huge.h"
#include "mmu/map.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/sides.h"
#include "mmu/store.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/trace.h"
#include "mmu/track.h"

/* No slot: a device, or nothing. The instruction is emulated either way; the MMIO SPTE makes the
 * next access cheaper where one can be had (rules F3, S10, S11). Or it is what makes the next
 * access a #VE (rule X10). */
static NOINLINE int fault_no_slot(struct mmu_cpu *self, struct tdp_access access,
                                  uint64_t generation, struct mmio_info *info)
{
    struct mmu *mmu = self->mmu;
    *info = (struct mmio_info){.alias = access.alias};
    if (unlikely(!role_has_mmio(access.role))) {
        log_error("MMU: no slot behind %s frame %#lx, and devices are not reached that way",
                  role_name(access.role), access.gfn.v);
        return -EFAULT;
    }
    if (!(generation & SLOT_UPDATE_IN_PROGRESS))
        info->generation = generation;
    int answer = mmu_has_ve(mmu) ? FAULT_VE : FAULT_EMULATE;
    if (mmu->mmio_value == SPTE_MMIO_NEVER || access.gfn.v >= spte_format.mmio_gfn_end)
        return answer;
    read_lock(&mmu->lock);
    int result = tdp_map_mmio(self, access.alias, access.gfn, generation);
    read_unlock(&mmu->lock);
    return result == FAULT_EMULATE ? answer : result;
}

/* Has a guest page begun or finished to lose its place since `sequence` was read, or not finished
 * even then? It only grows, and is odd meanwhile. */
static bool is_fault_stale(const struct mmu *mmu, uint64_t sequence)
{
    return __atomic_load_n(&mmu->invalidate_sequence, __ATOMIC_ACQUIRE) != (sequence & ~1ull);
}

/* What the bits of an error code ask of an SPTE. */
static uint64_t access_of_error(uint32_t error_code)
{
    _Static_assert((uint32_t)ACCESS_READ == EPT_READ && (uint32_t)ACCESS_WRITE == EPT_WRITE &&
                       (uint32_t)ACCESS_FETCH == EPT_EXECUTE,
                   "an access asks for the SPTE's bit of the same place");
    return error_code & EPT_RWX;
}

/* What the slot, the root or the page wants of the mapping beside the usual, or what stands there
 * already. */
static NOINLINE int map_slow(struct mmu_cpu *self, const struct memslot *slot,
                             struct tdp_access access, hpa_t page, unsigned level)
{
    struct tdp_mapping want = {.access = access, .page = page, .level = level};
    uint64_t offset = access.gfn.v - slot->base.v;
    bool write = access.bits & EPT_WRITE;
    if (unlikely(!sides_match(slot, offset, access.role)))
        return FAULT_CONTINUE;
    if (unlikely(track_is(slot, offset) && !track_is_open(self->mmu, access.gfn))) {
        if (write)
            return FAULT_WRITE_PROTECTED; /* not MMIO (rule N10) */
        want.rights = slot->flags & MEMSLOT_READONLY ? 0 : SPTE_HOST_WRITABLE;
    } else if (!(slot->flags & MEMSLOT_READONLY)) {
        want.rights = SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE | EPT_WRITE;
    }
    bool by_fault = slot->dirty && dirty_method() == DIRTY_WRITE_PROTECT;
    if (unlikely(by_fault) && !write)
        want.rights &= ~EPT_WRITE;
    if (!(access.role & EPT_WRITE))
        want.rights = 0;
    if (want.level > EPT_LEVEL_4K) {
        want.denied = huge_denied();
        want.level = huge_level(slot, access.gfn, page, want.level, access.bits);
    }
    trace(mmu_spte_requested, access.gfn.v, page.v >> PAGE_SHIFT, want.level);
    int result = tdp_map(self, &want);
    if (unlikely(by_fault) && write && result != FAULT_RETRY)
        dirty_set(slot, offset);
    return result;
}

/* The memory-fault report of rule X5: the guest has not said yet that this is what it wants. */
static COLD int wrong_side(gfn_t gfn, uint32_t role)
{
    bool shared = role & ROLE_SHARED;
    log_error("MMU: a %s access to frame %#lx, which is %s; MapGPA would convert it",
              shared ? "shared" : "private", gfn.v, shared ? "private" : "shared");
    return -EACCES;
}

/* Without an MMIO SPTE, or reads would become MMIO too (rule F6); and on its own side alone. */
static NOINLINE int fault_read_only(const struct memslot *slot, gfn_t gfn, uint32_t role)
{
    return sides_match(slot, gfn.v - slot->base.v, role) ? FAULT_EMULATE : wrong_side(gfn, role);
}

/* A large page, if its block lies as the leaf must and its leaf gives what is asked for. */
static NOINLINE int map_large(struct mmu_cpu *self, alias_t alias, gfn_t gfn, hpa_t page,
                              unsigned level, uint64_t access)
{
    uint64_t frames = ept_frames(level);
    uint64_t leaf = spte_default_leaf(HPA(align_down(page.v, frames * PAGE_SIZE)), level);
    if (unlikely((gfn.v ^ page.v >> PAGE_SHIFT) & (frames - 1) || access & ~leaf))
        return FAULT_CONTINUE;
    return tdp_map_new(self, alias, gfn, level, leaf);
}

/* Wishes that only concern the sides: then `leaf`, of a small page, gives what the role gives. */
static ALWAYS_INLINE bool differs_by_side_only(const struct memslot *slot,
                                               const struct tdp_access *access, uint64_t attributes,
                                               uint64_t *leaf)
{
    *leaf ^= attributes & EPT_EXECUTE;
    return (attributes & ~(MEMSLOT_NO_ATTRIBUTE | EPT_EXECUTE)) == MEMSLOT_SIDED &&
           sides_agree(slot, access->gfn.v - slot->base.v, access->role);
}

/* With the lock held, which is what keeps mmu_track() and whoever invalidates away: the decision
 * and the store are one (rule F2). Nearly always nobody has attributes, and nothing is there yet. */
static ALWAYS_INLINE int map_locked(struct mmu_cpu *self, const struct memslot *slot,
                                    const struct tdp_access *access, hpa_t page, unsigned level,
                                    uint64_t attributes, uint64_t sequence)
{
    int result = FAULT_CONTINUE;
    if (unlikely(is_fault_stale(self->mmu, sequence)))
        return FAULT_RETRY;
    if (likely(!slot->tracked && !trace_wants(TRACE_BIT(mmu_spte_requested)))) {
        uint64_t leaf = spte_default_leaf(page, EPT_LEVEL_4K);
        if (unlikely(level > EPT_LEVEL_4K))
            result = attributes
                         ? FAULT_CONTINUE
                         : map_large(self, access->alias, access->gfn, page, level, access->bits);
        else if (likely(!attributes) || differs_by_side_only(slot, access, attributes, &leaf))
            result = tdp_map_new(self, access->alias, access->gfn, EPT_LEVEL_4K, leaf);
    }
    return likely(result != FAULT_CONTINUE)
               ? result
               : map_slow(self, slot, tdp_access_copy(*access), page, level);
}

/* Nothing stands behind the frame yet. FAULT_RETRY: nor will it before something else has been
 * seen to. */
static NOINLINE int fault_populate(struct mmu *mmu, const struct memslot *slot, gfn_t gfn)
{
    int error =
        backing_populate(&slot->backing, &mmu->clearing, gfn.v - slot->base.v, mmu_levels());
    if (error == -EINPROGRESS)
        return FAULT_RETRY;
    if (error)
        log_error("MMU: no page left for guest frame %#lx; %s", gfn.v, page_shortage());
    return error;
}

/* `sequence` was read before the slot was looked up: a slot that goes away in between is noticed.
 */
static ALWAYS_INLINE int fault_slot(struct mmu_cpu *self, const struct memslot *slot,
                                    const struct tdp_access *access, uint64_t sequence,
                                    struct mmio_info *info)
{
    uint32_t flags = slot->flags;
    uint64_t offset = access->gfn.v - slot->base.v;
    if (unlikely(flags & ~(uint32_t)(MEMSLOT_SIDED | MEMSLOT_NO_ATTRIBUTE))) {
        *info = (struct mmio_info){.alias = access->alias};
        if (flags & MEMSLOT_INVALID) { /* never MMIO, it would cover a live SPTE (rule P5) */
            mmu_help(self->mmu);
            return FAULT_RETRY;
        }
        if (access->bits & EPT_WRITE && flags & MEMSLOT_READONLY)
            return fault_read_only(slot, access->gfn, access->role);
    }

    unsigned level;
    hpa_t page = backing_page(&slot->backing, offset, &level);
    if (unlikely(page_is_none(page))) {
        int result = fault_populate(self->mmu, slot, access->gfn);
        if (result)
            return result;
        page = backing_page(&slot->backing, offset, &level);
    }
    read_lock(&self->mmu->lock);
    int result = map_locked(self, slot, access, page, level, flags | (~access->role & ROLE_RIGHTS),
                            sequence);
    read_unlock(&self->mmu->lock);
    if (unlikely(result == FAULT_RETRY))
        mmu_help(self->mmu); /* with a change of the slots, if that is what the fault met */
    return likely(result != FAULT_CONTINUE) ? result : wrong_side(access->gfn, access->role);
}

static NOINLINE const struct memslot *fault_search_slot(struct mmu_cpu *self,
                                                        const struct memslots *slots, gfn_t gfn)
{
    const struct memslot *slot = memslot_find(slots, gfn);
    if (slot)
        self->slot_hint = (unsigned)(slot - slots->slot);
    return slot;
}

/* The slot of the last fault nearly always has this frame, too. What stands at its index now may be
 * another slot, so it is asked. */
static ALWAYS_INLINE const struct memslot *fault_find_slot(struct mmu_cpu *self,
                                                           const struct memslots *slots, gfn_t gfn)
{
    const struct memslot *slot = &slots->slot[self->slot_hint];
    self->stats.slot_searches++;
    if (likely(self->slot_hint < slots->used && gfn.v - slot->base.v < slot->backing.pages))
        return slot;
    return fault_search_slot(self, slots, gfn);
}

static const char *fault_access_name(uint64_t access)
{
    return access & EPT_EXECUTE ? "a fetch" : access & EPT_WRITE ? "a store" : "a load";
}

/* A right that the root's role never gives is not one that a fault could bring. */
static COLD int fault_refuse(struct tdp_access access)
{
    log_error("MMU: %s at frame %#lx, where memory is %s",
              fault_access_name(access.bits & ~access.role), access.gfn.v, role_name(access.role));
    return -EACCES;
}

/* What may be more than a first touch of ordinary memory. FAULT_CONTINUE: it is handled as one. */
static NOINLINE int fault_special(struct mmu *mmu, gpa_t gpa, struct tdp_access access,
                                  uint32_t error_code, struct mmio_info *info)
{
    if (access.bits & ~access.role) {
        if (!(access.role & ROLE_CONVERTS))
            return fault_refuse(access);
        /* As if by a fetch, so that the CPU finds an entry that converts. */
        int result = mmu_fault(mmu, gpa, (error_code & ~(uint32_t)EPT_RWX) | ACCESS_FETCH, info);
        return result == FAULT_FIXED || result == FAULT_SPURIOUS ? FAULT_VE : result;
    }
    if (!(error_code & FAULT_RESERVED))
        mmu_self(mmu)->stats.faults++;
    /* Only what is present can be repaired; aging may have made it look otherwise. */
    if (error_code & FAULT_PRESENT || (__atomic_load_n(&mmu->access_tracked, __ATOMIC_RELAXED) &&
                                       !(error_code & FAULT_RESERVED))) {
        int result = fast_fault(mmu, &access);
        if (result != FAULT_INVALID)
            return result;
    }
    return FAULT_CONTINUE;
}

int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info)
{
    struct mmu_cpu *self = mmu_self(mmu);
    IN_REGISTER(self);
    struct tdp_access access = {.alias = gpa_to_alias(gpa), .bits = access_of_error(error_code)};
    access.gfn = stolen_strip(&mmu->stolen, access.alias);
    access.role = mmu_role(mmu, gpa);
    trace(page_fault, gpa.v, error_code);
    if (unlikely(error_code & (FAULT_PRESENT | FAULT_RESERVED) || access.bits & ~access.role ||
                 __atomic_load_n(&mmu->access_tracked, __ATOMIC_RELAXED))) {
        int result = fault_special(mmu, gpa, tdp_access_copy(access), error_code, info);
        if (result != FAULT_CONTINUE)
            return result;
    } else {
        self->stats.faults++;
    }
    int error = tdp_top_up(self);
    if (unlikely(error))
        return error;

    uint64_t sequence = mmu_invalidate_sequence(mmu);
    const struct memslots *slots = memslots(mmu);
    const struct memslot *slot = fault_find_slot(self, slots, access.gfn);
    if (unlikely(!slot))
        return fault_no_slot(self, tdp_access_copy(access), memslots_generation(slots), info);
    return fault_slot(self, slot, &access, sequence, info);
}

/* Rule P24: says what the CPU met on its way, and which entry it did not understand. Returns
 * -EINVAL if there is one; else the tables changed meanwhile and the access is tried again. */
static int explain_misconfiguration(const struct mmu *mmu, gpa_t gpa)
{
    char why[EPT_EXPLAIN_SIZE];
    uint64_t sptes[EPT_LEVELS + 1];
    unsigned lowest = mmu->root_level + 1;
    bool found = false;

    do {
        const uint64_t *sptep;
        unsigned level = mmu->root_level;
        lowest--;
        sptes[lowest] = tdp_descend(mmu->composite, &level, gpa_to_alias(gpa), lowest, &sptep);
        if (level != lowest)
            return FAULT_RETRY;
        found = ept_misconfigured(sptes[lowest], lowest, &spte_format.caps);
    } while (!found && spte_is_nonleaf(sptes[lowest], lowest));
    if (!found)
        return FAULT_RETRY;
    log_error("MMU: the CPU found a misconfigured EPT entry on the way to %#lx; the VM ends",
              gpa.v);
    for (unsigned level = mmu->root_level; level >= lowest; level--) {
        ept_misconfig_explain(sptes[level], level, &spte_format.caps, why, sizeof(why));
        log_error("  level %u: %#018lx %s", level, sptes[level], why);
    }
    return -EINVAL;
}

/* A stale MMIO SPTE of a frame that still has no slot becomes current again, without the lock: like
 * a fast fault it takes a right to nothing away, and the epoch keeps both the table and the set of
 * slots (rule F8: a set whose generation wraps is not current before this pCPU has passed). */
static bool renew_mmio_spte(struct mmu_cpu *self, const struct memslots *slots, uint64_t generation,
                            gfn_t gfn, const uint64_t *sptep, uint64_t spte)
{
    if (generation & SLOT_UPDATE_IN_PROGRESS || memslot_find(slots, gfn))
        return false;
    uint64_t new = spte_mmio(self->mmu->mmio_value, gfn, generation & SPTE_GENERATION_MASK);
    return tdp_renew(self, gfn, sptep, spte, new);
}

int mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info)
{
    unsigned level;
    const uint64_t *sptep;
    struct mmu_cpu *self = mmu_self(mmu);
    alias_t alias = gpa_to_alias(gpa);
    uint64_t spte = tdp_walk_to(mmu, alias, &level, &sptep);
    if (unlikely(!spte_is_mmio(spte, mmu->mmio_value)))
        return explain_misconfiguration(mmu, gpa);

    const struct memslots *slots = memslots(mmu);
    uint64_t generation = memslots_generation(slots);
    gfn_t gfn = stolen_strip(&mmu->stolen, alias);
    trace(check_mmio_spte, generation, spte_mmio_generation(spte), spte);
    *info = (struct mmio_info){.alias = alias, .generation = generation};
    if (likely(!(generation & SLOT_UPDATE_IN_PROGRESS) &&
               spte_mmio_generation(spte) == (generation & SPTE_GENERATION_MASK))) {
        self->stats.mmio_spte_hits++;
    } else {
        self->stats.mmio_spte_stale++;
        info->renewed = renew_mmio_spte(self, slots, generation, gfn, sptep, spte);
        if (!info->renewed)
            return FAULT_INVALID;
    }
    trace(handle_mmio_page_fault, gpa.v, gfn.v, spte & EPT_RWX);
    return FAULT_EMULATE;
}
