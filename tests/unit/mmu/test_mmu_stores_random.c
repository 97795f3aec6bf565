/* SPDX-License-Identifier: MIT */
/*
 * All operations of mmu/ in random order, with each store checked by mmu_stores.h. Meanwhile the
 * CPU sets A and D in the entries that are about to be changed. STORES_SEED and STORES_STEPS choose
 * another run.
 */
#define _GNU_SOURCE
#include "tests/unit/mmu/mmu_stores_guest.h"

#include <stdlib.h>

static uint64_t random_state, total_stores, converted;

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
    if (!error) /* a new log, or that of another slot */
        memset(dirtied, 0, sizeof(dirtied));
}

/* Pages that the CPU has written during operations of the MMU are in the log. */
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

/* Through the side that the frame is on; devices are on the shared side. */
static void random_touch(uint64_t frame)
{
    const struct memslot *slot = memslot_find(memslots(&mmu), GFN(frame));
    bool shared = mmu_has_sides(&mmu) && (!slot || sides_is_shared(slot, frame - slot->base.v));
    if (mmu.stolen.mask & CODE && slot && !shared && rnd(4) == 0)
        touch(CODE | frame, ACCESS_FETCH, true);
    else
        touch(frame | (shared ? SHARED : 0), 1u << rnd(shared ? 2 : 3), true);
}

static void random_conversion(const struct memslot *slot)
{
    if (!slot || !mmu_has_sides(&mmu))
        return;
    uint64_t offset = rnd(slot->backing.pages);
    assert_true(convert(slot->base.v + offset, 1 + rnd(4), !sides_is_shared(slot, offset)) > 0);
    converted += conversion.changed;
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
    case 11:
        random_conversion(memslot_by_id(mmu.slots, (uint32_t)rnd(3)));
        break;
    default:
        random_touch(rnd(8) ? frame : DEVICE + rnd(DEVICES));
    }
    (void)result;
    total_stores += seen.stores;
}

static void random_order(void **state)
{
    uint64_t seed = support_number("STORES_SEED", 7);
    uint64_t steps = support_number("STORES_STEPS", support_rounds(1500));
    (void)state;
    random_state = seed;
    total_stores = converted = 0;
    for (uint64_t i = 0; i < steps; i++)
        random_step();
    printf("stores: seed %lu, %lu steps, %lu stores, %lu pages converted\n", seed, steps,
           total_stores, converted);
    assert_true(steps < 1500 || (total_stores > 700 && (!mmu_has_sides(&mmu) || converted > 20)));
}

int main(void)
{
#define T(name, config)                                       \
    {                                                         \
#name "[" #config "]", name, setup, teardown, &config \
    }
    const struct CMUnitTest tests[] = {
        T(random_order, all),
        T(random_order, small_without_ad),
        T(random_order, nx),
        T(random_order, with_pml),
        T(random_order, large_without_ad),
        {"random_order[aliases]", random_order, setup_aliases, teardown, &all},
        {"random_order[nx aliases]", random_order, setup_aliases, teardown, &nx},
        {"random_order[sides]", random_order, setup_sides, teardown, &all},
        {"random_order[sides without A/D]", random_order, setup_sides, teardown, &large_without_ad},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
