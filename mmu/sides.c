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
#include "mmu/page_bitmap.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

int sides_init(const struct mmu *mmu, struct memslot *slot)
{
    uint64_t pages = slot->backing.pages;
    if (!mmu_has_sides(mmu))
        return 0;
    slot->shared = page_bitmap_alloc(pages);
    if (!slot->shared)
        return -ENOMEM;
    if (slot->flags & MEMSLOT_SHARED)
        memset(slot->shared, 0xff, (pages + 63) / 64 * 8);
    slot->flags |= (uint32_t)MEMSLOT_SIDED;
    return 0;
}

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

/* The first frame from `from` on, before `end`, of which this is so. */
static uint64_t find(const struct memslot *slot, uint64_t from, uint64_t end, bool shared)
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

/* With the lock owned nobody maps and nobody writes on behalf of the guest; after the zap nobody is
 * in the guest with the old translation. Only then the page is cleared, and only then it is on its
 * new side. Frames that are there already keep what they hold. */
static void convert(struct mmu *mmu, const struct memslot *slot, uint64_t first, uint64_t end,
                    bool shared)
{
    write_lock(&mmu->lock);
    for (uint64_t to; (first = find(slot, first, end, !shared)) < end; first = to) {
        to = find(slot, first, end, shared);
        tdp_zap_locked(mmu, GFN(slot->base.v + first), GFN(slot->base.v + to), 0);
        for (uint64_t i = first; i < to; i++)
            change_side(mmu, slot, i);
    }
    write_unlock(&mmu->lock);
}

int64_t mmu_convert(struct mmu *mmu, gpa_t gpa, uint64_t pages, bool shared)
{
    gfn_t gfn = gpa_to_gfn(gpa);
    if (!mmu_has_sides(mmu) || page_offset(gpa.v) || !pages)
        return -EINVAL;
    memslots_lock(mmu);
    const struct memslot *slot = memslot_find(mmu->slots, gfn);
    int64_t result = -EFAULT;
    if (slot) {
        uint64_t first = gfn.v - slot->base.v, room = slot->backing.pages - first;
        uint64_t piece = PIECE_FRAMES - gfn.v % PIECE_FRAMES;
        uint64_t count = pages < piece ? pages : piece;
        count = count < room ? count : room;
        __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
        convert(mmu, slot, first, first + count, shared);
        tlb_wait_epoch(); /* who asked for the side before, without the lock, has read the page */
        __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
        result = (int64_t)count;
    }
    spin_unlock(&mmu->slots_lock);
    return result;
}
