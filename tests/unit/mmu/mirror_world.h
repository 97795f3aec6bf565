/* SPDX-License-Identifier: MIT */
/*
 * A protected VM in a hosted test: an MMU with a mirror, the real secure side, and a pool of
 * private frames that lies in the arena, so that the walker of mmu_world.h can walk the external
 * tables. Each operation of the mirror can be made to fail.
 */
#pragma once

#include "mmu_world.h"

#include "ept/secure_blocks.h"
#include "ept/tdx_status.h"
#include "mmu/mirror.h"

#include <string.h>

#define RAM    0x200000ull
#define PAGES  2048ull
#define SHARED BIT(MIRROR_SHARED_BIT)

#define POOL_ORDER  13u
#define POOL_FRAMES (1u << POOL_ORDER)
#define POOL_PIECES (POOL_FRAMES / EPT_ENTRIES)

enum mirror_op {
    OP_TAKE,
    OP_LINK,
    OP_ADD,
    OP_AUG,
    OP_ACCEPT,
    OP_BLOCK,
    OP_TRACK,
    OP_SPLIT,
    OP_REMOVE,
    OP_FREE,
    OP_READ,
    OPS,
};

static struct mmu mmu;
static struct secure_td td;
static struct secure_map map;
static struct secure_frame map_frames[POOL_FRAMES];
static struct secure_block
    map_blocks[(SUPPORT_RAM_BASE + SUPPORT_RAM_PAGES * PAGE_SIZE) / SECURE_BLOCK_SIZE];
static hpa_t pool_base;
static bool pool_taken[POOL_FRAMES];
static unsigned pool_left; /* frames that may still be taken */
static struct spinlock pool_lock;
static unsigned measured;

static struct {
    enum mirror_op op;
    unsigned after; /* calls that succeed before */
    unsigned count; /* calls that fail then */
    uint64_t status;
} fail;
static unsigned op_calls[OPS];

/* A test may look at each call. */
static void (*op_hook)(enum mirror_op op, gfn_t gfn);
static void (*give_hook)(hpa_t page, unsigned level);

static inline void fail_next(enum mirror_op op, unsigned after, unsigned count)
{
    fail.op = op;
    fail.after = after;
    fail.count = count;
    fail.status = TDX_OPERAND_BUSY;
}

static uint64_t injected(enum mirror_op op, gfn_t gfn)
{
    __atomic_add_fetch(&op_calls[op], 1, __ATOMIC_RELAXED);
    if (op_hook)
        op_hook(op, gfn);
    if (!fail.count || fail.op != op)
        return TDX_SUCCESS;
    if (fail.after) {
        fail.after--;
        return TDX_SUCCESS;
    }
    fail.count--;
    return fail.status;
}

/* ---- The pool -------------------------------------------------------------------------------- */

static unsigned pool_index(hpa_t page)
{
    return (unsigned)((page.v - pool_base.v) >> PAGE_SHIFT);
}

static bool pool_has(hpa_t page)
{
    return page.v >= pool_base.v && pool_index(page) < POOL_FRAMES;
}

static bool pool_is_hidden(hpa_t page)
{
    (void)page;
    return true;
}

static hpa_t pool_find(unsigned frames)
{
    for (unsigned i = 0; i < POOL_FRAMES; i += frames) {
        unsigned n = 0;
        while (n < frames && !pool_taken[i + n])
            n++;
        if (n < frames)
            continue;
        memset(&pool_taken[i], 1, frames);
        pool_left -= frames;
        return hpa_add(pool_base, (uint64_t)i << PAGE_SHIFT);
    }
    return PAGE_NONE;
}

static hpa_t op_take(struct secure_td *t, unsigned level)
{
    unsigned frames = (unsigned)ept_frames(level);
    (void)t;
    if (injected(OP_TAKE, GFN(0)))
        return PAGE_NONE;
    spin_lock(&pool_lock);
    hpa_t page = pool_left < frames ? PAGE_NONE : pool_find(frames);
    spin_unlock(&pool_lock);
    return page;
}

static void op_give(struct secure_td *t, hpa_t page, unsigned level)
{
    (void)t;
    if (give_hook)
        give_hook(page, level);
    spin_lock(&pool_lock);
    for (unsigned i = 0; i < ept_frames(level); i++) {
        assert_true(pool_taken[pool_index(page) + i]);
        assert_null(map_frames[pool_index(page) + i].owner); /* nobody gives what has an owner */
        pool_taken[pool_index(page) + i] = false;
        pool_left++;
    }
    spin_unlock(&pool_lock);
}

/* ---- The operations -------------------------------------------------------------------------- */

#define OP(name, OP_NAME, call, params, ...)                  \
    static uint64_t name params                               \
    {                                                         \
        uint64_t status = injected(OP_NAME, gfn);             \
        return status ? status : call(t, gfn, ##__VA_ARGS__); \
    }

OP(op_link, OP_LINK, secure_table_add, (struct secure_td * t, gfn_t gfn, unsigned l, hpa_t p), l, p)
OP(op_add, OP_ADD, secure_page_add, (struct secure_td * t, gfn_t gfn, hpa_t p, const void *s), p, s)
OP(op_aug, OP_AUG, secure_page_aug, (struct secure_td * t, gfn_t gfn, unsigned l, hpa_t p), l, p)
OP(op_accept, OP_ACCEPT, secure_page_accept, (struct secure_td * t, gfn_t gfn, unsigned l), l)
OP(op_block, OP_BLOCK, secure_range_block, (struct secure_td * t, gfn_t gfn, unsigned l), l)
OP(op_split, OP_SPLIT, secure_page_demote, (struct secure_td * t, gfn_t gfn, hpa_t p), p)
OP(op_remove, OP_REMOVE, secure_page_remove, (struct secure_td * t, gfn_t gfn, unsigned l), l)
OP(op_free, OP_FREE, secure_table_remove, (struct secure_td * t, gfn_t gfn, unsigned l), l)

static uint64_t op_track(struct secure_td *t)
{
    uint64_t status = injected(OP_TRACK, GFN(0));
    return status ? status : secure_track(t);
}

static uint64_t op_read(struct secure_td *t, gfn_t gfn, unsigned level, hpa_t *page,
                        enum secure_state *state)
{
    uint64_t status = injected(OP_READ, gfn);
    return status ? status : secure_read(t, gfn, level, page, state);
}

static const struct mirror_ops world_ops = {
    .take = op_take,
    .give = op_give,
    .link = op_link,
    .add = op_add,
    .aug = op_aug,
    .accept = op_accept,
    .block = op_block,
    .track = op_track,
    .split = op_split,
    .remove = op_remove,
    .free = op_free,
    .read = op_read,
    .finalise = secure_td_finalise,
    .stop = secure_td_stop,
};

/* ---- The machine, for the secure side -------------------------------------------------------- */

static void *host_window(void *context, hpa_t frame)
{
    (void)context;
    assert_true(pool_has(frame) && !page_offset(frame.v));
    return phys_to_virt(frame);
}

static uint64_t host_epoch_begin(void *context)
{
    (void)context;
    return mirror_epoch_begin(&mmu);
}

static bool host_epoch_over(void *context, uint64_t epoch)
{
    (void)context;
    return mirror_epoch_over(&mmu, epoch);
}

static void host_measure(void *context, gfn_t gfn, const void *content)
{
    (void)context;
    (void)gfn;
    (void)content;
    measured++;
}

static const struct secure_host secure_side_host = {
    .window = host_window,
    .epoch_begin = host_epoch_begin,
    .epoch_over = host_epoch_over,
    .measure = host_measure,
};

/* Makes the VM with everything but its memory. */
static void td_create(const struct mmu_config *config)
{
    world_reset(WORLD_CAPS, config);
    memset(&fail, 0, sizeof(fail));
    memset(op_calls, 0, sizeof(op_calls));
    op_hook = NULL;
    give_hook = NULL;
    memset(map_frames, 0, sizeof(map_frames));
    memset(pool_taken, 0, sizeof(pool_taken));
    pool_left = POOL_FRAMES;
    pool_base = page_alloc(POOL_ORDER);
    memset(phys_to_virt(pool_base), 0xee, (size_t)POOL_FRAMES << PAGE_SHIFT);
    uint64_t blocks = pool_base.v / SECURE_BLOCK_SIZE + POOL_PIECES;
    assert_true(blocks <= ARRAY_SIZE(map_blocks));
    memset(map_blocks, 0, sizeof(map_blocks));
    map = (struct secure_map){blocks, map_blocks};
    support_hidden = pool_is_hidden;
    for (unsigned i = 0; i < POOL_PIECES; i++)
        assert_int_equal(secure_block_add(&map, hpa_add(pool_base, i * SECURE_BLOCK_SIZE),
                                          &map_frames[i * EPT_ENTRIES]),
                         TDX_SUCCESS);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, MIRROR_SHARED_BIT, STOLEN_SHARED), 0);
    td = (struct secure_td){
        .host = &secure_side_host,
        .map = &map,
        .root = op_take(&td, EPT_LEVEL_4K),
        .root_level = EPT_LEVEL_1G,
        .gfn_end = 1ull << (MIRROR_SHARED_BIT - PAGE_SHIFT),
    };
    assert_int_equal(secure_td_create(&td), TDX_SUCCESS);
    assert_int_equal(mmu_mirror(&mmu, &world_ops, &td), 0);
}

/* ---- The mirror and the external tables ------------------------------------------------------ */

static unsigned mirrored_frames; /* counted by check_mirror_table() */
static uint64_t mirrored_stuck;

/* Compares each entry of a table of the mirror with that of the external tables (rule X2). */
static void check_mirror_table(const uint64_t *mirror, const uint64_t *external, unsigned level)
{
    for (unsigned i = 0; i < EPT_ENTRIES; i++) {
        uint64_t ours = mirror[i], theirs = external[i];
        hpa_t page = HPA(theirs & EPT_ADDRESS);
        if (ours == SPTE_NONPRESENT) {
            assert_int_equal(theirs, EPT_SUPPRESS_VE);
            continue;
        }
        assert_int_not_equal(ours, SPTE_FROZEN);
        assert_true(pool_has(page));
        const struct secure_frame *frame = &map_frames[pool_index(page)];
        assert_ptr_equal(frame->owner, &td);
        if (spte_is_nonleaf(ours, level)) {
            assert_int_equal(frame->state, mirror_is_blocked(ours) ? SECURE_BLOCKED : SECURE_TABLE);
            mirrored_frames++;
            check_mirror_table(phys_to_virt(spte_page(ours)), phys_to_virt(page), level - 1);
            continue;
        }
        assert_int_equal(spte_page(ours).v, page.v);
        mirrored_frames += (unsigned)ept_frames(level);
        if (mirror_is_blocked(ours)) {
            assert_int_equal(frame->state, SECURE_BLOCKED);
            mirrored_stuck += ept_frames(level);
        } else {
            assert_int_equal(ours & EPT_RWX, EPT_RWX);
            assert_true(frame->state == SECURE_PENDING || frame->state == SECURE_MAPPED);
        }
    }
}

/* The external tables are what the mirror says, and every frame that has left the pool belongs to
 * the VM, and is in its tables or is being cleared. */
static void check_mirror(void)
{
    const uint64_t *top = mmu.mirror.table;
    mirrored_frames = 1; /* the root */
    mirrored_stuck = 0;
    check_mirror_table(phys_to_virt(spte_page(top[0])), phys_to_virt(td.root), EPT_LEVEL_1G);
    assert_int_equal(mmu_mirror_stats(&mmu).stuck, mirrored_stuck);
    unsigned taken = 0, kept = mmu.mirror.clearing ? EPT_ENTRIES : 0;
    for (unsigned i = 0; i < POOL_FRAMES; i++)
        taken += pool_taken[i];
    assert_int_equal(taken, mirrored_frames + kept);
    assert_int_equal(td.owned, mirrored_frames + kept);
    world_check(&mmu);
}

/* Ends the VM: every page comes back. */
static void td_destroy(void)
{
    mmu_destroy(&mmu);
    for (unsigned i = 0; i < POOL_FRAMES; i++) {
        if (map_frames[i].owner)
            assert_int_equal(secure_page_reclaim(&td, hpa_add(pool_base, (uint64_t)i << 12)),
                             TDX_SUCCESS);
    }
    assert_true(secure_td_is_gone(&td));
    page_free(pool_base, POOL_ORDER);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

/* ---- What the guest does --------------------------------------------------------------------- */

/* ACCEPT, which is executed again when the page was not there. */
static inline uint64_t td_accepts(uint64_t gpa, unsigned level)
{
    uint64_t status;
    int error;
    unsigned tries = 0;
    do {
        error = mmu_td_accept(&mmu, GPA(gpa), level, &status);
        assert_true(tries++ < 100);
    } while (error == -EAGAIN);
    assert_int_equal(error, 0);
    return status;
}

static inline int td_touch(uint64_t gpa, unsigned access)
{
    return world_touch(&mmu, GPA(gpa), access).outcome;
}

static inline uint64_t *td_page(uint64_t gpa, unsigned access)
{
    struct world_access a = world_touch(&mmu, GPA(gpa), access);
    assert_int_equal(a.outcome, FAULT_FIXED);
    return phys_to_virt(a.page);
}

/* ---- A VM with one slot, which is finalised ---- */

static const struct mmu_config usual = {.mmio_caching = true, .ad = true, .huge = true};

static inline void start(void)
{
    td_create(&usual);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_td_finalise(&mmu), 0);
}

static inline void stop(void)
{
    check_mirror();
    td_destroy();
}

static inline bool logged(const char *text)
{
    return strstr(support_log(), text);
}

static inline unsigned level_of(uint64_t gpa)
{
    hpa_t page;
    unsigned level;
    return mmu_gpa_to_pfn(&mmu, GPA(gpa), &page, &level) ? 0 : level;
}

static inline enum secure_state state_of(uint64_t gpa, unsigned level)
{
    hpa_t page;
    enum secure_state state;
    gfn_t gfn = ept_first_frame(gpa_to_gfn(GPA(gpa)), level);
    return secure_read(&td, gfn, level, &page, &state) ? SECURE_FREE : state;
}
