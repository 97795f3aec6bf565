/* SPDX-License-Identifier: MIT */
/*
 * The secure side (decision D5), rule by rule: what each call does, and each status by which it is
 * refused, with nothing changed then (rules X2 to X4, X12 to X14).
 */
#include "tests/unit/ept/secure_setup.h"

#include <stdlib.h>

/* ---- The life of a TD ------------------------------------------------------------------------ */

static void a_td_needs_a_root_that_covers_it(void **state)
{
    (void)state;
    static const struct {
        unsigned level;
        uint64_t end;
    } bad[] = {{1, 512}, {5, 1ull << 36}, {2, 0}, {2, 511}, {2, 513}, {2, 513 * 512}, {3, 512}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(world_create(&world[1], bad[i].level, bad[i].end, page_at(9)),
                         TDX_OPERAND_INVALID);
        assert_int_equal(world[1].td.life, SECURE_STOPPED);
    }
    assert_null(world_frames[9].owner);
    /* The root of another TD cannot be changed through a TD that was refused. */
    assert_int_equal(world_create(&world[1], 2, 512 * 512, page_at(ROOT)),
                     TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_table_add(&world[1].td, GFN(0), 2, page_at(9)),
                     TDX_LIFECYCLE_STATE_INCORRECT);
    assert_true(secure_td_is_gone(&world[1].td));
    assert_int_equal(world_create(&world[1], 4, 512ull << 27, page_at(9)), TDX_SUCCESS);
    assert_true(is_all(world_memory[9], EPT_SUPPRESS_VE));
}

static void a_td_is_built_then_runs_then_stops(void **state)
{
    (void)state;
    struct guest_cpu *cpu = &world[0].cpu[1];
    assert_int_equal(secure_table_add(td, GFN(0), 2, page_at(TABLE)), TDX_SUCCESS);
    assert_int_equal(secure_page_aug(td, GFN(0), 1, page_at(PAGE)), TDX_OP_STATE_INCORRECT);
    assert_int_equal(secure_page_add(td, GFN(0), page_at(PAGE), source), TDX_SUCCESS);
    assert_int_equal(secure_page_reclaim(td, page_at(PAGE)), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_td_finalise(td), TDX_SUCCESS);
    assert_int_equal(secure_td_finalise(td), TDX_OP_STATE_INCORRECT);
    assert_int_equal(secure_page_add(td, GFN(1), page_at(9), source), TDX_OP_STATE_INCORRECT);
    assert_int_equal(aug(td, 512, 2, page_at(BLOCK)), TDX_SUCCESS);

    cpu_enter(&world[0], cpu);
    assert_non_null(cpu_walk(&world[0], cpu, GFN(0)));
    assert_int_equal(secure_td_stop(td), TDX_SUCCESS);
    assert_int_equal(secure_page_reclaim(td, page_at(PAGE)), TDX_FLUSHVP_NOT_DONE);
    cpu->inside = false;
    assert_int_equal(secure_td_stop(td), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_td_finalise(td), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_track(td), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_table_add(td, GFN(1024), 2, page_at(9)), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_page_add(td, GFN(1), page_at(9), source),
                     TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_page_aug(td, GFN(1), 1, page_at(9)), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_page_accept(td, GFN(512), 2), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_page_remove(td, GFN(0), 1), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_page_demote(td, GFN(512), page_at(9)), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_table_remove(td, GFN(0), 2), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_read(td, GFN(0), 1, &the_page, &the_state),
                     TDX_LIFECYCLE_STATE_INCORRECT);
    assert_null(world_frames[9].owner);
}

static void pages_of_a_stopped_td_are_scrubbed(void **state)
{
    (void)state;
    give(EPT_LEVEL_4K, true);
    give(EPT_LEVEL_2M, false);
    memset(world_memory[PAGE], 0x55, PAGE_SIZE);
    world_memory[BLOCK + 511][511] = 0x55;
    assert_int_equal(secure_range_block(td, GFN(0), 2), TDX_SUCCESS); /* a table, BLOCKED */
    assert_int_equal(secure_td_stop(td), TDX_SUCCESS);

    assert_int_equal(secure_page_reclaim(td, page_at(PAGE)), TDX_SUCCESS);
    assert_int_equal(secure_page_reclaim(td, page_at(PAGE)), TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_page_reclaim(td, page_at(BLOCK + 1)), TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_page_reclaim(td, page_at(BLOCK)), TDX_SUCCESS);
    assert_int_equal(leave(BLOCK), TDX_SUCCESS);
    assert_int_equal(world_memory[BLOCK + 511][511], 0);
    assert_int_equal(secure_page_reclaim(td, page_at(BLOCK)), TDX_OPERAND_ADDR_RANGE_ERROR);
    assert_int_equal(secure_page_reclaim(td, HPA(POOL_BASE + 8)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_reclaim(td, page_at(POOL_FRAMES)), TDX_OPERAND_ADDR_RANGE_ERROR);
    assert_int_equal(secure_page_reclaim(td, page_at(TABLE)), TDX_SUCCESS);
    assert_false(secure_td_is_gone(td));
    assert_int_equal(secure_page_reclaim(td, page_at(ROOT)), TDX_SUCCESS);
    assert_true(secure_td_is_gone(td));
    assert_int_equal(leave(PAGE), TDX_SUCCESS);
    assert_true(is_all(world_memory[ROOT], 0) && is_all(world_memory[TABLE], 0));
    assert_true(is_all(world_memory[PAGE], 0));
    assert_true(is_all(world_memory[9], 0xeeeeeeeeeeeeeeee)); /* it was never a guest's */
    assert_int_equal(world_add(0), TDX_SUCCESS);
    assert_int_equal(world_create(&world[1], 2, END, page_at(PAGE)), TDX_SUCCESS);
}

/* A page that another CPU is still clearing for this TD is not pulled away from it. */
static void a_page_in_flight_is_not_reclaimed(void **state)
{
    (void)state;
    assert_int_equal(secure_claim(&world_map, td, page_at(PAGE), EPT_LEVEL_4K), TDX_SUCCESS);
    assert_int_equal(secure_td_stop(td), TDX_SUCCESS);
    assert_int_equal(secure_page_reclaim(td, page_at(PAGE)), TDX_OPERAND_BUSY);
    secure_release(&world_map, page_at(PAGE), EPT_LEVEL_4K, SECURE_KNOWN);
    assert_int_equal(secure_page_reclaim(td, page_at(PAGE)), TDX_PAGE_METADATA_INCORRECT);
}

/* ---- The initial image ----------------------------------------------------------------------- */

static void the_image_is_copied_and_measured(void **state)
{
    (void)state;
    uint64_t content[EPT_ENTRIES];
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        content[i] = i * i + 7;
    assert_int_equal(secure_page_add(td, GFN(5), page_at(PAGE), content), TDX_EPT_WALK_FAILED);
    assert_int_equal(secure_table_add(td, GFN(0), 2, page_at(TABLE)), TDX_SUCCESS);
    assert_int_equal(secure_page_add(td, GFN(5), page_at(TABLE), content),
                     TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_page_add(td, GFN(END), page_at(PAGE), content), TDX_OPERAND_INVALID);
    assert_int_equal(world[0].measured, 0);
    assert_int_equal(secure_page_add(td, GFN(5), page_at(PAGE), content), TDX_SUCCESS);
    assert_int_equal(secure_page_add(td, GFN(5), page_at(9), content), /* twice (rule X4) */
                     TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(world[0].measured, 1);
    assert_int_equal(world[0].measured_sum, sum_of(0, GFN(5), content));
    assert_memory_equal(world_memory[PAGE], content, PAGE_SIZE);
    assert_int_equal(state_of(5, 1), SECURE_MAPPED);
    assert_int_equal(the_page.v, page_at(PAGE).v);
    assert_int_equal(secure_page_accept(td, GFN(5), 1), TDX_PAGE_ALREADY_ACCEPTED);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void a_table_is_linked_once(void **state)
{
    (void)state;
    assert_int_equal(secure_page_aug(td, GFN(512), 1, page_at(PAGE)), TDX_EPT_WALK_FAILED);
    assert_int_equal(secure_table_add(td, GFN(0), 2, page_at(9)), TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_table_add(td, GFN(512), 1, page_at(9)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_table_add(td, GFN(512), 3, page_at(9)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_table_add(td, GFN(513), 2, page_at(9)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_table_add(td, GFN(END), 2, page_at(9)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_table_add(td, GFN(512), 2, page_at(ROOT)), TDX_PAGE_METADATA_INCORRECT);
    assert_null(world_frames[9].owner);
    assert_int_equal(secure_table_add(td, GFN(512), 2, page_at(9)), TDX_SUCCESS);
    assert_true(is_all(world_memory[9], EPT_SUPPRESS_VE));
    assert_int_equal(state_of(512, 2), SECURE_TABLE);
}

static void four_levels_are_walked(void **state)
{
    (void)state;
    gfn_t gfn = GFN((3ull << 27) + (2ull << 18) + (1ull << 9));
    assert_int_equal(world_create(&world[1], 4, 4ull << 27, page_at(20)), TDX_SUCCESS);
    assert_int_equal(secure_td_finalise(&world[1].td), TDX_SUCCESS);
    struct secure_td *other = &world[1].td;
    gfn_t large = GFN(gfn.v & ~((1ull << 27) - 1)), middle = GFN(gfn.v & ~((1ull << 18) - 1));
    assert_int_equal(secure_table_add(other, middle, 3, page_at(21)), TDX_EPT_WALK_FAILED);
    assert_int_equal(secure_table_add(other, middle, 4, page_at(21)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_table_add(other, large, 4, page_at(21)), TDX_SUCCESS);
    assert_int_equal(secure_table_add(other, middle, 3, page_at(22)), TDX_SUCCESS);
    assert_int_equal(secure_table_add(other, gfn, 2, page_at(23)), TDX_SUCCESS);
    assert_int_equal(secure_page_aug(other, gfn, 1, page_at(24)), TDX_SUCCESS);
    assert_int_equal(secure_page_accept(other, gfn, 1), TDX_SUCCESS);
    cpu_enter(&world[1], &world[1].cpu[0]);
    assert_ptr_equal(cpu_walk(&world[1], &world[1].cpu[0], gfn), world_memory[24]);
}

static void a_table_is_removed_when_it_is_empty(void **state)
{
    (void)state;
    struct guest_cpu *cpu = &world[0].cpu[2];
    give(EPT_LEVEL_4K, true);
    cpu_enter(&world[0], cpu);
    assert_int_equal(secure_table_remove(td, GFN(0), 2), TDX_GPA_RANGE_NOT_BLOCKED);
    assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_SUCCESS);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    cpu->inside = false;
    cpu_enter(&world[0], cpu);
    assert_int_equal(secure_range_block(td, GFN(0), 2), TDX_SUCCESS);
    assert_int_equal(secure_page_remove(td, GFN(0), 1), TDX_EPT_WALK_FAILED); /* out of reach */
    assert_int_equal(secure_page_remove(td, GFN(0), 2), TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(secure_table_remove(td, GFN(0), 2), TDX_TLB_TRACKING_NOT_DONE);
    cpu->inside = false;
    assert_int_equal(secure_table_remove(td, GFN(0), 2), TDX_EPT_PAGE_NOT_FREE);

    assert_int_equal(secure_table_add(td, GFN(512), 2, page_at(9)), TDX_SUCCESS);
    assert_int_equal(secure_range_block(td, GFN(512), 2), TDX_SUCCESS);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(secure_table_remove(td, GFN(512), 2), TDX_SUCCESS);
    assert_null(world_frames[9].owner);
    assert_int_equal(state_of(512, 2), SECURE_FREE);
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static void a_page_is_cleared_and_pending(void **state)
{
    (void)state;
    struct guest_cpu *cpu = &world[0].cpu[0];
    cpu_enter(&world[0], cpu);
    for (unsigned level = 1; level <= 2; level++) {
        uint64_t gfn = level == 2 ? 512 : 0, frame = level == 2 ? BLOCK : PAGE;
        give(level, false);
        assert_int_equal(state_of(gfn, level), SECURE_PENDING);
        assert_null(cpu_walk(&world[0], cpu, GFN(gfn)));
        for (uint64_t i = 0; i < ept_frames(level); i++)
            assert_true(is_all(world_memory[frame + i], 0));
        assert_int_equal(secure_page_accept(td, GFN(gfn), level), TDX_SUCCESS);
        assert_int_equal(state_of(gfn, level), SECURE_MAPPED);
        assert_ptr_equal(cpu_walk(&world[0], cpu, GFN(gfn)), world_memory[frame]);
        cpu_walk(&world[0], cpu, GFN(gfn))[3] = 77; /* ACCEPT does not clear it again */
        assert_int_equal(secure_page_accept(td, GFN(gfn), level), TDX_PAGE_ALREADY_ACCEPTED);
        assert_int_equal(world_memory[frame][3], 77);
    }
}

static void accept_knows_the_size(void **state)
{
    (void)state;
    assert_int_equal(secure_page_accept(td, GFN(0), 3), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_accept(td, GFN(0), 0), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_accept(td, GFN(1), 2), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_accept(td, GFN(END), 1), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_accept(td, GFN(0), 1), TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_page_accept(td, GFN(0), 2), TDX_PAGE_SIZE_MISMATCH);
    assert_int_equal(secure_page_accept(td, GFN(512), 2), TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_page_accept(td, GFN(512), 1), TDX_EPT_WALK_FAILED);
    give(EPT_LEVEL_2M, false);
    assert_int_equal(secure_page_accept(td, GFN(513), 1), TDX_EPT_WALK_FAILED);
    assert_int_equal(secure_page_accept(td, GFN(512), 2), TDX_SUCCESS);
    assert_int_equal(secure_page_accept(td, GFN(513), 1), TDX_PAGE_ALREADY_ACCEPTED);
    assert_int_equal(secure_range_block(td, GFN(512), 2), TDX_SUCCESS);
    assert_int_equal(secure_page_accept(td, GFN(512), 2), TDX_EPT_ENTRY_STATE_INCORRECT);
}

static void pending_pages_become_ve_if_the_td_wants_it(void **state)
{
    (void)state;
    give(EPT_LEVEL_4K, false);
    assert_true(world_memory[TABLE][0] & EPT_SUPPRESS_VE);
    td->pending_ve = true;
    assert_int_equal(secure_page_aug(td, GFN(1), 1, page_at(9)), TDX_SUCCESS);
    assert_false(world_memory[TABLE][1] & EPT_SUPPRESS_VE);
    assert_int_equal(secure_range_block(td, GFN(1), 1), TDX_SUCCESS);
    assert_true(world_memory[TABLE][1] & EPT_SUPPRESS_VE);
}

static void no_page_has_two_owners(void **state)
{
    (void)state;
    struct secure_td *other = &world[1].td;
    assert_int_equal(world_create(&world[1], 2, END, page_at(10)), TDX_SUCCESS);
    assert_int_equal(secure_td_finalise(other), TDX_SUCCESS);
    assert_int_equal(secure_table_add(other, GFN(0), 2, page_at(11)), TDX_SUCCESS);
    give(EPT_LEVEL_4K, true);
    give(EPT_LEVEL_2M, true);
    static const unsigned taken[] = {ROOT, TABLE, PAGE, 10, 11, BLOCK, BLOCK + 1, BLOCK + 511};
    for (unsigned i = 0; i < ARRAY_SIZE(taken); i++) {
        assert_int_equal(secure_page_aug(other, GFN(7), 1, page_at(taken[i])),
                         TDX_PAGE_METADATA_INCORRECT);
        assert_int_equal(secure_page_aug(td, GFN(7), 1, page_at(taken[i])),
                         TDX_PAGE_METADATA_INCORRECT);
        assert_int_equal(secure_table_add(td, GFN(1024), 2, page_at(taken[i])),
                         TDX_PAGE_METADATA_INCORRECT);
    }
    assert_int_equal(secure_page_aug(other, GFN(512), 2, page_at(BLOCK)),
                     TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_page_aug(other, GFN(512), 2, page_at(0)), TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_page_reclaim(other, page_at(PAGE)), TDX_LIFECYCLE_STATE_INCORRECT);
    assert_int_equal(secure_td_stop(other), TDX_SUCCESS);
    assert_int_equal(secure_page_reclaim(other, page_at(PAGE)), TDX_PAGE_METADATA_INCORRECT);
}

static void only_whole_pages_of_the_pool_are_taken(void **state)
{
    (void)state;
    unsigned last = POOL_PIECES - 1;
    assert_int_equal(leave(last * EPT_ENTRIES), TDX_SUCCESS);
    static const uint64_t outside[] = {0,
                                       POOL_BASE - PAGE_SIZE,
                                       POOL_BASE + BIT(44),
                                       POOL_BASE + POOL_FRAMES * PAGE_SIZE,
                                       POOL_BASE + (POOL_FRAMES - 1) * PAGE_SIZE,
                                       ~0ull << 12};
    for (unsigned i = 0; i < ARRAY_SIZE(outside); i++)
        assert_int_equal(secure_page_aug(td, GFN(0), 1, HPA(outside[i])),
                         TDX_OPERAND_ADDR_RANGE_ERROR);
    assert_int_equal(secure_page_aug(td, GFN(0), 1, HPA(POOL_BASE + 0x2001)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_aug(td, GFN(512), 2, page_at(BLOCK + 1)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_aug(td, GFN(512), 2, page_at(last * EPT_ENTRIES)),
                     TDX_OPERAND_ADDR_RANGE_ERROR);
    assert_int_equal(world_add(last), TDX_SUCCESS);
    /* Between the two last steps of its removal, a block still has its frames. */
    struct secure_block *leaves = secure_block(&world_map, page_at(last * EPT_ENTRIES));
    uint32_t use = leaves->use;
    leaves->use = 0;
    assert_int_equal(secure_hold(&world_map, page_at(last * EPT_ENTRIES)),
                     TDX_OPERAND_ADDR_RANGE_ERROR);
    leaves->use = use;
    assert_int_equal(secure_page_aug(td, GFN(0), 1, page_at(POOL_FRAMES - 1)), TDX_SUCCESS);
    assert_int_equal(secure_page_aug(td, GFN(0), 1, page_at(9)), TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_page_aug(td, GFN(0), 3, page_at(9)), TDX_OPERAND_INVALID);
    assert_int_equal(secure_page_aug(td, GFN(0), 0, page_at(9)), TDX_OPERAND_INVALID);
}

/* ---- Block, track, remove -------------------------------------------------------------------- */

static void a_page_leaves_in_three_steps(void **state)
{
    (void)state;
    struct guest_cpu *cpu = &world[0].cpu[0];
    for (unsigned level = 1; level <= 2; level++) {
        uint64_t gfn = level == 2 ? 512 : 0, frame = level == 2 ? BLOCK : PAGE;
        give(level, true);
        cpu_enter(&world[0], cpu);
        cpu_walk(&world[0], cpu, GFN(gfn))[0] = 0x5ec2e7;
        assert_int_equal(secure_page_remove(td, GFN(gfn), level), TDX_GPA_RANGE_NOT_BLOCKED);
        assert_int_equal(secure_range_block(td, GFN(gfn), level), TDX_SUCCESS);
        assert_int_equal(secure_range_block(td, GFN(gfn), level), TDX_GPA_RANGE_ALREADY_BLOCKED);
        assert_int_equal(secure_page_remove(td, GFN(gfn), level), TDX_TLB_TRACKING_NOT_DONE);
        assert_int_equal(secure_track(td), TDX_SUCCESS);
        assert_int_equal(secure_page_remove(td, GFN(gfn), level), TDX_TLB_TRACKING_NOT_DONE);
        assert_int_equal(secure_track(td), TDX_PREVIOUS_TLB_EPOCH_BUSY);
        assert_int_equal(world_memory[frame][0], 0x5ec2e7);
        cpu->inside = false;
        cpu_enter(&world[0], cpu);
        check_out_of_reach(&world[0], page_at(frame), level);
        assert_int_equal(secure_page_remove(td, GFN(gfn), level), TDX_SUCCESS);
        assert_null(world_frames[frame].owner);
        assert_int_equal(secure_page_remove(td, GFN(gfn), level), TDX_EPT_ENTRY_STATE_INCORRECT);
        cpu->inside = false;
        give(level, true);
        assert_int_equal(world_memory[frame][0], 0); /* scrubbed before its next use */
        assert_int_equal(secure_range_block(td, GFN(gfn), level), TDX_SUCCESS);
        assert_int_equal(secure_track(td), TDX_SUCCESS);
        world_memory[frame][1] = 0x5ec2e7;
        assert_int_equal(secure_page_remove(td, GFN(gfn), level), TDX_SUCCESS);
    }
    assert_int_equal(leave(BLOCK), TDX_SUCCESS);
    assert_int_equal(world_memory[BLOCK][1], 0); /* and before the hypervisor has it */
    assert_int_equal(world_add(BLOCK / EPT_ENTRIES), TDX_SUCCESS);
}

/* An epoch that began before the entry was blocked proves nothing. */
static void an_earlier_epoch_does_not_count(void **state)
{
    (void)state;
    give(EPT_LEVEL_4K, true);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_SUCCESS);
    assert_int_equal(secure_page_remove(td, GFN(0), 1), TDX_TLB_TRACKING_NOT_DONE);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(secure_page_remove(td, GFN(0), 1), TDX_SUCCESS);
}

/* Of two later epochs the first one is over, so what was blocked before it needs not wait. */
static void the_second_epoch_is_not_waited_for(void **state)
{
    (void)state;
    struct guest_cpu *cpu = &world[0].cpu[0];
    give(EPT_LEVEL_4K, true);
    assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_SUCCESS);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    cpu_enter(&world[0], cpu);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(secure_track(td), TDX_PREVIOUS_TLB_EPOCH_BUSY);
    assert_int_equal(secure_page_remove(td, GFN(0), 1), TDX_SUCCESS);
}

static void a_large_page_is_split_in_place(void **state)
{
    (void)state;
    for (unsigned accepted = 0; accepted < 2; accepted++) {
        assert_false(setup_running(NULL));
        give(EPT_LEVEL_2M, accepted);
        for (unsigned i = 0; i < EPT_ENTRIES; i++)
            world_memory[BLOCK + i][0] = i;
        assert_int_equal(secure_page_demote(td, GFN(512), page_at(9)), TDX_GPA_RANGE_NOT_BLOCKED);
        assert_int_equal(secure_page_demote(td, GFN(0), page_at(9)), TDX_EPT_ENTRY_STATE_INCORRECT);
        assert_int_equal(secure_page_demote(td, GFN(1024), page_at(9)),
                         TDX_EPT_ENTRY_STATE_INCORRECT);
        assert_int_equal(secure_page_demote(td, GFN(513), page_at(9)), TDX_OPERAND_INVALID);
        assert_int_equal(secure_range_block(td, GFN(512), 2), TDX_SUCCESS);
        assert_int_equal(secure_page_demote(td, GFN(512), page_at(9)), TDX_TLB_TRACKING_NOT_DONE);
        assert_int_equal(secure_track(td), TDX_SUCCESS);
        assert_int_equal(secure_page_demote(td, GFN(512), page_at(TABLE)),
                         TDX_PAGE_METADATA_INCORRECT);
        assert_int_equal(secure_page_demote(td, GFN(512), page_at(9)), TDX_SUCCESS);
        for (unsigned i = 0; i < EPT_ENTRIES; i++) { /* no page is lost */
            assert_int_equal(state_of(512 + i, 1), accepted ? SECURE_MAPPED : SECURE_PENDING);
            assert_int_equal(the_page.v, page_at(BLOCK + i).v);
            assert_int_equal(world_memory[BLOCK + i][0], i);
        }
        check_world(world, 2);
        assert_int_equal(secure_range_block(td, GFN(515), 1), TDX_SUCCESS);
        assert_int_equal(secure_track(td), TDX_SUCCESS);
        assert_int_equal(secure_page_remove(td, GFN(515), 1), TDX_SUCCESS);
        assert_int_equal(aug(td, 1024, 2, page_at(BLOCK)), TDX_PAGE_METADATA_INCORRECT);
        assert_int_equal(secure_page_aug(td, GFN(515), 1, page_at(BLOCK + 3)), TDX_SUCCESS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BUILDING(a_td_needs_a_root_that_covers_it),
        BUILDING(a_td_is_built_then_runs_then_stops),
        RUNNING(pages_of_a_stopped_td_are_scrubbed),
        BUILDING(a_page_in_flight_is_not_reclaimed),
        BUILDING(the_image_is_copied_and_measured),
        RUNNING(a_table_is_linked_once),
        BUILDING(four_levels_are_walked),
        RUNNING(a_table_is_removed_when_it_is_empty),
        RUNNING(a_page_is_cleared_and_pending),
        RUNNING(accept_knows_the_size),
        RUNNING(pending_pages_become_ve_if_the_td_wants_it),
        RUNNING(no_page_has_two_owners),
        RUNNING(only_whole_pages_of_the_pool_are_taken),
        RUNNING(a_page_leaves_in_three_steps),
        RUNNING(an_earlier_epoch_does_not_count),
        RUNNING(the_second_epoch_is_not_waited_for),
        RUNNING(a_large_page_is_split_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
