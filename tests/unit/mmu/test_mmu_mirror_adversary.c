/* SPDX-License-Identifier: MIT */
/*
 * A protected VM against the worst TLB that the SDM allows, and a secure side that refuses at
 * random (rules X2, X3, X5).
 *
 * Two CPUs are in the guest, and keep all translations and pointers to tables that they have ever
 * found, until an INVEPT (mmu_adversary.h). Meanwhile frames are accepted, converted to and fro,
 * and removed with their slot; a CPU that is kicked writes once more by what it has cached. In each
 * seventh change one operation of the mirror is refused. A frame that returns to the pool must be
 * out of reach of every CPU in the guest; what the guest reaches must be the page of the right
 * side, with the right contents; and at any time the external tables must be what the mirror says.
 *
 * MIRROR_SEED and MIRROR_STEPS choose another run.
 */
#include "mmu_adversary.h"

#include "mirror_world.h"

#include <stdio.h>

#define CPUS  2
#define FIRST 0x200u /* of the frames of the slots */
#define HOLE  0xa00u /* the frame at which the second slot begins: 512 frames that come and go */
#define END   0xc00u

static uint64_t random_state;

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static uint64_t private_value[END], shared_value[END]; /* the first word of each page */
static uint64_t stamp;
static bool inside[CPUS], second_slot;

static struct {
    bool active, private;
    uint64_t first, count; /* frames that may lose their pages */
    uint64_t late;         /* what a kicked CPU has written to the first one; 0: nothing */
} change;

static struct {
    uint64_t hits, walks, writes, accepts, large, converted, deleted, splits, late, refused, stuck,
        repaired, given;
} met;

/* ---- What is right --------------------------------------------------------------------------- */

static enum secure_state private_state(uint64_t gfn, hpa_t *page)
{
    enum secure_state state = SECURE_FREE;
    for (unsigned level = EPT_LEVEL_4K; level <= EPT_LEVEL_2M; level++) {
        gfn_t first = ept_first_frame(GFN(gfn), level);
        if (secure_read(&td, first, level, page, &state) || state == SECURE_FREE)
            continue;
        *page = hpa_add(*page, (gfn - first.v) << PAGE_SHIFT);
        const struct secure_frame *f = &map_frames[pool_index(*page)];
        if (level == EPT_LEVEL_2M && state == SECURE_BLOCKED && f->unblocked == SECURE_TABLE)
            continue;
        return state == SECURE_TABLE ? SECURE_FREE : state;
    }
    return SECURE_FREE;
}

static hpa_t right_page(uint64_t gfn, bool shared)
{
    hpa_t page;
    if (!shared)
        return private_state(gfn, &page) == SECURE_MAPPED ? page : PAGE_NONE;
    const void *at = guest_page(&mmu, GPA(SHARED | gfn << PAGE_SHIFT), ACCESS_READ);
    return at ? virt_to_phys(at) : PAGE_NONE;
}

static uint64_t *value_of(uint64_t gfn, bool shared)
{
    return shared ? &shared_value[gfn] : &private_value[gfn];
}

/* After a change, frames without a page have no contents. */
static void settle(uint64_t first, uint64_t count)
{
    for (uint64_t gfn = first; gfn < first + count && gfn < END; gfn++) {
        hpa_t page;
        if (private_state(gfn, &page) == SECURE_FREE)
            private_value[gfn] = 0;
        if (page_is_none(right_page(gfn, true)))
            shared_value[gfn] = 0;
    }
}

/* ---- The CPUs -------------------------------------------------------------------------------- */

static struct place place_of(uint64_t gfn, bool shared)
{
    return (struct place){.gfn = GFN(gfn),
                          .alias = shared,
                          .walked = GFN(gfn | (shared ? SHARED >> PAGE_SHIFT : 0)),
                          .index = shared * 2 * FRAMES + (unsigned)gfn};
}

static void leave(unsigned cpu)
{
    unsigned self = support_cpu;
    support_cpu = cpu;
    world_leave(cpu); /* and passes the epoch */
    inside[cpu] = false;
    support_cpu = self;
}

static void enter(void)
{
    if (inside[support_cpu])
        return;
    tlb_enter(&mmu, support_cpu);
    tlb_assert_paid(&mmu, support_cpu);
    inside[support_cpu] = true;
}

static void judge(const struct place *place, hpa_t page, bool contents)
{
    bool shared = place->alias;
    hpa_t right = right_page(place->gfn.v, shared);
    if (right.v != page.v)
        fail_msg("step %lu: %s frame %#lx: the CPU reaches page %#lx, and should reach %#lx", step,
                 shared ? "shared" : "private", place->gfn.v, page.v, right.v);
    uint64_t value = *(const uint64_t *)phys_to_virt(page);
    if (contents && value != *value_of(place->gfn.v, shared))
        fail_msg("step %lu: %s frame %#lx holds %#lx, not %#lx", step,
                 shared ? "shared" : "private", place->gfn.v, value,
                 *value_of(place->gfn.v, shared));
}

/* All answers that the TLB has. Returns whether there is one, and the last one in *page. */
static bool hits(const struct place *place, unsigned access, hpa_t *page)
{
    struct tlb *tlb = tlb_of(mmu_eptp(&mmu));
    bool hit = false;
    for (unsigned level = 1; level <= 3; level++) {
        for (unsigned i = 0; i < WAYS; i++) {
            const struct cached *c = &tlb->table[level][place->index / PIECE][i];
            if (!c->used)
                continue;
            struct hw_translation t = walk_and_remember(tlb, phys_to_virt(c->page), level,
                                                        c->permission, place, access, true);
            if (t.result == HW_OK)
                judge(place, t.page, true);
        }
    }
    for (unsigned i = 0; i < WAYS; i++) {
        const struct cached *c = &tlb->leaf[place->index][i];
        if (!c->used || access & ~c->permission || (access == 2 && !c->dirty))
            continue;
        judge(place, c->page, true);
        *page = c->page;
        hit = true;
    }
    return hit;
}

/* A CPU that is told to leave writes once more, by a translation that it has. What is removed may
 * be written to until the CPU has left, and not later. */
static void kicked(unsigned cpu)
{
    unsigned self = support_cpu;
    support_cpu = cpu;
    if (change.active && inside[cpu]) {
        struct place place = place_of(change.first, !change.private);
        const struct cached *set = tlb_of(mmu_eptp(&mmu))->leaf[place.index];
        for (unsigned i = 0; i < WAYS; i++) {
            if (!set[i].used || !(set[i].permission & 2))
                continue;
            if (pool_has(set[i].page) && !pool_taken[pool_index(set[i].page)])
                fail_msg("step %lu: a kicked CPU reaches a frame of the pool", step);
            assert_true(support_page_is_used(set[i].page));
            change.late = ++stamp;
            *(uint64_t *)phys_to_virt(set[i].page) = stamp;
            met.late++;
        }
    }
    support_cpu = self;
    leave(cpu);
}

/* A frame that is FREE again is out of reach. */
static void given(hpa_t page, unsigned level)
{
    unsigned self = support_cpu;
    met.given++;
    for (support_cpu = 0; support_cpu < CPUS; support_cpu++) {
        const struct tlb *tlb = tlb_of(mmu_eptp(&mmu));
        for (uint32_t i = 0; inside[support_cpu] && i < tlb->sets; i++)
            for (const struct cached *way = tlb->set[i]; way < tlb->set[i] + WAYS; way++)
                if (way->used && way->page.v - page.v < ept_frames(level) << PAGE_SHIFT)
                    fail_msg("step %lu: CPU %u reaches page %#lx, which is FREE", step, support_cpu,
                             way->page.v);
    }
    support_cpu = self;
}

static bool may_fail(int outcome)
{
    return (outcome == -EIO || outcome == -ENOMEM) && met.refused;
}

/* Handles the violation; returns false if the access is not made. */
static bool violation(uint64_t gfn, bool shared, unsigned access)
{
    struct mmio_info info;
    hpa_t page;
    leave(support_cpu);
    uint64_t stuck = mmu_mirror_stats(&mmu).stuck;
    int outcome = mmu_fault(&mmu, GPA((shared ? SHARED : 0) | gfn << PAGE_SHIFT), access, &info);
    met.repaired += mmu_mirror_stats(&mmu).stuck < stuck;
    if (outcome >= 0 && outcome != FAULT_EMULATE)
        return true;
    bool covered = gfn < HOLE || second_slot;
    enum secure_state state = private_state(gfn, &page);
    if (outcome == FAULT_EMULATE)
        assert_true(shared && !covered);
    else if (outcome == -EFAULT)
        assert_true(!shared && !covered);
    else if (outcome == -EACCES)
        assert_true(page_is_none(right_page(gfn, shared)));
    else
        assert_true(may_fail(outcome) && !shared);
    if (outcome == -EACCES && !shared && covered)
        assert_true(state != SECURE_MAPPED);
    return false;
}

static void do_access(uint64_t gfn, bool shared, unsigned access)
{
    struct place place = place_of(gfn, shared);
    for (unsigned tries = 0; tries < 8; tries++) {
        hpa_t page;
        enter();
        bool hit = hits(&place, access, &page);
        met.hits += hit;
        if (!hit) {
            struct hw_translation t = walk_and_remember(
                tlb_of(mmu_eptp(&mmu)), phys_to_virt(HPA(mmu_eptp(&mmu) & EPTP_ADDRESS)), 4, 7,
                &place, access, true);
            met.walks++;
            page = t.page;
            if (t.result == HW_OK)
                judge(&place, page, true);
            else if (!violation(gfn, shared, access))
                return;
            else
                continue;
        }
        if (access == 2) {
            *value_of(gfn, shared) = ++stamp;
            *(uint64_t *)phys_to_virt(page) = stamp;
            met.writes++;
        }
        return;
    }
    fail_msg("step %lu: the access to frame %#lx never ends", step, gfn);
}

/* ---- The changes ----------------------------------------------------------------------------- */

static void refuse_something(void)
{
    static const enum mirror_op ops[] = {OP_TAKE,  OP_LINK,  OP_AUG,    OP_BLOCK,
                                         OP_TRACK, OP_SPLIT, OP_REMOVE, OP_FREE};
    fail.count = 0;
    if (rnd(7))
        return;
    fail_next(ops[rnd(ARRAY_SIZE(ops))], (unsigned)rnd(3), 1 + (unsigned)rnd(2));
    met.refused++;
}

static void begin_change(uint64_t gfn, uint64_t count, bool private)
{
    leave(support_cpu);
    change.active = true;
    change.private = private;
    change.first = gfn;
    change.count = count;
    change.late = 0;
}

static void end_change(void)
{
    change.active = false;
    settle(change.first, change.count);
    if (change.late && !page_is_none(right_page(change.first, !change.private)))
        *value_of(change.first, !change.private) = change.late; /* the page has stayed */
    hpa_t page;
    if (change.late && change.private && private_state(change.first, &page) == SECURE_BLOCKED)
        private_value[change.first] = change.late;
}

static void accept(uint64_t gfn, unsigned level)
{
    uint64_t status;
    begin_change(gfn, 1, true);
    int error = mmu_td_accept(&mmu, GPA(gfn << PAGE_SHIFT), level, &status);
    assert_true(!error || error == -EAGAIN || error == -EACCES || error == -EFAULT ||
                may_fail(error));
    met.accepts += !error && !status;
    met.large += !error && !status && level == EPT_LEVEL_2M;
    end_change();
}

static void step_accept(uint64_t gfn)
{
    unsigned level = rnd(3) ? EPT_LEVEL_4K : EPT_LEVEL_2M;
    accept(ept_first_frame(GFN(gfn), level).v, level);
}

static void step_convert(uint64_t gfn)
{
    bool shared = rnd(2);
    uint64_t pages = rnd(8) ? 1 + rnd(4) : CONVERT_FRAMES;
    begin_change(gfn, CONVERT_FRAMES, shared);
    int64_t result = mmu_convert(&mmu, GPA(gfn << PAGE_SHIFT), pages, shared);
    assert_true(result > 0 || may_fail((int)result) || result == -EFAULT);
    met.converted += result > 0 ? (uint64_t)result : 0;
    end_change();
}

static void step_slot(void)
{
    begin_change(HOLE, END - HOLE, true);
    if (second_slot)
        assert_int_equal(mmu_slot_delete(&mmu, 2), 0);
    else
        assert_int_equal(mmu_slot_add(&mmu, 2, GPA((uint64_t)HOLE << PAGE_SHIFT), END - HOLE, 0),
                         0);
    met.deleted += second_slot;
    second_slot = !second_slot;
    end_change();
    for (unsigned i = 0; second_slot && i < 8; i++)
        accept(HOLE, EPT_LEVEL_2M);
}

static void step_other(uint64_t gfn)
{
    bool there = !page_is_none(right_page(gfn, true));
    begin_change(gfn, 1, false);
    change.active = false; /* nothing is lost, so there is no late write */
    if (rnd(2))
        assert_int_equal(mmu_zap(&mmu, GPA((uint64_t)FIRST << PAGE_SHIFT), END - FIRST), 0);
    else if (rnd(2))
        (void)mmu_age(&mmu, GPA(gfn << PAGE_SHIFT), 4);
    else
        assert_true(!mmu_host_remap(&mmu, GPA(gfn << PAGE_SHIFT)) || !there);
    end_change();
}

static void one_step(void)
{
    static uint64_t near = FIRST;
    if (rnd(40) == 0)
        near = FIRST + rnd(END - FIRST);
    uint64_t gfn = rnd(8) ? near + rnd(8) : FIRST + rnd(END - FIRST), kind = rnd(100);
    gfn = gfn < END ? gfn : END - 1;
    support_cpu = (unsigned)rnd(CPUS);
    if (kind < 76) {
        fail.count = 0;
        bool shared = gfn < HOLE || second_slot
                          ? guest_page(&mmu, GPA(SHARED | gfn << PAGE_SHIFT), ACCESS_READ) != NULL
                          : rnd(2);
        do_access(gfn, shared ^ !rnd(4), 1u << rnd(2));
        return;
    }
    refuse_something();
    if (kind < 91)
        step_accept(gfn);
    else if (kind < 97)
        step_convert(gfn);
    else if (rnd(3))
        step_other(gfn);
    else
        step_slot();
    met.stuck += mmu_mirror_stats(&mmu).stuck != 0;
}

static void play(uint64_t seed, uint64_t steps, const struct mmu_config *config)
{
    td_create(config);
    invept_hook = adversary_invept;
    kick_hook = kicked;
    give_hook = given;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        epoch_online(cpu, NULL);
    for (unsigned i = 0; i < tags; i++)
        free(tlbs[i]);
    tags = 0;
    memset(private_value, 0, sizeof(private_value));
    memset(shared_value, 0, sizeof(shared_value));
    memset(inside, 0, sizeof(inside));
    memset(&met, 0, sizeof(met));
    second_slot = false;
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    printf("mirror: seed %lu, %lu steps, %s\n", seed, steps, config->huge ? "2 MiB" : "4 KiB");
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(FIRST << PAGE_SHIFT), HOLE - FIRST, 0), 0);
    assert_int_equal(mmu_td_finalise(&mmu), 0);

    for (step = 0; step < steps; step++) {
        one_step();
        if (step % 1024 == 0)
            check_mirror();
    }
    check_mirror();
    met.splits = mmu_stats(&mmu).splits;
    printf("    %lu hits, %lu walks, %lu writes, %lu accepts (%lu large), %lu converted, %lu slots "
           "deleted\n",
           met.hits, met.walks, met.writes, met.accepts, met.large, met.converted, met.deleted);
    printf(
        "    %lu splits, %lu late writes, %lu refusals, %lu steps with stuck pages, %lu repairs, "
        "%lu frames given back\n",
        met.splits, met.late, met.refused, met.stuck, met.repaired, met.given);
    if (steps >= 100000) {
        assert_true(met.hits > steps / 8 && met.writes > steps / 16 && met.accepts > steps / 100 &&
                    met.converted > steps / 50 && met.deleted > 50);
        assert_true(met.late > 100 && met.refused > steps / 100 && met.stuck > 100 &&
                    met.given > steps / 100);
        assert_true(!config->huge || (met.large > 20 && met.splits > 20 && met.repaired > 0));
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        leave(cpu);
    give_hook = NULL;
    td_destroy();
}

#define RUN(name, seed, ...)                                                              \
    static void name(void **state)                                                        \
    {                                                                                     \
        (void)state;                                                                      \
        const struct mmu_config config = {.mmio_caching = true, .ad = true, __VA_ARGS__}; \
        play(support_number("MIRROR_SEED", seed), support_number("MIRROR_STEPS", 100000), \
             &config);                                                                    \
    }

RUN(large_and_small_pages, 1, .huge = true)
RUN(small_pages, 2, .huge = false)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_and_small_pages),
        cmocka_unit_test(small_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
