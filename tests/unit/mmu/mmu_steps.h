/* SPDX-License-Identifier: MIT */
/*
 * The steps by which the hypervisor changes memory under the guests of test_mmu_adversary.c. Each
 * makes the same change in the model.
 */
#pragma once

#include "tests/unit/mmu/mmu_accesses.h"

static void forget_slot(struct slot_model *slot)
{
    free(slot->page);
    *slot = (struct slot_model){0};
}

/* Full zaps by this CPU: the generation has wrapped. */
static uint64_t full_zaps(const struct vm *vm)
{
    return vm->mmu.cpu[support_cpu].stats.full_zaps;
}

static void step_add(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    uint64_t base, pages = 0, before = mmu_invept_count(&vm->mmu);
    uint64_t zaps = full_zaps(vm);
    bool readonly = rnd(4) == 0, shared = vm->sides && rnd(4) == 0,
         logs = rnd(2 * vm->logs_one_in) == 0;
    random_range(vm, &base, &pages);
    if (slot->used)
        return;
    bool room = model_free(vm, base, pages, SLOTS);
    int error =
        mmu_slot_add(&vm->mmu, id, GPA(base << 12), pages,
                     (uint32_t)((readonly ? MEMSLOT_READONLY : 0) | (logs ? MEMSLOT_LOG_DIRTY : 0) |
                                (shared ? MEMSLOT_SHARED : 0)));
    assert_int_equal(error, room ? 0 : -EEXIST);
    /* RAM over MMIO flushes nothing, unless the generation wraps or logging starts (rule T2). */
    if (full_zaps(vm) == zaps && !logs)
        assert_int_equal(mmu_invept_count(&vm->mmu), before);
    met.overlaps += !room;
    if (room) {
        met.adjacent += base && model_slot(vm, GFN(base - 1));
        *slot = (struct slot_model){
            .used = true, .readonly = readonly, .logs = logs, .base = base, .pages = pages};
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
    uint64_t base, pages = slot->pages;
    random_range(vm, &base, &pages);
    if (slot->used && rnd(4) == 0) /* by less than the size of the slot */
        base = slot->base + rnd(130) - 65;
    if (!is_window(vm, base, pages))
        return;
    int expected = !slot->used ? -EINVAL : model_free(vm, base, slot->pages, id) ? 0 : -EEXIST;
    assert_int_equal(mmu_slot_move(&vm->mmu, id, GPA(base << 12)), expected);
    if (!expected) {
        met.changes++;
        slot->base = base;
        model_count_shared(vm);
    }
}

/* A slot begins to log: earlier writes need not be in the log. They may be in it if a CPU has them
 * in its PML log. */
static void forget_writes(const struct vm *vm, struct slot_model *slot)
{
    for (uint64_t i = 0; i < slot->pages; i++)
        slot->page[i].dirty = slot->page[i].may_be = false;
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        const struct log *log = log_of(vm, cpu);
        for (unsigned i = 0; i < log->used; i++) {
            uint64_t offset = mmu_gfn(&vm->mmu, GPA(log->entries[i])).v - slot->base;
            if (offset < slot->pages)
                slot->page[offset].may_be = true;
        }
    }
}

static void step_flags(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    bool readonly = rnd(4) == 0, logs = rnd(vm->logs_one_in) == 0;
    uint32_t flags = (uint32_t)((readonly ? MEMSLOT_READONLY : 0) | (logs ? MEMSLOT_LOG_DIRTY : 0));
    bool begins = slot->used && logs && !slot->logs;
    uint64_t zaps = full_zaps(vm);
    if (begins)
        forget_writes(vm, slot);
    int error = mmu_slot_flags(&vm->mmu, id, flags);
    assert_int_equal(error, slot->used ? 0 : -EINVAL);
    if (!slot->used)
        return;
    met.changes++;
    /* If the other flag changes too, the SPTEs are zapped, and their D bits are logged. */
    bool zapped = readonly != slot->readonly || full_zaps(vm) != zaps;
    for (uint64_t i = 0; begins && i < slot->pages; i++) {
        slot->page[i].may_be |= slot->page[i].dirty || zapped;
        slot->page[i].dirty = false;
    }
    slot->readonly = readonly;
    slot->logs = logs;
}

/* The range of the log to read: the whole slot, or a part that begins at a multiple of 64 pages.
 * Sometimes a range that must be refused. */
static int random_part(const struct slot_model *slot, uint64_t *first, size_t *words)
{
    uint64_t all = (slot->pages + 63) / 64;
    *first = rnd(2) ? 0 : 64 * rnd(all);
    *words = rnd(2) ? all - *first / 64 : 1 + rnd(all - *first / 64);
    if (rnd(8))
        return 0;
    switch (rnd(3)) {
    case 0:
        *first += 1 + rnd(63);
        break;
    case 1:
        *first = 64 * all;
        *words = 1;
        break;
    default:
        *words = all - *first / 64 + 1;
        break;
    }
    return -EINVAL;
}

/* The log has all pages that have been written since it was last read, by any writer, and no
 * others. */
static void check_log(const struct slot_model *slot, uint64_t at, uint64_t word)
{
    for (uint64_t i = at; i < at + 64; i++) {
        bool found = word >> (i - at) & 1;
        struct page_model *page = &slot->page[i < slot->pages ? i : 0];
        if (i >= slot->pages ? found : found ? !(page->dirty || page->may_be) : page->dirty)
            fail_msg("step %lu: frame %#lx, page %lu of %lu in its slot, was %swritten and is %sin "
                     "the log",
                     step, slot->base + i, i, slot->pages, found ? "not " : "",
                     found ? "" : "not ");
        met.dirty += found;
        if (i < slot->pages)
            page->dirty = page->may_be = false;
    }
}

static void step_dirty_get(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    uint64_t bitmap[FRAMES / 64 + 1], first = 0;
    size_t words = 1;
    int expected = slot->used && slot->logs ? random_part(slot, &first, &words) : -EINVAL;
    assert_int_equal(mmu_dirty_get(&vm->mmu, id, first, bitmap, words), expected);
    if (expected)
        return;
    /* A write during the call is in this log or in the next one. */
    uint64_t late = changing.gfn.v - slot->base - first;
    bool written = changing.written && late < 64 * words && first + late < slot->pages;
    struct page_model *page = &slot->page[written ? first + late : 0];
    if (written)
        *page = (struct page_model){page->value, page->tracked, false, true, page->shared};
    for (size_t i = 0; i < words; i++)
        check_log(slot, first + 64 * i, bitmap[i]);
    if (written)
        page->dirty = !(bitmap[late / 64] >> late % 64 & 1);
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

/* The conversion stops at pages that are on the new side already, after some that were not. */
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

/* Pages that come from the other side are cleared; pages that were on the new side already keep
 * their contents (X5). */
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
        changing.converting = true;
    }
    int64_t result = mmu_convert(&vm->mmu, gfn_to_gpa(gfn), pages, shared);
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
        page->may_be = true; /* if the page existed, it has been cleared */
        page->value = 0;
        met.converted++;
    }
    model_count_shared(vm);
}

static void step_zap(struct vm *vm)
{
    uint64_t base, pages = 0;
    random_range(vm, &base, &pages);
    assert_int_equal(mmu_zap(&vm->mmu, GPA(base << 12), pages), 0);
}

/* Accesses of the hypervisor, which do not use the tables: by a device, a loader, or a walk that
 * sets a bit in an entry. */
static int by_host(struct vm *vm, const struct place *place, unsigned how, uint64_t value)
{
    const struct slot_model *slot = model_slot(vm, place->gfn);
    uint64_t old = slot ? slot->page[place->gfn.v - slot->base].value : 0;
    size_t size = rnd(2) ? 8 : 4;
    switch (how) {
    case 0:
        return guest_load(&vm->mmu, gpa_of(place), &value, sizeof(value));
    case 1:
        met.exchanged++;
        return guest_cmpxchg(&vm->mmu, gpa_of(place), size, old, value);
    case 2:
        return guest_cmpxchg(&vm->mmu, gpa_of(place), size, old + 1, value);
    default:
        return guest_write(&vm->mmu, gpa_of(place), &value, sizeof(value));
    }
}

static int host_outcome(struct vm *vm, const struct place *place, unsigned how)
{
    bool devices = !(place->alias & XO_ALIAS) && (!vm->sides || place->alias & SHARED_ALIAS);
    int outcome = model_outcome(vm, place, 2);
    if (outcome == MODEL_RAM || outcome == MODEL_GUARDED)
        return how == 2 ? -EAGAIN : 0;
    if (outcome == MODEL_READ_ONLY && how == 0)
        return 0;
    return outcome >= 0 && devices ? -EFAULT : -EACCES;
}

static void step_guest_write(struct vm *vm)
{
    struct place place = random_place(vm, interesting_frame(vm));
    unsigned how = (unsigned)rnd(6);
    int expected = host_outcome(vm, &place, how);
    stamp++;
    assert_int_equal(by_host(vm, &place, how, stamp), expected);
    if (!expected)
        written(vm, place.gfn);
}

/* 8 bytes at the end of a page and 8 in the next page, which may belong to another slot. */
static void step_straddle(struct vm *vm)
{
    struct place place = random_place(vm, interesting_frame(vm));
    if (!is_window(vm, place.gfn.v, 2))
        return;
    struct place next = place_of(vm, GFN(place.gfn.v + 1), place.alias);
    uint64_t words[2] = {++stamp, stamp};
    int first = host_outcome(vm, &place, 3), second = host_outcome(vm, &next, 3);
    int error = guest_write(&vm->mmu, gpa_add(gpa_of(&place), 0xff8), words, sizeof(words));
    assert_int_equal(error, first ? first : second);
    if (!first)
        model_page(vm, place.gfn)->dirty = true;
    if (!first && !second) {
        written(vm, next.gfn);
        met.straddled++;
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
