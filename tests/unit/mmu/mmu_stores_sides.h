/* SPDX-License-Identifier: MIT */
/*
 * Conversions, store by store. While pages change sides, the pages and the bits of their sides are
 * watched as tables are; see mmu_stores.h. From the first store to a page to the store to its bit
 * nobody may access the page: no root leads to it, the hypervisor's own accesses are refused on
 * either side, faults are retried, and every earlier reader has passed an epoch. Only zeroes are
 * stored to the page, and all of it is zero before its bit changes.
 */
#pragma once

#include "tests/unit/mmu/mmu_stores.h"

#define SIDES_OF_PAGES UINT64_MAX /* a page that is no table */

static struct {
    const struct memslot *slot;
    uint64_t first, end; /* frames that may change sides */
    uint64_t passes;     /* epoch of the reader when the conversion began */
    uint64_t cleared, changed;
} conversion;

static inline void nobody_has(uint64_t frame)
{
    const uint64_t ways[] = {frame, SHARED | frame, CODE | frame};
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        if (look(ways[i]).sight != SEES_NOTHING)
            fault_found("frame %#lx is converted, and the guest reaches it", ways[i]);
        if (i < 2 && guest_page(&mmu, gfn_to_gpa(GFN(ways[i])), ACCESS_READ))
            fault_found("frame %#lx is converted, and the hypervisor reaches it", ways[i]);
    }
    if (!(mmu_invalidate_sequence(&mmu) & 1))
        fault_found("frame %#lx is converted, and faults may map it", frame);
    if (reader_passes == conversion.passes)
        fault_found("frame %#lx is converted, and who had found it has not passed", frame);
}

static inline bool is_clear(const uint64_t *words)
{
    unsigned i = 0;
    while (i < 512 && !words[i])
        i++;
    return i == 512;
}

static inline void side_changed(uint64_t frame)
{
    unsigned level;
    hpa_t page = backing_page(&conversion.slot->backing, frame - conversion.slot->base.v, &level);
    if (frame - conversion.first >= conversion.end - conversion.first)
        fault_found("frame %#lx changes sides, and was not asked to", frame);
    else if (!page_is_none(page) && !is_clear(phys_to_virt(page)))
        fault_found("frame %#lx changes sides before it is clear", frame);
    nobody_has(frame);
    conversion.changed++;
}

static void page_or_side_stored(struct watched *t, unsigned index)
{
    uint64_t old = t->copy[index], now = t->words[index], change = old ^ now;
    t->copy[index] = now;
    if (t->frame == SIDES_OF_PAGES) {
        for (; change; change &= change - 1)
            side_changed(conversion.slot->base.v + 64 * index + (unsigned)__builtin_ctzll(change));
        return;
    }
    if (now & ~old)
        fault_found("frame %#lx is converted, and gets %#lx stored", t->frame, now);
    nobody_has(t->frame);
    conversion.cleared++;
    if (++t->passes ==
        64) /* for speed, the contents are checked when the bit of the page changes */
        protect(t->words, PROT_READ | PROT_WRITE);
}

static inline void watch_memory(void *words, uint64_t frame)
{
    assert_true(watched_used < WATCHED);
    struct watched *t = &watched[watched_used++];
    *t = (struct watched){.words = words, .frame = frame};
    memcpy(t->copy, words, PAGE_SIZE);
    protect(words, PROT_READ);
}

/* One conversion of a few pages, which are not zero before. Returns the result of mmu_convert(). */
static inline int64_t convert(uint64_t frame, uint64_t count, bool shared)
{
    const struct memslot *slot = memslot_find(memslots(&mmu), GFN(frame));
    unsigned tables = watched_used, level;
    int64_t result = 0;
    memset(&conversion, 0, sizeof(conversion));
    conversion.slot = slot;
    conversion.first = frame;
    conversion.end = frame + count;
    for (uint64_t f = frame; slot && f < frame + count && f < memslot_end(slot).v; f++) {
        hpa_t page = backing_page(&slot->backing, f - slot->base.v, &level);
        if (page_is_none(page))
            continue;
        *(uint64_t *)phys_to_virt(page) = f | 1ull << 63;
        watch_memory(phys_to_virt(page), f);
    }
    if (slot) /* a slot here has no more than 32768 pages */
        watch_memory(slot->shared, SIDES_OF_PAGES);
    memory_stored = page_or_side_stored;
    operation_begins("mmu_convert()");
    conversion.passes = reader_passes;
    result = mmu_convert(&mmu, gfn_to_gpa(GFN(frame)), count, shared);
    while (watched_used > tables) {
        if (watched[watched_used - 1].level)
            fail_msg("a conversion has linked a table");
        protect(watched[--watched_used].words, PROT_READ | PROT_WRITE);
    }
    operation_ends(true);
    return result;
}
