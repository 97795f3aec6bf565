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
#include "mmu/mirror.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/tables.h"
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

COLD int sides_refuse(gfn_t gfn, uint32_t role)
{
    bool shared = role & ROLE_SHARED;
    log_error("MMU: a %s access to frame %#lx, which is %s; MapGPA would convert it",
              shared ? "shared" : "private", gfn.v, shared ? "private" : "shared");
    return -EACCES;
}

/* ---- Conversion ------------------------------------------------------------------------------ */

/* The first frame in [from, end) that is shared, or private; else `end`. */
static uint64_t find_side(const struct memslot *slot, uint64_t from, uint64_t end, bool shared)
{
    while (from < end && sides_is_shared(slot, from) != shared)
        from++;
    return from;
}

/* The frame of a protected VM takes its next page from the other pool; that of any other VM keeps
 * its page, which is cleared. */
static void change_side(struct mmu *mmu, const struct memslot *slot, uint64_t offset)
{
    unsigned level;
    hpa_t page = backing_page(&slot->backing, offset, &level);
    if (!page_is_none(page) && mmu_has_mirror(mmu)) {
        backing_drop(&slot->backing, offset);
    } else if (!page_is_none(page)) {
        page_clear(phys_to_virt(page), 0);
        dirty_note(mmu, GFN(slot->base.v + offset), 1);
    }
    __atomic_fetch_xor(&slot->shared[offset / 64], BIT(offset % 64), __ATOMIC_RELEASE);
}

/* Changes the side of all frames that have left it. Returns the number of those at the beginning.
 */
static uint64_t change_sides(struct mmu *mmu, const struct memslot *slot, uint64_t first,
                             uint64_t end, bool mirrored)
{
    uint64_t changed = first;
    for (uint64_t i = first; i < end; i++) {
        if (mirrored && mirror_has_leaf(mmu, GFN(slot->base.v + i)))
            continue;
        change_side(mmu, slot, i);
        changed += changed == i;
    }
    return changed - first;
}

/* First the frames are taken from both sides: faults retry while the sequence is odd, no fault is
 * in progress while the lock is held exclusively, and `converting` makes the hypervisor's own
 * accesses fail. After the zap and an epoch no CPU is in the guest with an old translation, and
 * every access that began on the old side is over. Only then are the pages cleared and put on their
 * new side.
 * Private frames of a protected VM are removed from the mirror. The secure side can refuse that:
 * the pages that it keeps stay private. Returns the number of frames, or an error if the first one
 * could not be converted. */
static int64_t convert_frames(struct mmu *mmu, const struct memslot *slot, uint64_t first,
                              uint64_t end)
{
    gfn_t from = GFN(slot->base.v + first), to = GFN(slot->base.v + end);
    bool mirrored = mmu_has_mirror(mmu) && !sides_is_shared(slot, first);
    struct mirror_batch batch; /* not initialised, since it is large */
    int error = mirrored ? tdp_top_up(mmu_self(mmu)) : 0;
    if (error)
        return error;
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    write_lock(&mmu->lock);
    __atomic_store_n(&mmu->converting, from.v << CONVERTING_SHIFT | (end - first),
                     __ATOMIC_RELEASE);
    if (mirrored)
        mirror_block(mmu_self(mmu), &batch, from, to, &error);
    else
        tdp_zap_locked(mmu, from, to, 0, DEBT_CONVERTED);
    write_unlock(&mmu->lock);
    tlb_wait_epoch(mmu);
    if (mirrored) {
        int stuck = mirror_remove(mmu_self(mmu), &batch);
        error = error ? error : stuck;
        end = batch.next.v - slot->base.v;
    }
    uint64_t changed = change_sides(mmu, slot, first, end, mirrored);
    __atomic_store_n(&mmu->converting, 0, __ATOMIC_RELEASE);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    return changed ? (int64_t)changed : error;
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
    if (slot && mmu_has_mirror(mmu) && slot->flags & MEMSLOT_PINNED) {
        log_error("MMU: frame %#lx cannot be converted: its slot %u is pinned", gfn.v, slot->id);
        result = -EBUSY;
    } else if (slot) {
        uint64_t at = gfn.v - slot->base.v, room = slot->backing.pages - at;
        uint64_t piece = CONVERT_FRAMES - gfn.v % CONVERT_FRAMES;
        uint64_t count = pages < piece ? pages : piece;
        uint64_t end = at + (count < room ? count : room);
        uint64_t first = find_side(slot, at, end, !shared),
                 to = find_side(slot, first, end, shared);
        int64_t changed = first < to ? convert_frames(mmu, slot, first, to) : 0;
        result = changed < 0 ? changed : (int64_t)(first - at) + changed;
    }
    spin_unlock(&mmu->slots_lock);
    return result;
}
