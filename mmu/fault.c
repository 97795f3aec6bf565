/* SPDX-License-Identifier: MIT */
/*
 * Handling of EPT violations and misconfigurations; see mmu/mmu.h. Rules F2 to F4 say why the steps
 * are in this order.
 */
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/backing.h"
#include "mmu/decide.h"
#include "mmu/dirty.h"
#include "mmu/fast.h"
#include "mmu/map.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/sides.h"
#include "mmu/store.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/trace.h"

/* No slot covers the frame: the instruction is emulated, whether or not there is a device. An MMIO
 * SPTE, where one is possible, makes the next access cheaper (rules F3, S10, S11). In a VM that
 * takes #VE, the MMIO SPTE makes the CPU deliver it (rule X10). */
static NOINLINE int fault_no_slot(struct mmu_cpu *self, struct tdp_access access,
                                  uint64_t generation, struct mmio_info *info)
{
    struct mmu *mmu = self->mmu;
    *info = (struct mmio_info){.alias = access.alias};
    enum why why = why_no_slot(mmu, &access);
    if (unlikely(why == WHY_NO_DEVICES)) {
        log_error("MMU: no memslot covers %s frame %#lx, and such addresses reach no devices",
                  role_name(access.role), access.gfn.v);
        return -EFAULT;
    }
    if (!(generation & SLOT_UPDATE_IN_PROGRESS))
        info->generation = generation;
    int answer = why_result(mmu, why);
    if (why != WHY_MMIO_STORED)
        return answer;
    read_lock(&mmu->lock);
    int result = tdp_map_mmio(self, access.alias, access.gfn, generation);
    read_unlock(&mmu->lock);
    return result == FAULT_EMULATE ? answer : result;
}

/* The SPTE bits that the access of an error code needs. */
static uint64_t access_of_error(uint32_t error_code)
{
    _Static_assert(
        (uint32_t)ACCESS_READ == EPT_READ && (uint32_t)ACCESS_WRITE == EPT_WRITE &&
            (uint32_t)ACCESS_FETCH == EPT_EXECUTE,
        "the access bits of an error code and the rights of an SPTE have the same positions");
    return error_code & EPT_RWX;
}

/* The slow path: the slot, the root or the page requires attributes other than the default, or the
 * entry is not empty. */
static NOINLINE int map_slow(struct mmu_cpu *self, const struct memslot *slot,
                             struct tdp_access access, hpa_t page, unsigned level)
{
    struct tdp_mapping want;
    enum why why = why_mapping(self->mmu, slot, &access, page, level, &want);
    if (unlikely(why == WHY_OTHER_SIDE))
        return FAULT_CONTINUE;
    if (unlikely(why == WHY_TRACKED))
        return FAULT_WRITE_PROTECTED;
    trace(mmu_spte_requested, access.gfn.v, page.v >> PAGE_SHIFT, want.level);
    int result = tdp_map(self, &want);
    bool by_fault = slot->dirty && dirty_method() == DIRTY_WRITE_PROTECT;
    if (unlikely(by_fault) && access.bits & EPT_WRITE && result != FAULT_RETRY)
        dirty_set(slot, access.gfn.v - slot->base.v);
    return result;
}

/* The slot has attributes by which faults may differ. Returns FAULT_CONTINUE if this one does not.
 * A write to a read-only slot installs no MMIO SPTE, since it would make reads MMIO, too (rule F6).
 */
static NOINLINE int fault_slot_special(struct mmu *mmu, const struct memslot *slot, gfn_t gfn,
                                       uint32_t role, uint64_t bits)
{
    const struct tdp_access access = {.gfn = gfn, .role = role, .bits = bits};
    switch (why_slot(slot, &access)) {
    case WHY_SLOT_LEAVES:
        mmu_help(mmu);
        return FAULT_RETRY;
    case WHY_READ_ONLY:
        return FAULT_EMULATE;
    case WHY_OTHER_SIDE:
        return sides_refuse(gfn, role);
    default:
        return FAULT_CONTINUE;
    }
}

/* Maps a large page with default attributes, if its block is aligned as the leaf must be and the
 * leaf allows the access. */
static NOINLINE int map_large(struct mmu_cpu *self, alias_t alias, gfn_t gfn, hpa_t page,
                              unsigned level, uint64_t access)
{
    uint64_t frames = ept_frames(level);
    uint64_t leaf = spte_default_leaf(HPA(align_down(page.v, frames * PAGE_SIZE)), level);
    if (unlikely((gfn.v ^ page.v >> PAGE_SHIFT) & (frames - 1) || access & ~leaf))
        return FAULT_CONTINUE;
    return tdp_map_new(self, alias, gfn, level, leaf);
}

/* Do the attributes concern the sides only, and is the page on the side of the access? Then `leaf`,
 * of a small page, is given the rights of the role. */
static ALWAYS_INLINE bool differs_by_side_only(const struct memslot *slot,
                                               const struct tdp_access *access, uint64_t attributes,
                                               uint64_t *leaf)
{
    *leaf ^= attributes & EPT_EXECUTE;
    return (attributes & ~(MEMSLOT_INERT | EPT_EXECUTE)) == MEMSLOT_SIDED &&
           sides_agree(slot, access->gfn.v - slot->base.v, access->role);
}

/* The caller holds the lock, which excludes mmu_track() and invalidations, so the checks are still
 * true when the entry is stored (rule F2). Common case: default attributes and an empty entry. */
static ALWAYS_INLINE int map_locked(struct mmu_cpu *self, const struct memslot *slot,
                                    const struct tdp_access *access, hpa_t page, unsigned level,
                                    uint64_t attributes, uint64_t sequence)
{
    int result = FAULT_CONTINUE;
    if (unlikely(fault_is_stale(self->mmu, sequence)))
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

/* Allocates the page of a frame that has none yet. Returns 0, an error, or FAULT_RETRY if it is not
 * ready yet and the pCPU has to attend to something else first. */
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

/* `sequence` was read before the slot was looked up, so map_locked() notices if the slot has been
 * deleted or moved since. */
static ALWAYS_INLINE int fault_slot(struct mmu_cpu *self, const struct memslot *slot,
                                    const struct tdp_access *access, uint64_t sequence,
                                    struct mmio_info *info)
{
    uint32_t flags = slot->flags;
    uint64_t offset = access->gfn.v - slot->base.v;
    if (unlikely(flags & ~(uint32_t)(MEMSLOT_SIDED | MEMSLOT_INERT))) {
        *info = (struct mmio_info){.alias = access->alias};
        int result = fault_slot_special(self->mmu, slot, access->gfn, access->role, access->bits);
        if (result != FAULT_CONTINUE)
            return result;
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
        mmu_help(self->mmu); /* a change of the slots may be the reason */
    return likely(result != FAULT_CONTINUE) ? result : sides_refuse(access->gfn, access->role);
}

static NOINLINE const struct memslot *fault_search_slot(struct mmu_cpu *self,
                                                        const struct memslots *slots, gfn_t gfn)
{
    const struct memslot *slot = memslot_find(slots, gfn);
    if (slot)
        self->slot_hint = (unsigned)(slot - slots->slot);
    return slot;
}

/* Common case: the slot of this pCPU's last fault covers the frame, too. Another slot may have its
 * index by now, so the range is always compared. */
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

/* The role of the root never grants the right, so the fault cannot be repaired. */
static COLD int fault_refuse(struct tdp_access access)
{
    log_error("MMU: %s at frame %#lx, where memory is %s",
              fault_access_name(access.bits & ~access.role), access.gfn.v, role_name(access.role));
    return -EACCES;
}

/* A fault that may be more than the first touch of a page. Returns FAULT_CONTINUE if it
 * is to be handled as a first touch. */
static NOINLINE int fault_special(struct mmu *mmu, gpa_t gpa, struct tdp_access access,
                                  uint32_t error_code, struct mmio_info *info)
{
    enum why why = why_role(&access);
    if (why == WHY_MIRROR)
        return mirror_fault(mmu_self(mmu), access.gfn);
    if (why == WHY_ROLE_REFUSES)
        return fault_refuse(access);
    if (why == WHY_ROLE_CONVERTS) {
        /* Install the leaf for a fetch; the CPU will convert the violation of this leaf to #VE. */
        int result = mmu_fault(mmu, gpa, (error_code & ~(uint32_t)EPT_RWX) | ACCESS_FETCH, info);
        return result == FAULT_FIXED || result == FAULT_SPURIOUS ? FAULT_VE : result;
    }
    if (!(error_code & FAULT_RESERVED))
        mmu_self(mmu)->stats.faults++;
    if (fast_is_tried(mmu, access.gfn, error_code)) {
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

/* Logs the entries on the way to `gpa`, and which of them the CPU finds misconfigured (rule P24).
 * Returns -EINVAL if there is one. If not, the tables have changed since the exit, and the access
 * is retried. */
static int explain_misconfiguration(const struct mmu *mmu, gpa_t gpa)
{
    char why[EPT_EXPLAIN_SIZE];
    if (mmu_role(mmu, gpa) & ROLE_MIRROR) {
        log_error("MMU: the CPU found a misconfigured entry of the external tables on the way to "
                  "%#lx; the VM ends",
                  gpa.v);
        return -EINVAL;
    }
    struct ept_path path = tdp_read_path(mmu->composite, mmu->root_level, gpa_to_alias(gpa));
    if (!ept_misconfigured(path.spte[path.lowest], path.lowest, &spte_format.caps))
        return FAULT_RETRY;
    log_error("MMU: the CPU found a misconfigured EPT entry on the way to %#lx; the VM ends",
              gpa.v);
    for (unsigned level = path.top; level >= path.lowest; level--) {
        uint64_t spte = path.spte[level];
        ept_misconfig_explain(spte, level, &spte_format.caps, why, sizeof(why));
        log_error("  level %u: %#018lx %s", level, spte, why);
    }
    return -EINVAL;
}

/* Makes a stale MMIO SPTE current again. No lock is needed, as for a fast fault: the change removes
 * no right, and the epoch keeps the table and the set of slots alive. A set whose generation wraps
 * does not become current before this pCPU has passed the epoch (rule F8). */
static bool renew_mmio_spte(struct mmu_cpu *self, uint64_t generation, gfn_t gfn,
                            const uint64_t *sptep, uint64_t spte)
{
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
    enum why why = why_mmio(slots, generation, gfn, spte);
    if (likely(why == WHY_MMIO_CURRENT)) {
        self->stats.mmio_spte_hits++;
    } else {
        self->stats.mmio_spte_stale++;
        info->renewed =
            why == WHY_MMIO_RENEWED && renew_mmio_spte(self, generation, gfn, sptep, spte);
        if (!info->renewed)
            return FAULT_INVALID;
    }
    trace(handle_mmio_page_fault, gpa.v, gfn.v, spte & EPT_RWX);
    return FAULT_EMULATE;
}
