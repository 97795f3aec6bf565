/* SPDX-License-Identifier: MIT */
/*
 * A hypervisor that calls the secure side in any order, with any operands, for two TDs at once:
 * each status is the one that a second, plain reading of the rules gives, no frame ever has two
 * owners, no CPU in a guest reaches one that is FREE, and what leaves a TD is cleared (rules X12 to
 * X14).
 *
 * SECURE_STEPS says how many calls, SECURE_SEED which.
 */
#include "tests/unit/ept/secure_model.h"

#include <stdio.h>
#include <stdlib.h>

static struct world_td world[TDS];
static uint64_t seed, steps;

enum call {
    CREATE,
    FINALISE,
    STOP,
    RECLAIM,
    LINK,
    ADD,
    AUG,
    ACCEPT,
    BLOCK,
    TRACK,
    REMOVE,
    DEMOTE,
    UNLINK,
    READ,
    ENTER,
    LEAVE,
    READ_BYTES,
    GUEST,
    CALLS,
};

/* How often each call was made, and has succeeded; and how often each status was returned, by its
 * bits 47:32. */
static uint64_t calls[CALLS], answers[CALLS];
static uint64_t refusals[0x10000];

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % below;
}

static uint64_t any_gfn(unsigned level)
{
    static const uint16_t inside[] = {0, 0, 1, 2, 511};
    uint64_t region = any(REGIONS);
    if (!any(64))
        return any(4 * EPT_ENTRIES);
    return region * EPT_ENTRIES + (level == 2 ? 0 : inside[any(ARRAY_SIZE(inside))]);
}

static unsigned any_level(void)
{
    return any(32) ? 1 + (any(4) == 0) : (unsigned)any(6);
}

static hpa_t any_page(unsigned level)
{
    static const uint16_t inside[] = {0, 1, 2, 3, 4, 5, 6, 511};
    if (!any(64))
        return HPA(POOL_BASE - 2 * PAGE_SIZE + any(POOL_FRAMES + 4) * PAGE_SIZE);
    if (!any(128))
        return HPA(any(2) ? any(~0ull) : POOL_BASE + any(POOL_FRAMES * PAGE_SIZE));
    /* Small pages are mostly taken from the first pieces, so that some stay whole. */
    uint64_t piece = any(level == 2 || !any(100) ? POOL_PIECES - !!any(8) : POOL_PIECES / 2);
    return page_at(piece * EPT_ENTRIES + (level == 2 ? 0 : inside[any(ARRAY_SIZE(inside))]));
}

static void check_content(uint64_t frame, uint64_t count)
{
    static const uint64_t zeros[EPT_ENTRIES];
    for (uint64_t f = frame; f < frame + count; f++)
        assert_memory_equal(world_memory[f], zeros, PAGE_SIZE);
}

/* What has become FREE is out of reach. */
static void left(const struct world_td *w, uint64_t frame, uint64_t count)
{
    check_out_of_reach(w, page_at(frame), count > 1 ? EPT_LEVEL_2M : EPT_LEVEL_4K);
}

/* What has left the map holds nothing of a guest; then the hypervisor writes to it. */
static uint64_t call_leave(uint64_t *wanted)
{
    unsigned piece = (unsigned)any(POOL_PIECES);
    uint64_t first = piece * EPT_ENTRIES;
    struct secure_frame *frames = NULL;
    *wanted = model_leave(piece);
    uint64_t status =
        secure_block_remove(&world_map, page_at(first), &world_host, &world[0], &frames);
    if (status)
        return status;
    assert_ptr_equal(frames, &world_frames[first]);
    for (uint64_t f = first; f < first + EPT_ENTRIES; f++) {
        if (model_holds[f] != SECURE_FOREIGN)
            check_content(f, 1);
        world_memory[f][any(EPT_ENTRIES)] = 0xbad;
    }
    world_hidden[piece] = any(4);
    return status;
}

/* The hypervisor forgets to take a block out of the direct map, or a CPU to flush. */
static uint64_t call_enter(uint64_t *wanted)
{
    unsigned piece = (unsigned)any(POOL_PIECES), cpu = (unsigned)any(GUEST_CPUS);
    for (unsigned i = 0; i < POOL_PIECES; i++)
        if (model_out[piece])
            break;
        else
            piece = (piece + 1) % POOL_PIECES;
    if (!any(8))
        (void)host_tlb_owe();
    if (model_out[piece] && any(2))
        world_hidden[piece] = true;
    if (any(2))
        (void)host_tlb_pay(cpu);
    *wanted = model_enter(piece);
    return world_add(piece);
}

static uint64_t call_bytes(unsigned t, gfn_t gfn, uint64_t *wanted)
{
    static uint8_t bytes[PAGE_SIZE];
    unsigned offset = (unsigned)any(PAGE_SIZE), size = (unsigned)any(any(8) ? 16 : 5000);
    struct model_td *m = &models[t];
    struct model_entry *entry = NULL;
    *wanted = offset + size > PAGE_SIZE ? TDX_OPERAND_INVALID : model_range(gfn.v, 1, 1);
    uint64_t found = *wanted ? *wanted : model_find(m, gfn.v, 1, &entry), within = 0;
    if (!*wanted && m->life != SECURE_STOPPED && m->large[gfn.v / 512].what == MAPPED) {
        entry = &m->large[gfn.v / 512];
        found = entry->blocked ? found : TDX_SUCCESS;
        within = gfn.v % 512;
    }
    if (!*wanted)
        *wanted = found                                      ? found
                  : entry->what == MAPPED && !entry->blocked ? TDX_SUCCESS
                                                             : TDX_EPT_ENTRY_STATE_INCORRECT;
    uint64_t status = secure_read_private(&world[t].td, gfn, offset, bytes, size);
    if (status)
        return status;
    assert_memory_equal(bytes, (uint8_t *)world_memory[entry->frame + within] + offset, size);
    bytes[0] ^= 1;
    assert_int_equal(secure_write_private(&world[t].td, gfn, offset, bytes, size), TDX_SUCCESS);
    assert_memory_equal(bytes, (uint8_t *)world_memory[entry->frame + within] + offset, size);
    return status;
}

static uint64_t call_create(unsigned t, uint64_t *wanted)
{
    struct world_td *w = &world[t];
    struct model_td *m = &models[t];
    hpa_t root = any_page(1);
    if (m->exists && !(m->life == SECURE_STOPPED && secure_td_is_gone(&w->td)))
        return *wanted = 1; /* not called */
    *wanted = model_page(root, 1);
    uint64_t status = world_create(w, EPT_LEVEL_2M, END, root);
    w->td.pending_ve = t;
    if (!status) {
        *m = (struct model_td){.exists = true, .newest = w->epoch};
        model_own((uint8_t)(t + 1), frame_at(root), 1);
    } else {
        m->exists = false;
    }
    return status;
}

static uint64_t call_life(unsigned t, enum call call, uint64_t *wanted)
{
    struct model_td *m = &models[t];
    uint64_t stopped = m->life == SECURE_STOPPED ? TDX_LIFECYCLE_STATE_INCORRECT : TDX_SUCCESS;
    if (call == FINALISE) {
        *wanted = m->life == SECURE_FINALISED ? TDX_OP_STATE_INCORRECT : stopped;
        if (!*wanted)
            m->life = SECURE_FINALISED;
        return secure_td_finalise(&world[t].td);
    }
    *wanted = stopped;
    if (!*wanted) {
        m->life = SECURE_STOPPED;
        m->newest = world[t].epoch + 1;
        for (unsigned i = 0; i < GUEST_CPUS; i++)
            if (any(2))
                world[t].cpu[i].inside = false;
    }
    return secure_td_stop(&world[t].td);
}

static uint64_t call_reclaim(unsigned t, uint64_t *wanted)
{
    hpa_t page = any_page(1);
    if (models[t].life == SECURE_STOPPED && any(4)) { /* one that can be reclaimed */
        uint64_t frame = any(POOL_FRAMES);
        for (unsigned i = 0; i < POOL_FRAMES && model_owner[frame] != t + 1; i++)
            frame = (frame + 1) % POOL_FRAMES;
        page = page_at(frame);
    }
    uint64_t count = frame_at(page) < POOL_FRAMES ? model_size[frame_at(page)] : 0;
    *wanted = model_reclaim(t, &world[t], page);
    uint64_t status = secure_page_reclaim(&world[t].td, page);
    if (!status)
        left(&world[t], frame_at(page), count);
    return status;
}

static uint64_t call_add(unsigned t, enum call call, gfn_t gfn, unsigned level, uint64_t *wanted)
{
    static uint64_t source[EPT_ENTRIES];
    struct secure_td *td = &world[t].td;
    hpa_t page = any_page(call == AUG ? level : 1);
    if (call == LINK) {
        *wanted = model_add(t, TABLE, gfn.v, level, page);
        return secure_table_add(td, gfn, level, page);
    }
    if (call == ADD) {
        unsigned measured = world[t].measured;
        source[any(EPT_ENTRIES)] = seed;
        *wanted = model_add(t, MAPPED, gfn.v, 1, page);
        uint64_t status = secure_page_add(td, gfn, page, source);
        assert_int_equal(world[t].measured, measured + !status);
        if (!status)
            assert_memory_equal(world_memory[frame_at(page)], source, PAGE_SIZE);
        return status;
    }
    *wanted = model_add(t, PENDING, gfn.v, level, page);
    uint64_t status = secure_page_aug(td, gfn, level, page);
    if (!status)
        check_content(frame_at(page), ept_frames(level));
    return status;
}

static uint64_t call_remove(unsigned t, enum call call, gfn_t gfn, unsigned level, uint64_t *wanted)
{
    uint64_t frame = 0;
    *wanted = model_remove(t, &world[t], gfn.v, level, call == UNLINK, &frame);
    uint64_t status = call == UNLINK ? secure_table_remove(&world[t].td, gfn, level)
                                     : secure_page_remove(&world[t].td, gfn, level);
    if (!status)
        left(&world[t], frame, call == UNLINK ? 1 : ept_frames(level));
    return status;
}

static uint64_t call_read(unsigned t, gfn_t gfn, unsigned level, uint64_t *wanted)
{
    static const uint8_t states[] = {SECURE_FREE, SECURE_TABLE, SECURE_PENDING, SECURE_MAPPED};
    struct model_entry *entry = NULL;
    hpa_t page;
    enum secure_state state;
    *wanted = model_range(gfn.v, level, 1);
    if (!*wanted)
        *wanted = model_find(&models[t], gfn.v, level, &entry);
    uint64_t status = secure_read(&world[t].td, gfn, level, &page, &state);
    if (status)
        return status;
    assert_int_equal(state, entry->blocked ? SECURE_BLOCKED : states[entry->what]);
    if (entry->what != EMPTY)
        assert_int_equal(page.v, page_at(entry->frame).v);
    return status;
}

/* A CPU enters the guest, or accesses memory, by the tables or by its TLB; or it leaves. */
static void run_guest(unsigned t)
{
    struct world_td *w = &world[t];
    struct guest_cpu *cpu = &w->cpu[any(GUEST_CPUS)];
    if (models[t].life != SECURE_FINALISED || !any(4)) {
        cpu->inside = false;
        return;
    }
    if (!cpu->inside)
        cpu_enter(w, cpu);
    uint64_t gfn = any_gfn(1);
    if (gfn >= END)
        return;
    uint64_t *word = cpu_walk(w, cpu, GFN(gfn));
    struct model_entry *large = &models[t].large[gfn / 512],
                       *entry =
                           large->what == TABLE ? &models[t].small[gfn / 512][gfn % 512] : large;
    assert_int_equal(word != NULL, !large->blocked && !entry->blocked && entry->what == MAPPED);
    if (word)
        word[any(EPT_ENTRIES)] = 0x5ec2e7 + t;
    uint64_t frame = any(POOL_FRAMES);
    if (cpu->reach[frame])
        assert_int_equal(model_owner[frame], t + 1);
}

/* A table that is blocked before it is empty can never be used again, so that is rare. */
static bool any_block_of_table(unsigned t, uint64_t gfn)
{
    const struct model_td *m = &models[t];
    bool empty = m->large[gfn / 512].what == TABLE;
    for (unsigned i = 0; empty && i < EPT_ENTRIES; i++)
        empty = m->small[gfn / 512][i].what == EMPTY;
    return empty || m->large[gfn / 512].what != TABLE || !any(500);
}

static uint64_t make_call(unsigned t, enum call call, uint64_t *wanted)
{
    struct secure_td *td = &world[t].td;
    unsigned level = call == LINK || call == UNLINK ? 2 + (unsigned)!any(64) : any_level();
    gfn_t gfn = GFN(any_gfn(call == DEMOTE ? 2 : call == ADD ? 1 : level));
    if (call == LINK && any(40) && gfn.v / EPT_ENTRIES == REGIONS - 1)
        gfn.v = 0; /* a region that mostly has no table */
    switch (call) {
    case FINALISE:
    case STOP:
        return call_life(t, call, wanted);
    case RECLAIM:
        return call_reclaim(t, wanted);
    case LINK:
    case ADD:
    case AUG:
        return call_add(t, call, gfn, level, wanted);
    case ACCEPT:
        *wanted = model_accept(t, gfn.v, level);
        return secure_page_accept(td, gfn, level);
    case BLOCK:
        if (level == 2 && gfn.v < END && !any_block_of_table(t, gfn.v))
            level = 1;
        *wanted = model_block(t, gfn.v, level);
        return secure_range_block(td, gfn, level);
    case TRACK:
        *wanted = model_track(t, &world[t]);
        return secure_track(td);
    case REMOVE:
    case UNLINK:
        return call_remove(t, call, gfn, level, wanted);
    case DEMOTE: {
        hpa_t table = any_page(1);
        *wanted = model_demote(t, &world[t], gfn.v, table);
        return secure_page_demote(td, gfn, table);
    }
    case READ:
        return call_read(t, gfn, level, wanted);
    case ENTER:
        return call_enter(wanted);
    case LEAVE:
        return call_leave(wanted);
    case READ_BYTES:
        return call_bytes(t, gfn, wanted);
    default:
        run_guest(t);
        return *wanted = TDX_SUCCESS;
    }
}

/* Rare calls end much, or take long. */
static enum call any_call(unsigned t)
{
    enum call call = (enum call)any(CALLS);
    if (call == STOP && any(500))
        return GUEST;
    if (call == FINALISE && any(20))
        return ADD;
    if (call == LEAVE && any(20))
        return AUG;
    return models[t].life == SECURE_STOPPED && any(4) ? RECLAIM : call;
}

static void any_order_of_calls(void **state)
{
    (void)state;
    uint64_t first_seed = seed;
    world_reset();
    for (unsigned cpu = 0; cpu < GUEST_CPUS; cpu++)
        host_tlb_join(cpu);
    for (uint64_t i = 0; i < steps; i++) {
        unsigned t = (unsigned)any(TDS);
        enum call call = models[t].exists ? any_call(t) : CREATE;
        uint64_t wanted;
        uint64_t status = call == CREATE ? call_create(t, &wanted) : make_call(t, call, &wanted);
        if (status != wanted)
            fail_msg("SECURE_SEED=%lu, step %lu, call %u for TD %u: %#lx, not %#lx", first_seed, i,
                     call, t, status, wanted);
        calls[call]++;
        answers[call] += !status;
        refusals[status >> 32 & 0xffff]++;
        if (!(i % 2048))
            check_world(world, TDS);
    }
    check_world(world, TDS);
}

static void nothing_was_left_untried(void **state)
{
    (void)state;
    if (getenv("VERBOSE"))
        for (unsigned i = 0; i < CALLS; i++)
            printf("call %u: %lu of %lu succeeded\n", i, answers[i], calls[i]);
    static const uint64_t all[] = {
        TDX_OPERAND_INVALID,           TDX_OPERAND_ADDR_RANGE_ERROR,  TDX_PREVIOUS_TLB_EPOCH_BUSY,
        TDX_PAGE_METADATA_INCORRECT,   TDX_LIFECYCLE_STATE_INCORRECT, TDX_OP_STATE_INCORRECT,
        TDX_FLUSHVP_NOT_DONE,          TDX_EPT_WALK_FAILED,           TDX_GPA_RANGE_NOT_BLOCKED,
        TDX_GPA_RANGE_ALREADY_BLOCKED, TDX_TLB_TRACKING_NOT_DONE,     TDX_PAGE_ALREADY_ACCEPTED,
        TDX_PAGE_SIZE_MISMATCH,        TDX_EPT_ENTRY_STATE_INCORRECT, TDX_EPT_PAGE_NOT_FREE,
        TDX_INTERRUPTED_RESUMABLE,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
        if (!refusals[all[i] >> 32 & 0xffff])
            fail_msg("the status %#lx never came", all[i]);
    for (unsigned i = 0; i < CALLS; i++)
        if (answers[i] < 5)
            fail_msg("call %u succeeded %lu times", i, answers[i]);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

int main(void)
{
    steps = from_environment("SECURE_STEPS", 200000);
    seed = from_environment("SECURE_SEED", 20) * 0x9e3779b97f4a7c15ull | 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_calls),
        cmocka_unit_test(nothing_was_left_untried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
