/* SPDX-License-Identifier: MIT */
/*
 * What the secure side's tests need around it: a pool of memory, TDs, and CPUs with the worst TLB.
 *
 * A CPU that is in a guest may keep everything that it ever walked, tables and pages, until it
 * flushes. So it is remembered which frames it can reach; a frame that becomes FREE, or gets
 * another owner, must be out of reach of all CPUs that are inside.
 */
#pragma once

#include "ept/secure_blocks.h"
#include "ept/secure_walk.h"
#include "ept/tdx_status.h"
#include "lib/bits.h"
#include "tests/unit/support.h"

#include <string.h>

#define POOL_BASE   0x80000000ull
#define POOL_PIECES 5u
#define POOL_FRAMES (POOL_PIECES * EPT_ENTRIES)
#define MAP_BLOCKS  (POOL_BASE / SECURE_BLOCK_SIZE + POOL_PIECES)
#define GUEST_CPUS  3u

struct guest_cpu {
    bool inside;
    uint64_t flushed; /* the epoch that was the newest when its TLB was flushed */
    uint8_t reach[POOL_FRAMES];
};

struct world_td {
    struct secure_td td;
    uint64_t epoch;
    struct guest_cpu cpu[GUEST_CPUS];
    unsigned measured; /* pages */
    uint64_t measured_sum;
};

static struct secure_frame world_frames[POOL_FRAMES];
static struct secure_block world_blocks[MAP_BLOCKS];
static uint64_t world_memory[POOL_FRAMES][EPT_ENTRIES] __attribute__((aligned(4096)));
static struct secure_map world_map;
static bool world_hidden[POOL_PIECES]; /* is out of the direct map */

static hpa_t page_at(uint64_t frame)
{
    return HPA(POOL_BASE + frame * PAGE_SIZE);
}

static uint64_t frame_at(hpa_t page)
{
    return (page.v - POOL_BASE) >> PAGE_SHIFT;
}

static void *world_window(void *context, hpa_t frame)
{
    (void)context;
    assert_true(!page_offset(frame.v) && frame_at(frame) < POOL_FRAMES);
    return world_memory[frame_at(frame)];
}

static uint64_t world_epoch_begin(void *context)
{
    return __atomic_add_fetch(&((struct world_td *)context)->epoch, 1, __ATOMIC_SEQ_CST);
}

static bool world_epoch_over(void *context, uint64_t epoch)
{
    const struct world_td *w = context;
    assert_int_equal(epoch, w->epoch);
    for (unsigned i = 0; i < GUEST_CPUS; i++)
        if (w->cpu[i].inside && w->cpu[i].flushed < epoch)
            return false;
    return true;
}

/* A sum in which the order of the pages and the place of each word matter. */
static uint64_t sum_of(uint64_t sum, gfn_t gfn, const uint64_t *content)
{
    sum = sum * 0x9e3779b97f4a7c15ull + gfn.v;
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        sum = (sum ^ content[i]) * 0x100000001b3ull;
    return sum;
}

static void world_measure(void *context, gfn_t gfn, const void *content)
{
    struct world_td *w = context;
    w->measured++;
    w->measured_sum = sum_of(w->measured_sum, gfn, content);
}

static const struct secure_host world_host = {
    .window = world_window,
    .epoch_begin = world_epoch_begin,
    .epoch_over = world_epoch_over,
    .measure = world_measure,
};

static bool world_is_hidden(hpa_t page)
{
    return page.v >= POOL_BASE && frame_at(page) < POOL_FRAMES &&
           world_hidden[frame_at(page) / EPT_ENTRIES];
}

/* Gives a piece of the memory to the secure side, with what the hypervisor has left there. */
static uint64_t world_add(unsigned piece)
{
    hpa_t block = page_at(piece * EPT_ENTRIES);
    if (!world_blocks[block.v / SECURE_BLOCK_SIZE].frames)
        memset(&world_frames[piece * EPT_ENTRIES], 0, EPT_ENTRIES * sizeof(struct secure_frame));
    return secure_block_add(&world_map, block, &world_frames[piece * EPT_ENTRIES]);
}

static void world_reset_map(void)
{
    memset(world_frames, 0, sizeof(world_frames));
    memset(world_blocks, 0, sizeof(world_blocks));
    memset(world_hidden, 1, sizeof(world_hidden));
    world_map = (struct secure_map){MAP_BLOCKS, world_blocks};
    for (unsigned i = 0; i < POOL_PIECES; i++)
        assert_int_equal(world_add(i), TDX_SUCCESS);
}

static inline void world_reset(void)
{
    support_reset();
    support_hidden = world_is_hidden;
    for (unsigned i = 0; i < POOL_FRAMES; i++) /* what the hypervisor has left there */
        memset(world_memory[i], 0xee, PAGE_SIZE);
    world_reset_map();
}

static uint64_t world_create(struct world_td *w, unsigned root_level, uint64_t gfn_end, hpa_t root)
{
    memset(w, 0, sizeof(*w));
    w->td = (struct secure_td){
        .host = &world_host,
        .context = w,
        .map = &world_map,
        .root = root,
        .root_level = root_level,
        .gfn_end = gfn_end,
    };
    return secure_td_create(&w->td);
}

/* ---- The guest's CPUs ------------------------------------------------------------------------ */

static inline void cpu_enter(struct world_td *w, struct guest_cpu *cpu)
{
    cpu->inside = true;
    if (cpu->flushed < w->epoch)
        memset(cpu->reach, 0, sizeof(cpu->reach));
    cpu->flushed = w->epoch;
}

static inline void cpu_reaches(struct guest_cpu *cpu, uint64_t frame, uint64_t count)
{
    assert_true(frame + count <= POOL_FRAMES);
    memset(&cpu->reach[frame], 1, count);
}

/* Walks as the CPU does, by an entry's rights and bit 7. Returns the word at the guest's frame, or
 * NULL: a violation. */
static inline uint64_t *cpu_walk(struct world_td *w, struct guest_cpu *cpu, gfn_t gfn)
{
    hpa_t table = w->td.root;
    for (unsigned level = w->td.root_level;; level--) {
        uint64_t entry = world_memory[frame_at(table)][ept_index(ALIAS(gfn.v), level)];
        cpu_reaches(cpu, frame_at(table), 1);
        if (!(entry & EPT_RWX))
            return NULL;
        table = HPA(entry & EPT_ADDRESS);
        if (level == EPT_LEVEL_4K || entry & EPT_LARGE) {
            cpu_reaches(cpu, frame_at(table), ept_frames(level));
            return world_memory[frame_at(table) + (gfn.v & (ept_frames(level) - 1))];
        }
    }
}

/* Fails if a CPU that is inside a guest reaches one of the frames. */
static inline void check_out_of_reach(const struct world_td *w, hpa_t page, unsigned level)
{
    for (unsigned i = 0; i < GUEST_CPUS; i++)
        for (uint64_t f = 0; w->cpu[i].inside && f < ept_frames(level); f++)
            if (w->cpu[i].reach[frame_at(page) + f])
                fail_msg("CPU %u reaches frame %#lx, which is FREE", i,
                         (unsigned long)(page.v + f * PAGE_SIZE));
}

/* ---- The invariants -------------------------------------------------------------------------- */

static unsigned world_references[POOL_FRAMES];

static bool is_large(const struct secure_frame *f)
{
    uint8_t state = f->state == SECURE_BLOCKED ? f->unblocked : f->state;
    return state != SECURE_TABLE && f->level == EPT_LEVEL_2M;
}

/* Checks an entry against the frame to which it points. Returns whether that is a table. */
static bool check_entry(const struct world_td *w, uint64_t entry, unsigned level, uint64_t gfn)
{
    hpa_t page = HPA(entry & EPT_ADDRESS);
    const struct secure_frame *f = &world_frames[frame_at(page)];
    uint8_t state = f->state == SECURE_BLOCKED ? f->unblocked : f->state;
    world_references[frame_at(page)]++;
    assert_ptr_equal(f->owner, &w->td);
    assert_int_equal(f->gfn, gfn);
    assert_int_equal(f->level, level);
    assert_int_not_equal(state, SECURE_FREE);
    assert_int_equal(entry & EPT_RWX,
                     f->state == SECURE_TABLE || f->state == SECURE_MAPPED ? EPT_RWX : 0);
    assert_true(entry & EPT_SUPPRESS_VE || (f->state == SECURE_PENDING && w->td.pending_ve));
    if (state == SECURE_TABLE)
        assert_false(entry & (EPT_LARGE | EPT_MEMTYPE | EPT_IPAT));
    else
        assert_int_equal(!!(entry & EPT_LARGE), level == EPT_LEVEL_2M);
    return state == SECURE_TABLE;
}

static void check_table(const struct world_td *w, hpa_t table, unsigned level, uint64_t gfn)
{
    for (unsigned i = 0; i < EPT_ENTRIES; i++) {
        uint64_t entry = world_memory[frame_at(table)][i], at = gfn + i * ept_frames(level);
        if (entry == EPT_SUPPRESS_VE)
            continue;
        assert_true(at < w->td.gfn_end);
        if (check_entry(w, entry, level, at))
            check_table(w, HPA(entry & EPT_ADDRESS), level - 1, at);
    }
}

/* Each frame has one owner, and is referred to by one entry, which is in a table of its owner; the
 * pieces and the TDs count right. Stopped TDs have no tables that could be walked. */
static void check_world(const struct world_td *tds, unsigned count)
{
    uint64_t owned[8] = {0};
    memset(world_references, 0, sizeof(world_references));
    for (unsigned t = 0; t < count; t++) {
        if (secure_td_is_gone(&tds[t].td) || tds[t].td.life == SECURE_STOPPED)
            continue;
        world_references[frame_at(tds[t].td.root)]++;
        check_table(&tds[t], tds[t].td.root, tds[t].td.root_level, 0);
    }
    uint32_t small[POOL_PIECES] = {0};
    for (unsigned i = 0; i < POOL_FRAMES; i++) {
        const struct secure_frame *f = &world_frames[i];
        unsigned t = 0;
        while (f->owner && f->owner != &tds[t].td)
            assert_true(++t < count);
        if (!f->owner || f->owner->life != SECURE_STOPPED)
            assert_int_equal(world_references[i], f->owner != NULL);
        if (!f->owner)
            continue;
        owned[t] += is_large(f) ? EPT_ENTRIES : 1;
        if (is_large(f)) {
            assert_int_equal(i % EPT_ENTRIES, 0);
            small[i / EPT_ENTRIES] = ~0u;
            for (unsigned j = 1; j < EPT_ENTRIES; j++)
                assert_null(f[j].owner);
        } else {
            small[i / EPT_ENTRIES]++;
        }
    }
    for (unsigned i = 0; i < POOL_PIECES; i++) {
        uint32_t use = world_blocks[POOL_BASE / SECURE_BLOCK_SIZE + i].use;
        assert_int_equal(use & ~SECURE_PRESENT, small[i] == ~0u ? SECURE_LEAF : small[i]);
        assert_true(use & SECURE_PRESENT || !use);
    }
    for (unsigned t = 0; t < count; t++)
        assert_int_equal(owned[t], tds[t].td.owned);
}
