/* SPDX-License-Identifier: MIT */
/* What test_secure*.c share: a TD that is being built, or runs with one table, and pages for it. */
#pragma once

#include "tests/unit/ept/secure_world.h"

#define ROOT  0u /* frames of the pool */
#define TABLE 1u
#define PAGE  2u
#define BLOCK (2 * EPT_ENTRIES) /* a piece that is whole */
#define END   (4 * EPT_ENTRIES) /* of the guest's frames */

static struct world_td world[2];
static struct secure_td *const td = &world[0].td;
static const uint64_t __attribute__((unused)) source[EPT_ENTRIES] = {1, 2, 3};

static hpa_t the_page;
static enum secure_state the_state;

static inline int setup(void **state)
{
    (void)state;
    world_reset();
    memset(world, 0, sizeof(world));
    return world_create(&world[0], EPT_LEVEL_2M, END, page_at(ROOT)) != TDX_SUCCESS;
}

static inline int teardown(void **state)
{
    (void)state;
    check_world(world, 2);
    return 0;
}

static inline int setup_running(void **state)
{
    return setup(state) || secure_td_finalise(td) ||
           secure_table_add(td, GFN(0), 2, page_at(TABLE));
}

static inline enum secure_state state_of(uint64_t gfn, unsigned level)
{
    assert_int_equal(secure_read(td, GFN(gfn), level, &the_page, &the_state), TDX_SUCCESS);
    return the_state;
}

static inline bool is_all(const uint64_t *memory, uint64_t value)
{
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        if (memory[i] != value)
            return false;
    return true;
}

/* Adds a page, in as many calls as that takes. */
static inline uint64_t aug(struct secure_td *to, uint64_t gfn, unsigned level, hpa_t page)
{
    uint64_t status;
    do
        status = secure_page_aug(to, GFN(gfn), level, page);
    while (status == TDX_INTERRUPTED_RESUMABLE);
    return status;
}

/* Makes guest frame 0 a page of `level`, accepted or not. */
static inline void give(unsigned level, bool accepted)
{
    hpa_t page = page_at(level == EPT_LEVEL_2M ? BLOCK : PAGE);
    uint64_t gfn = level == EPT_LEVEL_2M ? EPT_ENTRIES : 0;
    assert_int_equal(aug(td, gfn, level, page), TDX_SUCCESS);
    if (accepted)
        assert_int_equal(secure_page_accept(td, GFN(gfn), level), TDX_SUCCESS);
}

/* Takes the piece of a frame out of the map. */
static inline uint64_t leave(unsigned frame)
{
    struct secure_frame *frames;
    uint64_t status;
    hpa_t block = page_at(frame / EPT_ENTRIES * EPT_ENTRIES);
    do
        status = secure_block_remove(&world_map, block, &world_host, &world[0], &frames);
    while (status == TDX_INTERRUPTED_RESUMABLE);
    if (!status)
        assert_ptr_equal(frames, &world_frames[frame / EPT_ENTRIES * EPT_ENTRIES]);
    return status;
}

#define RUNNING(test)  cmocka_unit_test_setup_teardown(test, setup_running, teardown)
#define BUILDING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
