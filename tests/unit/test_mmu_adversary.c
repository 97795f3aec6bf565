/*
 * The flush rules against the worst TLB that the SDM allows (decision D8).
 *
 * A CPU keeps every translation that it ever walked, and every pointer to a table that it ever
 * followed, until an INVEPT covers it, and of all answers that it could give it gives each: if one
 * of them is not what the guest should see, the test ends. Beside it stands a plain model: for each
 * VM a list of slots with what was last written to each page, whether that is in the dirty log, and
 * how often it is tracked.
 *
 * Two VMs live on two CPUs. A CPU stays in the guest, with its TLB, while the other one changes
 * slots and tables, until it is kicked. The seed is printed; ADVERSARY_SEED and ADVERSARY_STEPS
 * choose another run.
 */
#include "tests/unit/mmu_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Access ---------------------------------------------------------------------------------- */

/* The CPU could use this translation for this access: is it what the guest should see? */
static void judge(struct vm *vm, gfn_t gfn, unsigned access, hpa_t page)
{
    struct slot_model *slot = model_slot(vm, gfn);
    if (!slot)
        fail_msg("step %lu: frame %#lx is MMIO, the CPU reaches RAM at %#lx", step, gfn.v, page.v);
    if (access == 2 && slot->readonly)
        fail_msg("step %lu: frame %#lx is read-only, the CPU may write", step, gfn.v);
    if (access == 2 && slot->page[gfn.v - slot->base].tracked)
        fail_msg("step %lu: frame %#lx is tracked, the CPU may write", step, gfn.v);
    const void *right = guest_page(&vm->mmu, gfn_to_gpa(gfn), ACCESS_READ);
    if (!right || virt_to_phys(right).v != page.v)
        fail_msg("step %lu: frame %#lx: the CPU reaches the wrong page %#lx", step, gfn.v, page.v);
    uint64_t value = *(const uint64_t *)right;
    if (value != slot->page[gfn.v - slot->base].value)
        fail_msg("step %lu: frame %#lx holds %#lx", step, gfn.v, value);
}

/* All answers that the CPU can give without an exit. True if it can give one. */
static bool hits(struct vm *vm, gfn_t gfn, unsigned access, hpa_t *page)
{
    uint64_t eptp = mmu_eptp(&vm->mmu);
    struct tlb *tlb = tlb_of(eptp);
    unsigned index = frame_index(gfn);
    bool ad = eptp >> 6 & 1, hit = false;

    /* A CPU that has the translation need not walk, and so not set D. */
    for (unsigned i = 0; i < WAYS; i++) {
        struct cached *c = &tlb->leaf[index][i];
        hit = hit || (c->used && !(access & ~c->permission) && (access != 2 || c->dirty));
    }
    bool walks = !hit || rnd(2);
    hit = false;
    /* Walks that begin at a remembered table, which by now may be another's page. */
    for (unsigned level = 1; walks && level <= 3; level++) {
        for (unsigned i = 0; i < WAYS; i++) {
            struct cached *c = &tlb->table[level][index / PIECE][i];
            if (c->used)
                walk_and_remember(tlb, phys_to_virt(c->page), level, c->permission, gfn, access,
                                  ad);
        }
    }
    for (unsigned i = 0; i < WAYS; i++) {
        struct cached *c = &tlb->leaf[index][i];
        if (c->used && !(access & ~c->permission) && (access != 2 || c->dirty)) {
            judge(vm, gfn, access, c->page);
            *page = c->page;
            hit = true;
        }
    }
    return hit;
}

/* A violation forgets what caused it (SDM 3, 29.4.3.1): the CPU drops translations of that page
 * that deny the access. */
static void self_invalidate(struct vm *vm, gfn_t gfn, unsigned access)
{
    struct tlb *tlb = tlb_of(mmu_eptp(&vm->mmu));
    struct cached *set = tlb->leaf[frame_index(gfn)];
    for (unsigned i = 0; i < WAYS; i++) {
        if (access & ~set[i].permission)
            set[i].used = false;
    }
}

static void leave(unsigned cpu)
{
    tlb_leave(cpu);
    in_guest[cpu] = NULL;
}

static void kicked(unsigned cpu)
{
    leave(cpu);
    epoch_pass(cpu, epoch_now());
    met.kicked++;
}

/* Enters, or goes on in the guest where it was. */
static bool enter(struct vm *vm, gfn_t gfn, unsigned access, hpa_t *page)
{
    if (in_guest[this_cpu] != vm) {
        tlb_leave(this_cpu);
        tlb_enter(&vm->mmu, this_cpu);
        tlb_assert_paid(&vm->mmu, this_cpu);
        in_guest[this_cpu] = vm;
        check_freed(tlb_of(mmu_eptp(&vm->mmu)));
    }
    return hits(vm, gfn, access, page);
}

static void written(struct vm *vm, gfn_t gfn)
{
    struct slot_model *slot = model_slot(vm, gfn);
    struct page_model *page = &slot->page[gfn.v - slot->base];
    page->value = stamp;
    page->dirty = true;
}

/* What the hypervisor does with an access that exits. */
static int handle_exit(struct vm *vm, gfn_t gfn, unsigned access, bool present,
                       enum hw_result result)
{
    struct mmio_info info;
    gpa_t gpa = gfn_to_gpa(gfn);
    if (result == HW_VIOLATION)
        return mmu_fault(&vm->mmu, gpa, access | FAULT_FINAL | (present ? FAULT_PRESENT : 0),
                         &info);
    int outcome = mmu_mmio_check(&vm->mmu, gpa, &info);
    return outcome == FAULT_INVALID ? mmu_fault(&vm->mmu, gpa, FAULT_RESERVED, &info) : outcome;
}

/* The access is over: MMIO, or a write that the hypervisor does itself. */
static void emulate(struct vm *vm, gfn_t gfn, unsigned access, int outcome)
{
    struct slot_model *slot = model_slot(vm, gfn);
    if (outcome == FAULT_WRITE_PROTECTED) {
        uint64_t value = ++stamp;
        assert_true(slot && access == 2 && slot->page[gfn.v - slot->base].tracked);
        assert_int_equal(guest_write(&vm->mmu, gfn_to_gpa(gfn), &value, sizeof(value)), 0);
        written(vm, gfn);
        met.guarded++;
        return;
    }
    if (slot && !(slot->readonly && access == 2))
        fail_msg("step %lu: frame %#lx is RAM, the MMU says MMIO", step, gfn.v);
    met.emulated++;
}

static void do_access(struct vm *vm, gfn_t gfn, unsigned access)
{
    for (unsigned tries = 0; tries < 6; tries++) {
        hpa_t page;
        if (enter(vm, gfn, access, &page)) {
            met.hits++;
            if (access == 2) {
                met.writes++;
                *(uint64_t *)phys_to_virt(page) = ++stamp;
                written(vm, gfn);
            }
            return;
        }
        uint64_t eptp = mmu_eptp(&vm->mmu);
        struct hw_translation t =
            walk_and_remember(tlb_of(eptp), phys_to_virt(HPA(eptp & 0x000ffffffffff000)), 4, 7, gfn,
                              access, eptp >> 6 & 1);
        if (t.result == HW_OK)
            continue; /* the TLB answers now, and is judged */
        if (t.result == HW_VIOLATION)
            self_invalidate(vm, gfn, access);
        leave(this_cpu);
        uint64_t collapses = vm->mmu.cpu[this_cpu].stats.collapses;
        int outcome = handle_exit(vm, gfn, access, t.permission, t.result);
        assert_true(outcome >= 0 && outcome != FAULT_CONTINUE && outcome != FAULT_INVALID); /* F6 */
        met.replaced += vm->mmu.cpu[this_cpu].stats.collapses - collapses;
        if (outcome == FAULT_EMULATE || outcome == FAULT_WRITE_PROTECTED) {
            emulate(vm, gfn, access, outcome);
            return;
        }
    }
    fail_msg("step %lu: the access to frame %#lx never ends", step, gfn.v);
}

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
    bool readonly = rnd(4) == 0;
    random_range(&base, &pages);
    if (slot->used)
        return;
    bool room = model_free(vm, base, pages, SLOTS);
    int error = mmu_slot_add(&vm->mmu, id, GPA(base << 12), pages,
                             readonly ? (uint32_t)MEMSLOT_READONLY : 0);
    assert_int_equal(error, room ? 0 : -EEXIST);
    if (vm->mmu.cpu[0].stats.full_zaps ==
        zaps) /* no wrap: RAM over MMIO flushes nothing (rule T2) */
        assert_int_equal(mmu_invept_count(&vm->mmu), before);
    if (room) {
        *slot =
            (struct slot_model){.used = true, .readonly = readonly, .base = base, .pages = pages};
        slot->page = calloc(pages, sizeof(*slot->page));
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
    }
}

static void step_move(struct vm *vm, unsigned id)
{
    struct slot_model *slot = &vm->slot[id];
    uint64_t base, ignored;
    random_range(&base, &ignored);
    if (base % HIGH + slot->pages > FRAMES)
        return;
    int expected = !slot->used ? -EINVAL : model_free(vm, base, slot->pages, id) ? 0 : -EEXIST;
    assert_int_equal(mmu_slot_move(&vm->mmu, id, GPA(base << 12)), expected);
    if (!expected) {
        met.changes++;
        slot->base = base;
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
    bool there = guest_page(&vm->mmu, gfn_to_gpa(gfn), ACCESS_READ);
    if (rnd(2)) {
        assert_int_equal(mmu_host_remap(&vm->mmu, gfn_to_gpa(gfn)), there ? 0 : -EFAULT);
        met.remaps += there;
    } else {
        (void)mmu_age(&vm->mmu, gfn_to_gpa(gfn), 1 + rnd(64));
        if (rnd(4) == 0)
            (void)mmu_nx_recover(&vm->mmu);
    }
}

static void step_zap(struct vm *vm)
{
    uint64_t base, pages;
    random_range(&base, &pages);
    assert_int_equal(mmu_zap(&vm->mmu, GPA(base << 12), pages), 0);
}

/* Like a device or a loader: around the tables. */
static void step_guest_write(struct vm *vm)
{
    gfn_t gfn = interesting_frame(vm);
    struct slot_model *slot = model_slot(vm, gfn);
    uint64_t value = ++stamp;
    int error = guest_write(&vm->mmu, gfn_to_gpa(gfn), &value, sizeof(value));
    assert_int_equal(error, slot && !slot->readonly ? 0 : -EFAULT);
    if (!error)
        written(vm, gfn);
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
    this_cpu = !this_cpu;
    do_access(vm, gfn, 2);
    this_cpu = !this_cpu;
}

static void change(struct vm *vm, uint64_t kind, unsigned id)
{
    gfn_t gfn = interesting_frame(vm);
    bool provoke = rnd(2) && kind < 998;
    if (provoke)
        other_writes(vm, gfn);
    leave(this_cpu);
    if (kind < 968)
        step_add(vm, id);
    else if (kind < 971)
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
    if (provoke)
        other_writes(vm, gfn);
}

static void one_step(struct vm *vm)
{
    uint64_t kind = rnd(1000);
    unsigned id = (unsigned)rnd(SLOTS);
    this_cpu = (unsigned)rnd(CPUS);
    if (!vm->alive) {
        assert_int_equal(mmu_create(&vm->mmu), 0);
        vm->alive = true;
    }
    uint64_t zaps = vm->mmu.cpu[this_cpu].stats.full_zaps;
    if (kind < 962)
        do_access(vm, interesting_frame(vm), 1u << rnd(3));
    else
        change(vm, kind, id);
    if (vm->alive)
        met.wraps += vm->mmu.cpu[this_cpu].stats.full_zaps != zaps;
}

static void play(uint64_t seed, uint64_t steps, uint64_t msr, struct mmu_config config)
{
    struct vm *vm = &vms[0];
    world_reset(msr, &config);
    invept_hook = adversary_invept;
    kick_hook = kicked;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        epoch_online(cpu);
    memset(in_guest, 0, sizeof(in_guest));
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    for (unsigned i = 0; i < tags; i++)
        free(tlbs[i]);
    tags = 0;
    memset(vms, 0, sizeof(vms));
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
    if (steps >= 100000) {
        assert_true(met.hits > steps / 8 && met.writes > steps / 32 && met.emulated > steps / 16 &&
                    met.changes > steps / 1000 && met.wraps > 10 && met.lives > 4);
        assert_true(met.kicked > 100 && (config.ad || met.fast > 10) && met.dirty > 100 &&
                    met.guarded > 10 && met.remaps > 10);
        assert_true(!config.huge || (met.replaced > 10 && met.splits > 10));
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
