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
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/tdp.h"
#include "mmu/trace.h"
#include "mmu/track.h"

/* No slot: a device, or nothing. The instruction is emulated either way; the MMIO SPTE makes the
 * next access cheaper where one can be had (rules F3, S10, S11). */
static int fault_no_slot(struct mmu_cpu *self, const struct tdp_mapping *want, uint64_t generation,
                         struct mmio_info *info)
{
    struct mmu *mmu = self->mmu;
    if (unlikely(!role_has_mmio(want->role))) {
        log_error("MMU: no slot behind %s frame %#lx, and devices are not reached that way",
                  role_name(want->role), want->gfn.v);
        return -EFAULT;
    }
    if (!(generation & SLOT_UPDATE_IN_PROGRESS))
        info->generation = generation;
    if (mmu->mmio_value == SPTE_MMIO_NEVER || want->gfn.v >= spte_format.mmio_gfn_end)
        return FAULT_EMULATE;
    read_lock(&mmu->lock);
    int result = tdp_map_mmio(self, want, generation);
    read_unlock(&mmu->lock);
    return result;
}

/* Has a guest page begun or finished to lose its place since `sequence` was read? */
static bool is_stale(const struct mmu *mmu, uint64_t sequence)
{
    return sequence & 1 || __atomic_load_n(&mmu->invalidate_sequence, __ATOMIC_ACQUIRE) != sequence;
}

/* What the bits of an error code ask of an SPTE. */
static uint64_t wanted(uint32_t error_code)
{
    _Static_assert((uint32_t)ACCESS_READ == EPT_READ && (uint32_t)ACCESS_WRITE == EPT_WRITE &&
                       (uint32_t)ACCESS_FETCH == EPT_EXECUTE,
                   "an access asks for the SPTE's bit of the same place");
    return error_code & EPT_RWX;
}

/* With the lock held, which is what keeps mmu_track() and whoever invalidates away: the decision
 * and the store are one (rule F2). */
static int map_locked(struct mmu_cpu *self, const struct memslot *slot, struct tdp_mapping *want,
                      uint64_t sequence)
{
    uint64_t offset = want->gfn.v - slot->base.v;
    bool write = want->access & EPT_WRITE;
    if (unlikely(is_stale(self->mmu, sequence)))
        return FAULT_RETRY;
    if (unlikely(track_is(slot, offset))) {
        if (write)
            return FAULT_WRITE_PROTECTED; /* not MMIO (rule N10) */
        want->rights = slot->flags & MEMSLOT_READONLY ? 0 : SPTE_HOST_WRITABLE;
    } else if (!(slot->flags & MEMSLOT_READONLY)) {
        want->rights = SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE | EPT_WRITE;
    }
    bool by_fault = slot->dirty && dirty_method() == DIRTY_WRITE_PROTECT;
    if (unlikely(by_fault) && !write)
        want->rights &= ~EPT_WRITE;
    if (!(want->role & EPT_WRITE))
        want->rights = 0;
    if (want->level > EPT_LEVEL_4K) {
        want->denied = huge_denied();
        want->level = huge_level(slot, want->gfn, want->page, want->level, want->access);
    }
    trace(mmu_spte_requested, want->gfn.v, want->page.v >> PAGE_SHIFT, want->level);
    int result = tdp_map(self, want);
    if (unlikely(by_fault) && write && result != FAULT_RETRY)
        dirty_set(slot, offset);
    return result;
}

/* `sequence` was read before the slot was looked up: a slot that goes away in between is noticed.
 */
static int fault_slot(struct mmu_cpu *self, const struct memslot *slot, struct tdp_mapping *want,
                      uint64_t sequence)
{
    if (slot->flags & MEMSLOT_INVALID)
        return FAULT_RETRY; /* never MMIO, it would cover a live SPTE (rule P5) */
    if (want->access & EPT_WRITE && slot->flags & MEMSLOT_READONLY)
        return FAULT_EMULATE; /* without MMIO SPTE, or reads would become MMIO too (rule F6) */

    uint64_t offset = want->gfn.v - slot->base.v;
    want->page = backing_page(&slot->backing, offset, &want->level);
    if (page_is_none(want->page)) {
        int error = backing_populate(&slot->backing, offset, mmu_levels());
        if (error) {
            log_error("MMU: no page left for guest frame %#lx; give the machine more memory",
                      want->gfn.v);
            return error;
        }
        want->page = backing_page(&slot->backing, offset, &want->level);
    }
    read_lock(&self->mmu->lock);
    int result = map_locked(self, slot, want, sequence);
    read_unlock(&self->mmu->lock);
    return result;
}

static const char *access_name(uint64_t access)
{
    return access & EPT_EXECUTE ? "a fetch" : access & EPT_WRITE ? "a store" : "a load";
}

/* A right that the root's role never gives is not a right that a fault could bring. */
static int check_role(const struct tdp_mapping *want)
{
    uint64_t refused = want->access & ~want->role;
    if (likely(!refused))
        return 0;
    log_error("MMU: %s at frame %#lx, where memory is %s", access_name(refused), want->gfn.v,
              role_name(want->role));
    return -EACCES;
}

int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info)
{
    struct mmu_cpu *self = mmu_self(mmu);
    struct tdp_mapping want = {.alias = gpa_to_alias(gpa), .access = wanted(error_code)};
    want.gfn = stolen_strip(&mmu->stolen, want.alias);
    want.role = tdp_root(mmu, want.alias)->role;
    *info = (struct mmio_info){.alias = want.alias};
    trace(page_fault, gpa.v, error_code);
    if (!(error_code & FAULT_RESERVED))
        self->stats.faults++;
    int error = check_role(&want);
    if (unlikely(error))
        return error;
    /* Only what is present can be repaired; aging may have made it look otherwise. */
    if (error_code & FAULT_PRESENT || (__atomic_load_n(&mmu->access_tracked, __ATOMIC_RELAXED) &&
                                       !(error_code & FAULT_RESERVED))) {
        int result = fast_fault(mmu, &want);
        if (result != FAULT_INVALID)
            return result;
    }
    error = tdp_top_up(self);
    if (unlikely(error))
        return error;

    uint64_t sequence = mmu_invalidate_sequence(mmu);
    const struct memslots *slots = memslots(mmu);
    uint64_t generation = memslots_generation(slots);
    const struct memslot *slot = memslot_find(slots, want.gfn);
    self->stats.slot_searches++;
    if (!slot)
        return fault_no_slot(self, &want, generation, info);
    return fault_slot(self, slot, &want, sequence);
}

/* Rule P24: says what the CPU met on its way, and which entry it did not understand. Returns
 * -EINVAL if there is one; else the tables changed meanwhile and the access is tried again. */
static int explain_misconfiguration(const struct mmu *mmu, gpa_t gpa)
{
    char why[EPT_EXPLAIN_SIZE];
    uint64_t sptes[EPT_LEVELS + 1];
    unsigned lowest = mmu->root_level;
    bool found = false;
    const uint64_t *table = mmu->composite;

    for (unsigned level = mmu->root_level;; level--) {
        lowest = level;
        sptes[level] =
            __atomic_load_n(&table[ept_index(gpa_to_alias(gpa), level)], __ATOMIC_ACQUIRE);
        found = found || ept_misconfigured(sptes[level], level, &spte_format.caps);
        if (found || !spte_is_nonleaf(sptes[level], level))
            break;
        table = phys_to_virt(spte_page(sptes[level]));
    }
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

int mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info)
{
    unsigned level;
    struct mmu_cpu *self = mmu_self(mmu);
    alias_t alias = gpa_to_alias(gpa);
    uint64_t spte = tdp_walk(mmu, alias, &level);
    if (unlikely(!spte_is_mmio(spte, mmu->mmio_value)))
        return explain_misconfiguration(mmu, gpa);

    uint64_t generation = memslots_generation(memslots(mmu));
    trace(check_mmio_spte, generation, spte_mmio_generation(spte), spte);
    if (unlikely(generation & SLOT_UPDATE_IN_PROGRESS ||
                 spte_mmio_generation(spte) != (generation & SPTE_GENERATION_MASK))) {
        self->stats.mmio_spte_stale++;
        return FAULT_INVALID;
    }
    self->stats.mmio_spte_hits++;
    trace(handle_mmio_page_fault, gpa.v, mmu_gfn(mmu, gpa).v, spte & EPT_RWX);
    info->alias = alias;
    info->generation = generation;
    return FAULT_EMULATE;
}
