/* SPDX-License-Identifier: MIT */
/* Private and shared pages; see the header. Pure. */
#include "mmu/sides.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

bool sides_uniform(const struct memslot *slot, uint64_t offset, uint64_t frames)
{
    if (!slot->shared)
        return true;
    uint64_t first = sides_is_shared(slot, offset) ? ~0ull : 0;
    for (uint64_t i = offset; i < offset + frames;) {
        uint64_t left = offset + frames - i, in_word = 64 - i % 64;
        uint64_t count = left < in_word ? left : in_word;
        uint64_t mask = (count == 64 ? ~0ull : BIT(count) - 1) << (i % 64);
        uint64_t word = __atomic_load_n(&slot->shared[i / 64], __ATOMIC_RELAXED);
        if ((word ^ first) & mask)
            return false;
        i += count;
    }
    return true;
}

/* ---- Conversion ------------------------------------------------------------------------------ */

/* The first frame in [from, end) that is shared, or private; else `end`. */
static uint64_t find_side(const struct memslot *slot, uint64_t from, uint64_t end, bool shared)
{
    while (from < end && sides_is_shared(slot, from) != shared)
        from++;
    return from;
}

static void change_side(struct mmu *mmu, const struct memslot *slot, uint64_t offset)
{
    unsigned level;
    hpa_t page = backing_page(&slot->backing, offset, &level);
    if (!page_is_none(page)) {
        page_clear(phys_to_virt(page), 0);
        dirty_note(mmu, GFN(slot->base.v + offset), 1);
    }
    __atomic_fetch_xor(&slot->shared[offset / 64], BIT(offset % 64), __ATOMIC_RELEASE);
}

/* First the frames are taken from both sides: faults retry while the sequence is odd, no fault is
 * in progress while the lock is held exclusively, and `converting` makes the hypervisor's own
 * accesses fail. After the zap and an epoch no CPU is in the guest with an old translation, and
 * every access that began on the old side is over. Only then are the pages cleared and put on their
 * new side. */
static void convert_frames(struct mmu *mmu, const struct memslot *slot, uint64_t first,
                           uint64_t end)
{
    gfn_t from = GFN(slot->base.v + first), to = GFN(slot->base.v + end);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    write_lock(&mmu->lock);
    __atomic_store_n(&mmu->converting, from.v << CONVERTING_SHIFT | (end - first),
                     __ATOMIC_RELEASE);
    tdp_zap_locked(mmu, from, to, 0, DEBT_CONVERTED);
    write_unlock(&mmu->lock);
    tlb_wait_epoch(mmu);
    for (uint64_t i = first; i < end; i++)
        change_side(mmu, slot, i);
    __atomic_store_n(&mmu->converting, 0, __ATOMIC_RELEASE);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
}

int64_t mmu_convert(struct mmu *mmu, gpa_t gpa, uint64_t pages, bool shared)
{
    gfn_t gfn = gpa_to_gfn(gpa);
    if (!mmu_has_sides(mmu) || page_offset(gpa.v) || !pages)
        return -EINVAL;
    int error = memslots_lock(mmu);
    if (error)
        return error;
    const struct memslot *slot = memslot_find(mmu->slots, gfn);
    int64_t result = -EFAULT;
    if (slot) {
        uint64_t at = gfn.v - slot->base.v, room = slot->backing.pages - at;
        uint64_t piece = CONVERT_FRAMES - gfn.v % CONVERT_FRAMES;
        uint64_t count = pages < piece ? pages : piece;
        uint64_t end = at + (count < room ? count : room);
        uint64_t first = find_side(slot, at, end, !shared),
                 to = find_side(slot, first, end, shared);
        if (first < to)
            convert_frames(mmu, slot, first, to);
        result = (int64_t)(to - at);
    }
    spin_unlock(&mmu->slots_lock);
    return result;
}
