/*
 * The flush rules against the worst TLB that the SDM allows (decision D8).
 *
 * A CPU keeps every translation that it ever walked, and every pointer to a table that it ever
 * followed, until an INVEPT covers it, and of all answers that it could give it gives each: if one
 * of them is not what the guest should see, the test ends. Beside it stands a plain model: for each
 * VM a list of slots with what was last written to each page, whether that is in the dirty log, how
 * often it is tracked, and which side it is on.
 *
 * Two VMs live on two CPUs, one of which takes #VE; each has up to two stolen bits somewhere. A CPU
 * stays in the guest, with its TLB, while the other one changes slots, sides and tables, until it
 * is kicked. The seed is printed; ADVERSARY_SEED and ADVERSARY_STEPS choose another run.
 */
#include "tests/unit/mmu/mmu_accesses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Steps ----------------------------------------------------------------------------------- */

static void forget_slot(struct slot_model *slot)
{
    free(slot->page);
    *slot = (struct slot_model){0};
}

static void step_add(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    uint64_t base, pages, before = mmu_invept_count(&vm->mmu);
    uint64_t zaps = vm->mmu.cpu[0].stats.full_zaps;
    bool readonly = rnd(4) == 0, shared = vm->sides && rnd(4) == 0;
    random_range(vm, &base, &pages);
    if (slot->used)
        return;
    bool room = model_free(vm, base, pages, SLOTS);
    int error =
        mmu_slot_add(&vm->mmu, id, GPA(base << 12), pages,
                     (uint32_t)((readonly ? MEMSLOT_READONLY : 0) | (shared ? MEMSLOT_SHARED : 0)));
    assert_int_equal(error, room ? 0 : -EEXIST);
    if (vm->mmu.cpu[0].stats.full_zaps ==
        zaps) /* no wrap: RAM over MMIO flushes nothing (rule T2) */
        assert_int_equal(mmu_invept_count(&vm->mmu), before);
    if (room) {
        *slot =
            (struct slot_model){.used = true, .readonly = readonly, .base = base, .pages = pages};
        slot->page = calloc(pages, sizeof(*slot->page));
        for (uint64_t i = 0; i < pages; i++)
            slot->page[i].shared = shared;
        model_count_shared(vm);
        met.changes++;
    }
}

static void step_delete(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    assert_int_equal(mmu_slot_delete(&vm->mmu, id), slot->used ? 0 : -EINVAL);
    if (slot->used) {
        met.changes++;
        forget_slot(slot);
        model_count_shared(vm);
    }
}

static void step_move(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    uint64_t base, ignored;
    random_range(vm, &base, &ignored);
    if (base % FRAMES + slot->pages > FRAMES)
        return;
    int expected = !slot->used ? -EINVAL : model_free(vm, base, slot->pages, id) ? 0 : -EEXIST;
    assert_int_equal(mmu_slot_move(&vm->mmu, id, GPA(base << 12)), expected);
    if (!expected) {
        met.changes++;
        slot->base = base;
        model_count_shared(vm);
    }
}

static void step_flags(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    bool readonly = rnd(4) == 0, logs = rnd(2);
    uint32_t flags = (uint32_t)((readonly ? MEMSLOT_READONLY : 0) | (logs ? MEMSLOT_LOG_DIRTY : 0));
    int error = mmu_slot_flags(&vm->mmu, id, flags);
    assert_int_equal(error, slot->used ? 0 : -EINVAL);
    if (!slot->used)
        return;
    met.changes++;
    if (logs && !slot->logs) { /* what was written before does not count */
        for (uint64_t i = 0; i < slot->pages; i++)
            slot->page[i].dirty = false;
    }
    slot->readonly = readonly;
    slot->logs = logs;
}

/* No page that was written is missing from the log, whoever wrote it and however. */
static void step_dirty_get(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    static uint64_t bitmap[FRAMES / 64];
    size_t words = slot->used ? (slot->pages + 63) / 64 : 1;
    int error = mmu_dirty_get(&vm->mmu, id, 0, bitmap, words);
    assert_int_equal(error, slot->used && slot->logs ? 0 : -EINVAL);
    for (uint64_t i = 0; !error && i < slot->pages; i++) {
        bool found = bitmap[i / 64] >> (i % 64) & 1;
        met.dirty += found;
        if (slot->page[i].dirty && !found)
            fail_msg("step %lu: frame %#lx was written and is not in the log", step,
                     slot->base + i);
        slot->page[i].dirty = false;
    }
}

static void step_track(struct vm *vm, gfn_t gfn)
{
    struct slot_model *slot = model_slot(vm, gfn);
    bool add = rnd(2);
    unsigned *tracked = slot ? &slot->page[gfn.v - slot->base].tracked : NULL;
    if (add)
        assert_int_equal(mmu_track(&vm->mmu, gfn_to_gpa(gfn)), slot ? 0 : -EFAULT);
    else
        assert_int_equal(mmu_untrack(&vm->mmu, gfn_to_gpa(gfn)), slot && *tracked ? 0 : -EINVAL);
    if (slot && (add || *tracked))
        *tracked += add ? 1u : ~0u;
}

static void step_host(struct vm *vm, gfn_t gfn)
{
    bool there = proper_page(vm, gfn);
    if (rnd(2)) {
        assert_int_equal(mmu_host_remap(&vm->mmu, gfn_to_gpa(gfn)), there ? 0 : -EFAULT);
        met.remaps += there;
    } else {
        (void)mmu_age(&vm->mmu, gfn_to_gpa(gfn), 1 + rnd(64));
        if (rnd(4) == 0)
            (void)mmu_nx_recover(&vm->mmu);
    }
}

/* Up to what is there already, behind something that is not. */
static uint64_t convertible(const struct slot_model *slot, uint64_t first, uint64_t pages,
                            bool shared)
{
    uint64_t end = first;
    while (end < first + pages && slot->page[end].shared == shared)
        end++;
    while (end < first + pages && slot->page[end].shared != shared)
        end++;
    return end - first;
}

/* What was on the other side comes out cleared; what is there already keeps what it holds (X5). */
static void step_convert(struct vm *vm, gfn_t gfn)
{
    bool shared = rnd(2);
    uint64_t pages = rnd(3) ? 1 + rnd(4) : rnd(2 * PIECE),
             left = CONVERT_FRAMES - gfn.v % CONVERT_FRAMES;
    struct slot_model *slot = model_slot(vm, gfn);
    uint64_t first = slot ? gfn.v - slot->base : 0, room = slot ? slot->pages - first : 0;
    uint64_t expected = pages < left ? pages : left;
    expected = expected < room ? expected : room;
    if (slot && vm->sides)
        expected = convertible(slot, first, expected, shared);
    if (expected && vm->sides && slot->page[first].shared != shared) {
        converting.vm = vm;
        converting.gfn = gfn;
    }
    int64_t result = mmu_convert(&vm->mmu, gfn_to_gpa(gfn), pages, shared);
    converting.vm = NULL;
    if (!vm->sides || !pages || !slot) {
        assert_int_equal(result, vm->sides && pages ? -EFAULT : -EINVAL);
        return;
    }
    assert_int_equal(result, expected);
    for (uint64_t i = first; i < first + expected; i++) {
        struct page_model *page = &slot->page[i];
        if (page->shared == shared)
            continue;
        page->shared = shared;
        page->dirty = page->dirty || page->value;
        page->value = 0;
        met.converted++;
    }
    model_count_shared(vm);
}

static void step_zap(struct vm *vm)
{
    uint64_t base, pages;
    random_range(vm, &base, &pages);
    assert_int_equal(mmu_zap(&vm->mmu, GPA(base << 12), pages), 0);
}

/* Like a device or a loader: around the tables. */
static void step_guest_write(struct vm *vm)
{
    struct place place = random_place(vm, interesting_frame(vm));
    bool devices = !(place.alias & XO_ALIAS) && (!vm->sides || place.alias & SHARED_ALIAS);
    int outcome = model_outcome(vm, &place, 2);
    uint64_t value = ++stamp;
    int error = guest_write(&vm->mmu, gpa_of(&place), &value, sizeof(value));
    if (outcome == MODEL_RAM || outcome == MODEL_GUARDED) {
        assert_int_equal(error, 0);
        written(vm, place.gfn);
    } else {
        assert_int_equal(error, outcome >= 0 && devices ? -EFAULT : -EACCES);
    }
}

static void step_near_wrap(struct vm *vm)
{
    uint64_t now = mmu_slot_generation(&vm->mmu);
    uint64_t near = (now | SPTE_GENERATION_MASK) - rnd(6);
    assert_int_equal(mmu_set_generation(&vm->mmu, near), near >= now ? 0 : -EINVAL);
}

static void end_vm(struct vm *vm)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        if (in_guest[cpu] == vm)
            leave(cpu);
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        met.splits += vm->mmu.cpu[cpu].stats.splits;
        met.fast += vm->mmu.cpu[cpu].stats.fast_faults;
    }
    mmu_destroy(&vm->mmu);
    for (unsigned i = 0; i < SLOTS; i++)
        forget_slot(&vm->slot[i]);
    vm->alive = false;
    met.lives++;
}

/* The other CPU, which may be in the guest with a translation of this frame. */
static void other_writes(struct vm *vm, gfn_t gfn)
{
    struct place place = proper_place(vm, gfn);
    support_cpu = !support_cpu;
    do_access(vm, &place, 2);
    support_cpu = !support_cpu;
}

static void change(struct vm *vm, uint64_t kind, unsigned id)
{
    gfn_t gfn = interesting_frame(vm);
    bool provoke = rnd(2) && kind < 998;
    if (kind < 965)
        gfn.v -= rnd(2) ? gfn.v % PIECE : 0; /* whole pieces change sides, too */
    if (provoke)
        other_writes(vm, gfn);
    leave(support_cpu);
    if (kind < 965)
        step_convert(vm, gfn);
    else if (kind < 970)
        step_add(vm, id);
    else if (kind < 972)
        step_delete(vm, id);
    else if (kind < 975)
        step_move(vm, id);
    else if (kind < 979)
        step_flags(vm, id);
    else if (kind < 982)
        step_zap(vm);
    else if (kind < 986)
        step_dirty_get(vm, id);
    else if (kind < 989)
        step_track(vm, gfn);
    else if (kind < 992)
        step_host(vm, gfn);
    else if (kind < 998)
        step_guest_write(vm);
    else if (kind == 998)
        step_near_wrap(vm);
    else if (rnd(8) == 0)
        end_vm(vm);
    if (!provoke)
        return;
    other_writes(vm, gfn);
    for (unsigned alias = 0; alias < ALIASES; alias++) {
        struct place place = place_of(vm, gfn, alias);
        if (alias_exists(vm, alias))
            do_access(vm, &place, random_access(&place));
    }
}

/* A VM with none, one or two stolen bits anywhere; the first one takes #VE. */
static void begin_vm(struct vm *vm)
{
    static const enum stolen_purpose purposes[] = {STOLEN_SHARED, STOLEN_EXECUTE_ONLY};
    uint64_t count = rnd(STOLEN_MAX + 1), which = rnd(2), lowest = 64, bit = 0;
    memset(vm, 0, sizeof(*vm));
    assert_int_equal(mmu_create(&vm->mmu), 0);
    for (; count; count--, which = !which) {
        uint64_t next = STOLEN_LOW + rnd(WORLD_MAXPHYADDR - STOLEN_LOW);
        bit = next == bit ? (bit == STOLEN_LOW ? bit + 1 : bit - 1) : next;
        assert_int_equal(mmu_steal_bit(&vm->mmu, (unsigned)bit, purposes[which]), 0);
        vm->bits[1u << which] = 1ull << (bit - 12);
        lowest = bit < lowest ? bit : lowest;
        *(which ? &vm->execute_only : &vm->sides) = true;
    }
    vm->bits[SHARED_ALIAS | XO_ALIAS] = vm->bits[SHARED_ALIAS] | vm->bits[XO_ALIAS];
    vm->high = lowest < 34 ? (1ull << (lowest - 12)) - FRAMES : 0x200000; /* the last that it can */
    vm->ve = vm == &vms[0] && mmu_config()->mmio_caching;
    if (vm->ve)
        assert_int_equal(mmu_take_ve(&vm->mmu), 0);
    vm->alive = true;
}

static void one_step(struct vm *vm)
{
    uint64_t kind = rnd(1000);
    unsigned id = (unsigned)rnd(SLOTS);
    support_cpu = (unsigned)rnd(CPUS);
    if (!vm->alive)
        begin_vm(vm);
    uint64_t zaps = vm->mmu.cpu[support_cpu].stats.full_zaps;
    if (kind < 960) {
        struct place place = random_place(vm, interesting_frame(vm));
        do_access(vm, &place, random_access(&place));
        check_aliases(vm, place.gfn);
    } else {
        change(vm, kind, id);
    }
    if (vm->alive)
        met.wraps += vm->mmu.cpu[support_cpu].stats.full_zaps != zaps;
}

static void play(uint64_t seed, uint64_t steps, uint64_t msr, struct mmu_config config)
{
    struct vm *vm = &vms[0];
    world_reset(msr, &config);
    invept_hook = adversary_invept;
    kick_hook = kicked;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        epoch_online(cpu, NULL);
    memset(in_guest, 0, sizeof(in_guest));
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    for (unsigned i = 0; i < tags; i++)
        free(tlbs[i]);
    tags = 0;
    memset(vms, 0, sizeof(vms));
    memset(&converting, 0, sizeof(converting));
    memset(&met, 0, sizeof(met));
    printf("adversary: seed %lu, %lu steps, %s, %s, mmio_caching=%d\n", seed, steps,
           config.huge ? "2 MiB" : "4 KiB", config.ad ? "A/D" : "no A/D", config.mmio_caching);

    for (step = 0; step < steps; step++) {
        if (rnd(8) == 0)
            vm = &vms[rnd(VMS)];
        one_step(vm);
        if (step % 8192 == 0 && vm->alive)
            world_check(&vm->mmu);
    }
    for (unsigned i = 0; i < VMS; i++) {
        if (vms[i].alive) {
            world_check(&vms[i].mmu);
            end_vm(&vms[i]);
        }
    }
    printf("    %lu hits, %lu writes, %lu emulated, %lu slot changes, %lu tables replaced, "
           "%lu full zaps, %lu VMs\n",
           met.hits, met.writes, met.emulated, met.changes, met.replaced, met.wraps, met.lives);
    printf("    %lu kicks, %lu splits, %lu fast faults, %lu dirty pages, %lu tracked writes, "
           "%lu remaps\n",
           met.kicked, met.splits, met.fast, met.dirty, met.guarded, met.remaps);
    printf("    %lu refused, %lu pages converted, %lu late writes, %lu in mixed ranges, %lu #VE, "
           "%lu with an exit, %lu aliases\n",
           met.refused, met.converted, met.late, met.mixed, met.ve, met.ve_exits, met.aliases);
    if (steps >= 100000) {
        assert_true(met.hits > steps / 8 && met.writes > steps / 32 && met.emulated > steps / 16 &&
                    met.changes > steps / 1000 && met.wraps > 10 && met.lives > 4);
        assert_true(met.kicked > 100 && (config.ad || met.fast > 10) && met.dirty > 100 &&
                    met.guarded > 10 && met.remaps > 10);
        assert_true(!config.huge || (met.replaced > 10 && met.splits > 10));
        assert_true(met.refused > steps / 100 && met.converted > steps / 400 && met.late > 10 &&
                    met.mixed > 100 && met.aliases > steps / 8);
        assert_true(!config.mmio_caching || (met.ve > steps / 64 && met.ve_exits > steps / 64));
    }
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

#define RUN(name, seed, msr, ...)                                                    \
    static void name(void **state)                                                   \
    {                                                                                \
        (void)state;                                                                 \
        play(number("ADVERSARY_SEED", seed), number("ADVERSARY_STEPS", 200000), msr, \
             (struct mmu_config){__VA_ARGS__});                                      \
    }

RUN(everything, 1, WORLD_CAPS, .mmio_caching = true, .ad = true, .huge = true)
RUN(small_pages_without_ad, 2, WORLD_CAPS, .mmio_caching = true, .slot_generation_start = 0x7fff0)
RUN(no_mmio_sptes, 3, WORLD_CAPS, .huge = true, .ad = true)
RUN(large_pages_not_executable, 5, WORLD_CAPS, .mmio_caching = true, .ad = true, .huge = true,
    .nx_huge = true)
RUN(only_global_invept, 4, WORLD_CAPS & ~EPT_CAP_INVEPT_SINGLE, .mmio_caching = true, .huge = true)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),         cmocka_unit_test(small_pages_without_ad),
        cmocka_unit_test(no_mmio_sptes),      cmocka_unit_test(large_pages_not_executable),
        cmocka_unit_test(only_global_invept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
