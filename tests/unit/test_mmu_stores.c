/*
 * Every store to an EPT table, and what the CPU would see right after it (rules W4, W5, W6, S7,
 * S13, S14, S15, T6, P8): see mmu_stores.h. First each operation by itself, then all of them in
 * random order. STORES_SEED and STORES_STEPS choose another run.
 */
#define _GNU_SOURCE
#include "tests/unit/mmu_stores.h"

#include "mmu/huge.h"

#include <stdlib.h>

#define RAM   0x200ull /* a slot of frames, aligned to 2 MiB */
#define SIZE  1024ull
#define OTHER 0xa00ull /* and where it moves */
#define END   0xc00ull
#define LOG   (uint32_t) MEMSLOT_LOG_DIRTY
#define RO    (uint32_t) MEMSLOT_READONLY

static gpa_t at(uint64_t frame)
{
    return gfn_to_gpa(GFN(frame));
}

/* ---- A guest --------------------------------------------------------------------------------- */

static int fault(uint64_t frame, unsigned access)
{
    struct mmio_info info;
    uint32_t present = look(frame).rights ? FAULT_PRESENT : 0;
    if (look(frame).sight != SEES_MMIO)
        return mmu_fault(&mmu, at(frame), access | FAULT_FINAL | present, &info);
    int outcome = mmu_mmio_check(&mmu, at(frame), &info);
    return outcome == FAULT_INVALID ? mmu_fault(&mmu, at(frame), FAULT_RESERVED, &info) : outcome;
}

/* The CPU's own stores, of A and D. */
static enum hw_result walk(uint64_t frame, unsigned access)
{
    see_stores();
    hardware = true;
    enum hw_result result = hw_walk(mmu_eptp(&mmu), GFN(frame), access).result;
    hardware = false;
    return result;
}

/* An access to its end; no fault leaves a frame without the translation that it had. */
static int touch(uint64_t frame, unsigned access, bool gap)
{
    int outcome = FAULT_RETRY;
    for (unsigned tries = 0; tries < 6; tries++) {
        if (walk(frame, access) == HW_OK)
            return FAULT_FIXED;
        OPERATION(gap, outcome = fault(frame, access));
        assert_true(outcome >= 0);
        if (outcome == FAULT_EMULATE || outcome == FAULT_WRITE_PROTECTED)
            return outcome;
    }
    fail_msg("the access to frame %#lx never ends", frame);
    return outcome;
}

static void start(struct mmu_config config, uint64_t msr)
{
    world_reset(msr, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    stores_start();
}

static void finish(void)
{
    stores_stop();
    if (operating)
        return;
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

/* The test's initial state. */
static struct mmu_config all = {.mmio_caching = true, .ad = true, .huge = true};
static struct mmu_config large_without_ad = {.mmio_caching = true, .huge = true};
static struct mmu_config small_without_ad = {.mmio_caching = true};
static struct mmu_config nx = {.mmio_caching = true, .ad = true, .huge = true, .nx_huge = true};
static struct mmu_config with_pml = {.mmio_caching = true, .ad = true, .huge = true, .pml = true};

static int setup(void **state)
{
    start(*(const struct mmu_config *)*state, WORLD_CAPS);
    WITH_GAP(assert_int_equal(mmu_slot_add(&mmu, 0, at(RAM), SIZE, 0), 0));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    finish();
    return 0;
}

/* ---- Faults ---------------------------------------------------------------------------------- */

static void a_fault_links_from_the_root_down(void **state)
{
    (void)state;
    assert_int_equal(touch(RAM + 3, ACCESS_READ, false), FAULT_FIXED);
    assert_int_equal(seen.linked, mmu_config()->huge ? 2 : 3);
    assert_int_equal(seen.stores, seen.linked + 1);
    assert_int_equal(seen.attempts, seen.stores);
    assert_int_equal(touch(DEVICE + 3, ACCESS_READ, false), FAULT_EMULATE);
    assert_int_equal(seen.linked, 2); /* below the entry of level 4 that RAM has, too */
    assert_int_equal(views[WINDOW + 3].sight, SEES_MMIO);
    assert_int_equal(touch(DEVICE + 4, ACCESS_READ, false), FAULT_EMULATE);
    assert_int_equal(seen.stores, 1);
    assert_int_equal(touch(DEVICE + 4, ACCESS_WRITE, false), FAULT_EMULATE);
    assert_int_equal(seen.stores, 0);
}

static void a_stale_mmio_spte_is_replaced_in_one_store(void **state)
{
    (void)state;
    touch(OTHER + 1, ACCESS_READ, false);
    assert_int_equal(views[OTHER + 1].sight, SEES_MMIO);
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(OTHER + 1), 4, 0), 0));
    assert_int_equal(seen.attempts, 0); /* the generation does it */
    touch(OTHER + 1, ACCESS_WRITE, false);
    assert_int_equal(seen.stores, 1);
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 1), 0));
    touch(OTHER + 1, ACCESS_READ, false);
    assert_int_equal(views[OTHER + 1].sight, SEES_MMIO);
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(RAM + SIZE), 4, 0), 0));
    touch(OTHER + 1, ACCESS_READ, false);
    assert_int_equal(seen.stores, 1); /* a newer one over it */
}

static void another_cpu_is_faster(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(RAM), SIZE), 0));
    assert_int_equal(touch(RAM + 600, ACCESS_WRITE, false), FAULT_FIXED);
    WITHOUT_GAP(assert_int_equal(fault(RAM + 600, ACCESS_WRITE), FAULT_SPURIOUS));
    assert_int_equal(seen.attempts, 0);
}

/* ---- Split and collapse (T6, W4) --------------------------------------------------------------- */

static void no_frame_faults_while_a_large_page_is_split(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    touch(RAM + 512, ACCESS_WRITE, false);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM + 7)), 0));
    assert_int_equal(seen.linked, 1);
    assert_int_equal(seen.stores, 2); /* the link; the page that is tracked */
    assert_int_equal(views[RAM + 7].rights, 5);
    assert_int_equal(views[RAM + 8].rights, 7);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM + 8)), 0));
    assert_int_equal(seen.stores, 1);
    WITHOUT_GAP(assert_int_equal(mmu_untrack(&mmu, at(RAM + 7)), 0));
    assert_int_equal(touch(RAM + 8, ACCESS_WRITE, false), FAULT_WRITE_PROTECTED);
    assert_int_equal(touch(RAM + 7, ACCESS_WRITE, false), FAULT_FIXED);
    assert_int_equal(seen.stores, 1); /* W given back in place */
}

static void an_execution_splits(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    assert_int_equal(views[RAM].rights, 3);
    touch(RAM + 5, ACCESS_FETCH, false);
    assert_int_equal(seen.linked, 1);
    assert_int_equal(seen.stores, 1);
    assert_int_equal(views[RAM + 5].rights, 7);
    touch(RAM + 512 + 5, ACCESS_FETCH, false);
    WITH_GAP(assert_int_equal(mmu_nx_recover(&mmu), 1));
    assert_int_equal(seen.cut, 1);
}

static void a_collapse_freezes_what_it_replaces(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(RAM)), 0));
    WITHOUT_GAP(assert_int_equal(mmu_untrack(&mmu, at(RAM)), 0));
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(RAM + 9), 1), 0));
    assert_int_equal(seen.stores, 1);
    touch(RAM + 9, ACCESS_WRITE, true);
    assert_int_equal(seen.cut, 1);
    assert_int_equal(seen.stores, 1 + 512 + 1); /* FROZEN, all in the table, the leaf */
    assert_int_equal(mmu_stats(&mmu).collapses, 1);
}

/* ---- Zap and remap ----------------------------------------------------------------------------- */

static void zaps_leave_nonpresent(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 8; i++)
        touch(RAM + 100 * i, ACCESS_WRITE, false);
    touch(DEVICE, ACCESS_READ, false);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(RAM + 100), 250), 0));
    assert_int_equal(seen.stores, mmu_config()->huge ? 1 : 3);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(DEVICE), 1), 0));
    assert_int_equal(views[WINDOW].sight, SEES_NOTHING);
    WITH_GAP(assert_int_equal(mmu_set_generation(&mmu, mmu_slot_generation(&mmu) + 1), 0));
    assert_int_equal(seen.stores, 1); /* the one entry of the root */
    for (unsigned i = 0; i < VIEWS; i++)
        assert_int_equal(views[i].sight, SEES_NOTHING);
}

static void a_remapped_frame_never_has_two_pages(void **state)
{
    (void)state;
    touch(RAM + 5, ACCESS_WRITE, false);
    uint64_t page = views[RAM + 5].page;
    WITH_GAP(assert_int_equal(mmu_host_remap(&mmu, at(RAM + 5)), 0));
    assert_int_equal(seen.stores, 1);
    assert_int_equal(views[RAM + 5].sight, SEES_NOTHING);
    touch(RAM + 5, ACCESS_WRITE, false);
    assert_int_not_equal(views[RAM + 5].page, page);
}

static void aging_in_place(void **state)
{
    (void)state;
    touch(RAM + 5, ACCESS_WRITE, false);
    sets_bits = true;
    WITH_GAP(assert_int_equal(mmu_age(&mmu, at(RAM), SIZE), 1));
    assert_int_equal(seen.stores, 1);
    assert_int_equal(views[RAM + 5].sight, mmu_config()->ad ? SEES_RAM : SEES_NOTHING);
    touch(RAM + 5, ACCESS_WRITE, false);
    assert_int_equal(views[RAM + 5].rights, 7);
}

/* ---- Dirty logging (S4, S14, N2) --------------------------------------------------------------- */

static uint64_t bitmap[SIZE / 64];

static bool is_logged(uint64_t page)
{
    return bitmap[page / 64] >> (page % 64) & 1;
}

static void collect(void)
{
    WITHOUT_GAP(assert_int_equal(mmu_dirty_get(&mmu, 0, 0, bitmap, SIZE / 64), 0));
}

static void logging_takes_one_right(void **state)
{
    (void)state;
    touch(RAM, ACCESS_WRITE, false);
    touch(RAM + 512 + 1, ACCESS_WRITE, false);
    WITHOUT_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0));
    assert_int_equal(seen.linked, mmu_config()->huge ? 2 : 0);
    bool by_fault = dirty_method() == DIRTY_WRITE_PROTECT;
    assert_int_equal(views[RAM].rights, by_fault ? 5 : 7);

    touch(RAM + 1, ACCESS_WRITE, false);
    touch(RAM + 514, ACCESS_READ, false);
    if (dirty_method() == DIRTY_PML)
        mmu_pml_note(&mmu, (uint64_t[]){at(RAM + 1).v}, 1);
    collect();
    assert_int_equal(seen.stores, 1); /* W or D of the page that was written */
    for (uint64_t i = 0; i < SIZE; i++)
        assert_int_equal(is_logged(i), i == 1);
    collect();
    assert_int_equal(seen.attempts, 0);
    WITH_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, 0), 0));
    assert_int_equal(views[RAM + 1].sight, SEES_NOTHING);
}

/* S4: clearing D is flushed by who collects it, or CPUs that have it cached would not set it again;
 * one flush for all. So is clearing W. */
static void collecting_owes_one_flush(void **state)
{
    (void)state;
    WITHOUT_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0));
    touch(RAM, ACCESS_WRITE, false);
    touch(RAM + 1, ACCESS_WRITE, false);
    if (dirty_method() == DIRTY_PML)
        mmu_pml_note(&mmu, (uint64_t[]){at(RAM).v, at(RAM + 1).v}, 2);
    uint64_t debt = mmu.tlb.debt;
    collect();
    assert_in_range(mmu.tlb.debt - debt, 1, 2);
    assert_true(is_logged(0) && is_logged(1));
    assert_int_equal(tlb_cpus[READER].running == &mmu, false); /* it was made to leave */
}

/* The CPU sets D between the read of an entry and the store that would take it away. */
static void a_d_bit_set_in_between_is_not_lost(void **state)
{
    (void)state;
    const uint64_t frames[] = {RAM, RAM + 1, RAM + 2};
    WITHOUT_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0));
    for (unsigned i = 0; i < 3; i++) /* W, as for a write that has not been made yet: no D */
        WITHOUT_GAP(assert_int_equal(fault(frames[i], ACCESS_WRITE), FAULT_FIXED));
    collect();
    sets_bits = true;
    WITHOUT_GAP(assert_int_equal(mmu_track(&mmu, at(frames[2])), 0));
    assert_int_equal(seen.attempts, 2); /* the first one lost */
    assert_int_equal(seen.stores, 1);
    WITH_GAP(assert_int_equal(mmu_zap(&mmu, at(frames[0]), 1), 0));
    assert_int_equal(seen.attempts, 2);
    WITH_GAP(assert_int_equal(mmu_host_remap(&mmu, at(frames[1])), 0));
    sets_bits = false;
    collect();
    assert_true(is_logged(0) && is_logged(1) && is_logged(2) && !is_logged(3));
}

/* ---- Slots --------------------------------------------------------------------------------------- */

static void slots_come_and_go(void **state)
{
    (void)state;
    touch(RAM + 1, ACCESS_WRITE, false);
    touch(RAM + 600, ACCESS_WRITE, false);
    WITH_GAP(assert_int_equal(mmu_slot_move(&mmu, 0, at(OTHER)), 0));
    assert_int_equal(seen.stores, 2);
    touch(OTHER + 1, ACCESS_WRITE, false);
    touch(RAM + 1, ACCESS_READ, false);
    assert_int_equal(views[RAM + 1].sight, SEES_MMIO);
    WITHOUT_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(RAM), 8, RO), 0));
    assert_int_equal(seen.attempts, 0);
    touch(RAM + 1, ACCESS_READ, false);
    assert_int_equal(views[RAM + 1].rights, 5);
    WITH_GAP(assert_int_equal(mmu_slot_flags(&mmu, 1, 0), 0));
    WITH_GAP(assert_int_equal(mmu_slot_flags(&mmu, 0, RO), 0));
    assert_int_equal(views[OTHER + 1].sight, SEES_NOTHING);
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 0), 0));
    WITH_GAP(assert_int_equal(mmu_slot_delete(&mmu, 1), 0));
}

static void the_wrap_cuts_off_all(void **state)
{
    (void)state;
    WITH_GAP(assert_int_equal(mmu_set_generation(&mmu, SPTE_GENERATION_MASK), 0));
    touch(RAM + 1, ACCESS_WRITE, false);
    touch(DEVICE, ACCESS_READ, false);
    uint64_t tables = watched_used - 1; /* without the root */
    WITH_GAP(assert_int_equal(mmu_slot_add(&mmu, 1, at(OTHER), 8, 0), 0));
    assert_int_equal(seen.stores, 1);
    assert_int_equal(seen.cut, tables);
    assert_int_equal(views[WINDOW].sight, SEES_NOTHING);
    touch(RAM + 1, ACCESS_WRITE, false);
    touch(DEVICE, ACCESS_READ, false);
}

/* ---- All of it, in random order ------------------------------------------------------------------ */

static uint64_t random_state, total_stores;

static uint64_t rnd(uint64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % below;
}

static void slot_changes(unsigned id)
{
    static const uint64_t sizes[] = {1, 8, 511, 512, 1024};
    uint64_t base = align_down(rnd(END), rnd(2) ? 512 : 1);
    uint64_t size = sizes[rnd(ARRAY_SIZE(sizes))];
    uint32_t flags = (rnd(4) ? 0 : RO) | (rnd(2) ? LOG : 0);
    int error = 0;
    switch (rnd(4)) {
    case 0:
        WITH_GAP(error = mmu_slot_add(&mmu, id, at(base), size, flags));
        break;
    case 1:
        WITH_GAP(error = mmu_slot_delete(&mmu, id));
        break;
    case 2:
        WITH_GAP(error = mmu_slot_move(&mmu, id, at(base)));
        break;
    default:
        WITH_GAP(error = mmu_slot_flags(&mmu, id, flags));
        break;
    }
    if (!error) /* a new log, or another slot's */
        memset(dirtied, 0, sizeof(dirtied));
}

/* What the CPU dirtied while the MMU was at work is in the log. */
static void harvest(unsigned id)
{
    const struct memslot *slot = memslot_by_id(mmu.slots, id);
    uint64_t words[17] = {0};
    if (!slot || !slot->dirty)
        return;
    WITHOUT_GAP(
        assert_int_equal(mmu_dirty_get(&mmu, id, 0, words, (slot->backing.pages + 63) / 64), 0));
    for (uint64_t i = 0; i < slot->backing.pages; i++) {
        bool *set = &dirtied[slot->base.v + i];
        if (*set && !(words[i / 64] >> (i % 64) & 1))
            fail_msg("frame %#lx was written and is not in the log", slot->base.v + i);
        *set = false;
    }
}

static void random_step(void)
{
    uint64_t frame = rnd(END + 64), count = 1 + rnd(600);
    int result;
    sets_bits = rnd(2);
    switch (rnd(24)) {
    case 0:
    case 1:
        slot_changes((unsigned)rnd(3));
        break;
    case 2:
        WITH_GAP(result = mmu_zap(&mmu, at(frame), count));
        break;
    case 3:
        WITHOUT_GAP(result = mmu_track(&mmu, at(frame)));
        break;
    case 4:
        WITHOUT_GAP(result = mmu_untrack(&mmu, at(frame)));
        break;
    case 5:
        WITH_GAP(result = mmu_host_remap(&mmu, at(frame)));
        break;
    case 6:
        WITH_GAP(mmu_age(&mmu, at(frame), count));
        break;
    case 7:
        WITH_GAP(mmu_nx_recover(&mmu));
        break;
    case 8:
    case 9:
        harvest((unsigned)rnd(3));
        break;
    case 10:
        if (rnd(8) == 0)
            WITH_GAP(result = mmu_set_generation(&mmu, mmu_slot_generation(&mmu) | 0x7fffe));
        break;
    default:
        touch(rnd(8) ? frame : DEVICE + rnd(DEVICES), 1u << rnd(3), true);
    }
    (void)result;
    total_stores += seen.stores;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void random_order(void **state)
{
    uint64_t seed = number("STORES_SEED", 7), steps = number("STORES_STEPS", 1500);
    (void)state;
    random_state = seed;
    total_stores = 0;
    for (uint64_t i = 0; i < steps; i++)
        random_step();
    printf("stores: seed %lu, %lu steps, %lu stores\n", seed, steps, total_stores);
    assert_true(steps < 1500 || total_stores > 1000);
}

int main(void)
{
#define T(name, config)                                       \
    {                                                         \
#name "[" #config "]", name, setup, teardown, &config \
    }
    const struct CMUnitTest tests[] = {
        T(a_fault_links_from_the_root_down, all),
        T(a_fault_links_from_the_root_down, small_without_ad),
        T(a_stale_mmio_spte_is_replaced_in_one_store, all),
        T(another_cpu_is_faster, all),
        T(no_frame_faults_while_a_large_page_is_split, all),
        T(no_frame_faults_while_a_large_page_is_split, large_without_ad),
        T(an_execution_splits, nx),
        T(a_collapse_freezes_what_it_replaces, all),
        T(zaps_leave_nonpresent, all),
        T(zaps_leave_nonpresent, small_without_ad),
        T(a_remapped_frame_never_has_two_pages, all),
        T(a_remapped_frame_never_has_two_pages, small_without_ad),
        T(aging_in_place, all),
        T(aging_in_place, small_without_ad),
        T(logging_takes_one_right, all),
        T(logging_takes_one_right, small_without_ad),
        T(logging_takes_one_right, with_pml),
        T(logging_takes_one_right, large_without_ad),
        T(collecting_owes_one_flush, all),
        T(collecting_owes_one_flush, small_without_ad),
        T(collecting_owes_one_flush, with_pml),
        T(a_d_bit_set_in_between_is_not_lost, all),
        T(slots_come_and_go, all),
        T(slots_come_and_go, small_without_ad),
        T(the_wrap_cuts_off_all, all),
        T(random_order, all),
        T(random_order, small_without_ad),
        T(random_order, nx),
        T(random_order, with_pml),
        T(random_order, large_without_ad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
