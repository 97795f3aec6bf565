/*
 * What happens on an EPT violation and on a misconfiguration; see mmu/mmu.h for both, and rules F2
 * to F4 for the order of the steps.
 */
#include "ept/misconfig.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/backing.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/tdp.h"

/* No slot: a device, or nothing. The instruction is emulated either way; the MMIO SPTE makes the
 * next access cheaper where one can be had (rules F3, S10, S11). */
static int fault_no_slot(struct mmu *mmu, gfn_t gfn, uint64_t generation, struct mmio_info *info)
{
    if (!(generation & SLOT_UPDATE_IN_PROGRESS))
        info->generation = generation;
    if (mmu->mmio_value == SPTE_MMIO_NEVER || gfn.v >= spte_format.mmio_gfn_end)
        return FAULT_EMULATE;
    return tdp_map_mmio(mmu, gfn, generation & SPTE_GENERATION_MASK);
}

/* Has a slot begun or finished to go away since `sequence` was read? */
static bool is_stale(const struct mmu *mmu, uint64_t sequence)
{
    return sequence & 1 || __atomic_load_n(&mmu->invalidate_sequence, __ATOMIC_ACQUIRE) != sequence;
}

/* `sequence` was read before the slot was looked up: a slot that goes away in between is noticed.
 */
static int fault_slot(struct mmu *mmu, const struct memslot *slot, gfn_t gfn, uint32_t error_code,
                      uint64_t sequence)
{
    if (slot->flags & MEMSLOT_INVALID)
        return FAULT_RETRY; /* never MMIO, it would cover a live SPTE (rule P5) */
    bool writable = !(slot->flags & MEMSLOT_READONLY);
    if (error_code & ACCESS_WRITE && !writable)
        return FAULT_EMULATE; /* without MMIO SPTE, or reads would become MMIO too (rule F6) */

    uint64_t offset = gfn.v - slot->base.v;
    unsigned level;
    hpa_t page = backing_page(&slot->backing, offset, &level);
    if (page_is_none(page)) {
        int error = backing_populate(&slot->backing, offset, mmu_config()->huge);
        if (error) {
            log_error("MMU: no page left for guest frame %#lx; give the machine more memory",
                      gfn.v);
            return error;
        }
        page = backing_page(&slot->backing, offset, &level);
    }
    if (is_stale(mmu, sequence))
        return FAULT_RETRY;
    /* After a move a block may no longer lie at the same place within 2 MiB as its frames. */
    if ((gfn.v ^ page.v >> PAGE_SHIFT) & (ept_frames(level) - 1))
        level = EPT_LEVEL_4K;
    return tdp_map(mmu, gfn, page, level, writable);
}

int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info)
{
    gfn_t gfn = gpa_to_gfn(gpa);
    *info = (struct mmio_info){.gfn = gfn};
    if (!(error_code & FAULT_RESERVED))
        mmu->stats.faults++;
    if (error_code & FAULT_PRIVATE) {
        log_error("MMU: private access to %#lx in a VM that has no private memory", gpa.v);
        return -EFAULT;
    }
    int error = tdp_top_up(mmu);
    if (unlikely(error))
        return error;

    uint64_t sequence = mmu_invalidate_sequence(mmu);
    const struct memslots *slots = memslots(mmu);
    uint64_t generation = memslots_generation(slots);
    const struct memslot *slot = memslot_find(slots, gfn);
    mmu->stats.slot_searches++;
    if (!slot)
        return fault_no_slot(mmu, gfn, generation, info);
    return fault_slot(mmu, slot, gfn, error_code, sequence);
}

/* Rule P24: says what the CPU met on its way, and which entry it did not understand. Returns
 * -EINVAL if there is one; else the tables changed meanwhile and the access is tried again. */
static int explain_misconfiguration(const struct mmu *mmu, gpa_t gpa)
{
    char why[EPT_EXPLAIN_SIZE];
    uint64_t sptes[EPT_LEVELS + 1];
    unsigned lowest = mmu->root_level;
    bool found = false;
    const uint64_t *table = mmu->root;

    for (unsigned level = mmu->root_level;; level--) {
        lowest = level;
        sptes[level] = READ_ONCE(table[ept_index(gpa_to_gfn(gpa), level)]);
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
    gfn_t gfn = gpa_to_gfn(gpa);
    uint64_t spte = tdp_walk(mmu, gfn, &level);
    if (unlikely(!spte_is_mmio(spte, mmu->mmio_value)))
        return explain_misconfiguration(mmu, gpa);

    uint64_t generation = memslots_generation(memslots(mmu));
    if (unlikely(generation & SLOT_UPDATE_IN_PROGRESS ||
                 spte_mmio_generation(spte) != (generation & SPTE_GENERATION_MASK))) {
        mmu->stats.mmio_spte_stale++;
        return FAULT_INVALID;
    }
    mmu->stats.mmio_spte_hits++;
    info->gfn = gfn;
    info->generation = generation;
    return FAULT_EMULATE;
}
