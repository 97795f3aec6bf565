/* SPDX-License-Identifier: MIT */
/*
 * The flush rules against the worst TLB that the SDM allows (decision D8).
 *
 * A CPU keeps every translation and every pointer to a table that it has ever found in a walk,
 * until an INVEPT covers it. Of all answers that it could give to an access it gives each; the test
 * fails if one of them is not what the guest should see. A simple model runs beside the MMU: for
 * each VM a list of slots, with the last write to each page, whether the page is in the dirty log,
 * how often it is tracked, and its side.
 *
 * Two VMs, one of which takes #VE, live on two CPUs; each has up to two stolen bits at any
 * position. A CPU stays in the guest, with its TLB, while the other one changes slots, sides and
 * tables, until it is kicked. The seed is printed; ADVERSARY_SEED and ADVERSARY_STEPS choose
 * another run.
 */
#include "tests/unit/mmu/mmu_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (kind < 912)
        gfn.v -= rnd(2) ? gfn.v % PIECE : 0; /* whole pieces of 2 MiB change sides, too */
    if (provoke)
        other_writes(vm, gfn);
    leave(support_cpu);
    changing.vm = provoke && rnd(4) ? vm : NULL;
    changing.gfn = gfn;
    changing.converting = changing.written = false;
    if (kind < 912)
        step_convert(vm, gfn);
    else if (kind < 923)
        step_add(vm, id);
    else if (kind < 927)
        step_delete(vm, id);
    else if (kind < 933)
        step_move(vm, id);
    else if (kind < 943)
        step_flags(vm, id);
    else if (kind < 949)
        step_zap(vm);
    else if (kind < 961)
        step_dirty_get(vm, id);
    else if (kind < 969)
        step_track(vm, gfn);
    else if (kind < 977)
        step_host(vm, gfn);
    else if (kind < 993)
        step_guest_write(vm);
    else if (kind < 998)
        step_straddle(vm);
    else if (kind == 998)
        step_near_wrap(vm);
    else if (rnd(8) == 0)
        end_vm(vm);
    changing.vm = NULL;
    if (!provoke)
        return;
    other_writes(vm, gfn);
    for (unsigned alias = 0; alias < ALIASES; alias++) {
        struct place place = place_of(vm, gfn, alias);
        if (alias_exists(vm, alias))
            do_access(vm, &place, random_access(&place));
    }
}

/* A VM with none, one or two stolen bits at any position; the first VM takes #VE. */
static void begin_vm(struct vm *vm)
{
    static const enum stolen_purpose purposes[] = {STOLEN_SHARED, STOLEN_EXECUTE_ONLY};
    uint64_t count = rnd(STOLEN_MAX + 1), which = rnd(2), lowest = 64, bit = 0;
    memset(vm, 0, sizeof(*vm));
    memset(&cpu_log[vm - vms], 0, sizeof(cpu_log[0]));
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
    vm->high = lowest < 34 ? (1ull << (lowest - 12)) - FRAMES
                           : 0x200000; /* the last one that is possible */
    vm->ve = vm == &vms[0] && mmu_config()->mmio_caching;
    if (vm->ve)
        assert_int_equal(mmu_take_ve(&vm->mmu), 0);
    vm->logs_one_in = rnd(2) ? 2 : 12;
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
    if (kind < 900) {
        struct place place = random_place(vm, interesting_frame(vm));
        do_access(vm, &place, random_access(&place));
        check_aliases(vm, place.gfn);
    } else {
        change(vm, kind, id);
    }
    if (vm->alive)
        met.wraps += vm->mmu.cpu[support_cpu].stats.full_zaps != zaps;
}

/* Prints what has happened in the run, and fails if something never happened in a long run. */
static void report(uint64_t steps, const struct mmu_config *config)
{
    printf("    %lu hits, %lu writes, %lu emulated, %lu slot changes, %lu tables replaced, "
           "%lu full zaps, %lu VMs\n",
           met.hits, met.writes, met.emulated, met.changes, met.replaced, met.wraps, met.lives);
    printf("    %lu kicks, %lu splits, %lu fast faults, %lu dirty pages, %lu tracked writes, "
           "%lu remaps\n",
           met.kicked, met.splits, met.fast, met.dirty, met.guarded, met.remaps);
    printf("    %lu logged by the CPU, %lu logs full, %lu last writes, %lu words exchanged, "
           "%lu writes over two pages, %lu slots side by side, %lu overlaps refused\n",
           met.logged, met.full, met.last, met.exchanged, met.straddled, met.adjacent,
           met.overlaps);
    printf("    %lu refused, %lu pages converted, %lu late writes, %lu in mixed ranges, %lu #VE, "
           "%lu with an exit, %lu aliases\n",
           met.refused, met.converted, met.late, met.mixed, met.ve, met.ve_exits, met.aliases);
    printf("    explained:");
    for (unsigned i = 1; i < WHY_COUNT; i++)
        printf(" %u:%lu", i, explained.reasons[i]);
    printf("\n");
    if (steps >= 100000) {
        assert_true(met.hits > steps / 8 && met.writes > steps / 32 && met.emulated > steps / 16 &&
                    met.changes > steps / 1000 && met.wraps > 10 && met.lives > 4);
        assert_true(met.kicked > 100 && (config->ad || met.fast > 10) && met.dirty > 100 &&
                    met.guarded > 10 && met.remaps > 10);
        assert_true(met.last > 50 && met.exchanged > 50 && met.straddled > 20 &&
                    met.adjacent > 10 && met.overlaps > 50);
        assert_true(!config->pml || met.logged > 100);
        assert_true(!config->huge || (met.replaced > 10 && met.splits > 10));
        assert_true(met.refused > steps / 100 && met.converted > steps / 400 && met.late > 10 &&
                    met.mixed > 100 && met.aliases > steps / 8);
        assert_true(!config->mmio_caching || (met.ve > steps / 64 && met.ve_exits > steps / 64));
    }
}

static void play(uint64_t seed, uint64_t steps, uint64_t msr, struct mmu_config config)
{
    struct vm *vm = &vms[0];
    world_reset(msr, &config);
    invept_hook = adversary_invept;
    kick_hook = kicked;
    modified_hook = modified;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        epoch_online(cpu, NULL);
    memset(in_guest, 0, sizeof(in_guest));
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    for (unsigned i = 0; i < tags; i++)
        free(tlbs[i]);
    tags = 0;
    memset(vms, 0, sizeof(vms));
    memset(&changing, 0, sizeof(changing));
    memset(&met, 0, sizeof(met));
    memset(&explained, 0, sizeof(explained));
    printf("adversary: seed %lu, %lu steps, %s, %s, mmio_caching=%d\n", seed, steps,
           config.huge ? "2 MiB" : "4 KiB",
           config.pml  ? "PML"
           : config.ad ? "A/D"
                       : "no A/D",
           config.mmio_caching);

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
    report(steps, &config);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

#define RUN(name, seed, msr, ...)                                            \
    static void name(void **state)                                           \
    {                                                                        \
        (void)state;                                                         \
        play(support_number("ADVERSARY_SEED", seed),                         \
             support_number("ADVERSARY_STEPS", support_rounds(200000)), msr, \
             (struct mmu_config){__VA_ARGS__});                              \
    }

RUN(everything, 1, WORLD_CAPS, .mmio_caching = true, .ad = true, .pml = true, .huge = true)
RUN(small_pages, 6, WORLD_CAPS, .mmio_caching = true, .ad = true, .pml = true)
RUN(small_pages_without_ad, 2, WORLD_CAPS, .mmio_caching = true, .slot_generation_start = 0x7fff0)
RUN(no_mmio_sptes, 3, WORLD_CAPS, .huge = true, .ad = true)
RUN(large_pages_not_executable, 5, WORLD_CAPS, .mmio_caching = true, .ad = true, .huge = true,
    .nx_huge = true)
RUN(only_global_invept, 4, WORLD_CAPS & ~EPT_CAP_INVEPT_SINGLE, .mmio_caching = true, .huge = true)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),
        cmocka_unit_test(small_pages),
        cmocka_unit_test(small_pages_without_ad),
        cmocka_unit_test(no_mmio_sptes),
        cmocka_unit_test(large_pages_not_executable),
        cmocka_unit_test(only_global_invept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
