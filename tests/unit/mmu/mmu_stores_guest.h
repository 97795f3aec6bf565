/* SPDX-License-Identifier: MIT */
/*
 * Shared by test_mmu_stores.c and test_mmu_stores_random.c: a guest all of whose faults are checked
 * by mmu_stores.h, and the configurations.
 */
#pragma once

#include "tests/unit/mmu/mmu_stores_sides.h"

#define RAM   0x200ull /* a slot of frames, aligned to 2 MiB */
#define SIZE  1024ull
#define OTHER 0xa00ull /* the address to which it moves */
#define END   0xc00ull
#define LOG   (uint32_t) MEMSLOT_LOG_DIRTY
#define RO    (uint32_t) MEMSLOT_READONLY

static inline gpa_t at(uint64_t frame)
{
    return gfn_to_gpa(GFN(frame));
}

/* ---- A guest --------------------------------------------------------------------------------- */

static inline int fault(uint64_t frame, unsigned access)
{
    struct mmio_info info;
    uint32_t present = look(frame).rights ? FAULT_PRESENT : 0;
    if (look(frame).sight != SEES_MMIO)
        return mmu_fault(&mmu, at(frame), access | FAULT_FINAL | present, &info);
    int outcome = mmu_mmio_check(&mmu, at(frame), &info);
    return outcome == FAULT_INVALID ? mmu_fault(&mmu, at(frame), FAULT_RESERVED, &info) : outcome;
}

/* The stores of the CPU itself, of A and D. */
static inline enum hw_result walk(uint64_t frame, unsigned access)
{
    see_stores();
    hardware = true;
    enum hw_result result = hw_walk(mmu_eptp(&mmu), GFN(frame), access).result;
    hardware = false;
    return result;
}

/* One access, until it is done; no fault removes a translation that a frame had. */
static inline int touch(uint64_t frame, unsigned access, bool gap)
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

static inline void start(struct mmu_config config, uint64_t msr)
{
    world_reset(msr, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    stores_start();
}

static inline void finish(void)
{
    stores_stop();
    if (operating)
        return;
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

/* The state at the start of a test. */
static struct mmu_config all = {.mmio_caching = true, .ad = true, .huge = true};
static struct mmu_config large_without_ad = {.mmio_caching = true, .huge = true};
static struct mmu_config small_without_ad = {.mmio_caching = true};
static struct mmu_config nx = {.mmio_caching = true, .ad = true, .huge = true, .nx_huge = true};
static struct mmu_config with_pml = {.mmio_caching = true, .ad = true, .huge = true, .pml = true};

static inline int setup(void **state)
{
    start(*(const struct mmu_config *)*state, WORLD_CAPS);
    WITH_GAP(assert_int_equal(mmu_slot_add(&mmu, 0, at(RAM), SIZE, 0), 0));
    return 0;
}

/* With a second root, which is execute-only. */
static inline int setup_aliases(void **state)
{
    world_reset(WORLD_CAPS, *state);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, CODE_BIT, STOLEN_EXECUTE_ONLY), 0);
    stores_start();
    WITH_GAP(assert_int_equal(mmu_slot_add(&mmu, 0, at(RAM), SIZE, 0), 0));
    return 0;
}

/* With all four roots. */
static inline int setup_sides(void **state)
{
    world_reset(WORLD_CAPS, *state);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, SHARED_BIT, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, CODE_BIT, STOLEN_EXECUTE_ONLY), 0);
    stores_start();
    WITH_GAP(assert_int_equal(mmu_slot_add(&mmu, 0, at(RAM), SIZE, 0), 0));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    finish();
    return 0;
}
