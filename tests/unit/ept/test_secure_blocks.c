/* SPDX-License-Identifier: MIT */
/*
 * The secure side around its calls: blocks of memory enter and leave the map of owners, large pages
 * are cleared in pieces, private bytes are read and written, lies are reported (rules X14 to X16).
 */
#include "tests/unit/ept/secure_setup.h"

#include "lib/host_tlb.h"

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Clearing 2 MiB takes long, so a call clears a part of it; nothing is lost in between, and the
 * page can still be used otherwise. */
static void a_large_page_is_cleared_in_pieces(void **state)
{
    (void)state;
    static const uint64_t pieces = EPT_ENTRIES / SECURE_PIECE;
    for (uint64_t i = 1; i < pieces; i++) {
        uint64_t next = i * SECURE_PIECE - (i > 2); /* a frame is cleared twice */
        assert_int_equal(secure_page_aug(td, GFN(512), 2, page_at(BLOCK)),
                         TDX_INTERRUPTED_RESUMABLE);
        assert_null(world_frames[BLOCK].owner);
        assert_int_equal(state_of(512, 2), SECURE_FREE);
        assert_true(is_all(world_memory[BLOCK + next - 1], 0));
        assert_true(is_all(world_memory[BLOCK + next], 0xeeeeeeeeeeeeeeee));
        if (i == 2) { /* one of them is used, and is not zero afterwards */
            assert_int_equal(secure_page_aug(td, GFN(0), 1, page_at(BLOCK + 1)), TDX_SUCCESS);
            assert_int_equal(secure_page_aug(td, GFN(512), 2, page_at(BLOCK)),
                             TDX_PAGE_METADATA_INCORRECT);
            world_memory[BLOCK + 1][7] = 0x5ec2e7;
            assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_SUCCESS);
            assert_int_equal(secure_track(td), TDX_SUCCESS);
            assert_int_equal(secure_page_remove(td, GFN(0), 1), TDX_SUCCESS);
        }
    }
    assert_int_equal(secure_page_aug(td, GFN(512), 2, page_at(BLOCK)), TDX_INTERRUPTED_RESUMABLE);
    assert_int_equal(secure_page_aug(td, GFN(512), 2, page_at(BLOCK)), TDX_SUCCESS);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        assert_true(is_all(world_memory[BLOCK + i], 0));
}

/* X16: a CPU that still has a translation of the direct map could write to the guest's page. */
static void a_block_enters_when_every_cpu_has_flushed(void **state)
{
    (void)state;
    unsigned piece = BLOCK / EPT_ENTRIES;
    assert_int_equal(world_add(piece), TDX_PAGE_METADATA_INCORRECT); /* it is in the map */
    assert_int_equal(leave(BLOCK), TDX_SUCCESS);
    assert_int_equal(leave(BLOCK), TDX_OPERAND_ADDR_RANGE_ERROR);
    world_hidden[piece] = false;
    assert_int_equal(world_add(piece), TDX_PAGE_METADATA_INCORRECT);
    world_hidden[piece] = true;
    for (unsigned cpu = 0; cpu < GUEST_CPUS; cpu++)
        host_tlb_join(cpu);
    (void)host_tlb_owe();
    for (unsigned cpu = 0; cpu < GUEST_CPUS; cpu++) {
        assert_int_equal(world_add(piece), TDX_TLB_TRACKING_NOT_DONE);
        assert_true(host_tlb_pay(cpu));
    }
    assert_int_equal(world_add(piece), TDX_SUCCESS);
    struct secure_frame none[1];
    assert_int_equal(secure_block_add(&world_map, HPA(POOL_BASE + PAGE_SIZE), none),
                     TDX_OPERAND_INVALID);
    assert_int_equal(secure_block_add(&world_map, page_at(POOL_FRAMES), none),
                     TDX_OPERAND_ADDR_RANGE_ERROR);
}

static void a_block_in_use_does_not_leave(void **state)
{
    (void)state;
    give(EPT_LEVEL_4K, true);
    give(EPT_LEVEL_2M, true);
    assert_int_equal(leave(PAGE), TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(leave(BLOCK), TDX_PAGE_METADATA_INCORRECT);
    assert_int_equal(secure_hold(&world_map, page_at(2 * BLOCK)), TDX_SUCCESS);
    assert_int_equal(leave(2 * BLOCK), TDX_PAGE_METADATA_INCORRECT);
    secure_drop(&world_map, page_at(2 * BLOCK));
    assert_int_equal(leave(2 * BLOCK), TDX_SUCCESS);
}

/* ---- Private bytes --------------------------------------------------------------------------- */

static void private_bytes_are_those_of_mapped_pages(void **state)
{
    (void)state;
    char text[16] = "";
    for (unsigned level = 1; level <= 2; level++) {
        uint64_t gfn = level == 2 ? 512 + 37 : 0, frame = level == 2 ? BLOCK + 37 : PAGE;
        assert_int_equal(secure_read_private(td, GFN(gfn), 0, text, 1),
                         level == 2 ? TDX_EPT_WALK_FAILED : TDX_EPT_ENTRY_STATE_INCORRECT);
        give(level, false);
        assert_int_not_equal(secure_read_private(td, GFN(gfn), 0, text, 1), TDX_SUCCESS);
        assert_int_not_equal(secure_write_private(td, GFN(gfn), 0, text, 1), TDX_SUCCESS);
        assert_int_equal(secure_page_accept(td, GFN(gfn & ~511ull), level), TDX_SUCCESS);
        assert_int_equal(secure_write_private(td, GFN(gfn), 4090, "report", 6), TDX_SUCCESS);
        assert_memory_equal((char *)world_memory[frame] + 4090, "report", 6);
        assert_int_equal(secure_read_private(td, GFN(gfn), 4089, text, 7), TDX_SUCCESS);
        assert_memory_equal(text, "\0report", 7);
        assert_int_equal(secure_read_private(td, GFN(gfn), 4090, text, 7), TDX_OPERAND_INVALID);
        assert_int_equal(secure_write_private(td, GFN(gfn), 4097, text, 0), TDX_OPERAND_INVALID);
        assert_int_equal(secure_write_private(td, GFN(gfn), 4, text, ~0ul), TDX_OPERAND_INVALID);
        assert_int_equal(secure_range_block(td, GFN(gfn & ~511ull), level), TDX_SUCCESS);
        assert_int_not_equal(secure_read_private(td, GFN(gfn), 0, text, 1), TDX_SUCCESS);
        assert_int_not_equal(secure_write_private(td, GFN(gfn), 0, text, 1), TDX_SUCCESS);
    }
    assert_int_equal(secure_read_private(td, GFN(END), 0, text, 1), TDX_OPERAND_INVALID);
    assert_int_equal(secure_range_block(td, GFN(0), 2), TDX_SUCCESS); /* the table above */
    assert_int_equal(secure_read_private(td, GFN(0), 0, text, 1), TDX_EPT_WALK_FAILED);
    assert_int_equal(secure_table_add(td, GFN(1024), 2, page_at(10)), TDX_SUCCESS);
    assert_int_equal(secure_page_aug(td, GFN(1024), 1, page_at(11)), TDX_SUCCESS);
    assert_int_equal(secure_page_accept(td, GFN(1024), 1), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(1024), 0, text, 1), TDX_SUCCESS);
    assert_int_equal(secure_td_stop(td), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(1024), 0, text, 1), TDX_LIFECYCLE_STATE_INCORRECT);
}

/* Also those of a page that was read just before. */
static void private_bytes_go_with_the_td(void **state)
{
    (void)state;
    char text[1];
    give(1, false);
    assert_int_equal(secure_page_accept(td, GFN(0), 1), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(0), 0, text, 1), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(0), 0, text, 1), TDX_SUCCESS);
    assert_int_equal(secure_td_stop(td), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(0), 0, text, 1), TDX_LIFECYCLE_STATE_INCORRECT);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static struct secure_refusal last_refusal;
static unsigned refusals;

static void note_refusal(void *context, const struct secure_refusal *refusal)
{
    assert_ptr_equal(context, &world[0]);
    assert_false(td->lock.taken);
    last_refusal = *refusal;
    refusals++;
}

static void check_refusal(uint64_t answer, enum secure_call call, uint64_t status,
                          enum secure_state state_found, uint64_t gfn, hpa_t page)
{
    assert_int_equal(answer, status);
    assert_int_equal(refusals, 1);
    assert_int_equal(last_refusal.call, call);
    assert_int_equal(last_refusal.status, status);
    assert_int_equal(last_refusal.state, state_found);
    assert_int_equal(last_refusal.gfn.v, gfn);
    assert_int_equal(last_refusal.page.v, page.v);
    refusals = 0;
}

/* What a hypervisor does by mistake is reported; what it has to do again is not. */
static void a_lie_is_reported(void **state)
{
    (void)state;
    static struct secure_host host;
    host = world_host;
    host.refused = note_refusal;
    td->host = &host;
    refusals = 0;
    give(EPT_LEVEL_2M, true);
    give(EPT_LEVEL_4K, true);
    assert_int_equal(secure_page_accept(td, GFN(9), 1), TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(refusals, 0); /* the guest's mistake, and none */

    check_refusal(secure_page_aug(td, GFN(0), 1, page_at(9)), SECURE_CALL_PAGE_AUG,
                  TDX_EPT_ENTRY_STATE_INCORRECT, SECURE_MAPPED, 0, page_at(9));
    check_refusal(secure_page_aug(td, GFN(1), 1, page_at(PAGE)), SECURE_CALL_PAGE_AUG,
                  TDX_PAGE_METADATA_INCORRECT, SECURE_FREE, 1, page_at(PAGE));
    check_refusal(secure_page_add(td, GFN(1), page_at(9), source), SECURE_CALL_PAGE_ADD,
                  TDX_OP_STATE_INCORRECT, SECURE_FREE, 1, page_at(9));
    check_refusal(secure_page_remove(td, GFN(0), 1), SECURE_CALL_PAGE_REMOVE,
                  TDX_GPA_RANGE_NOT_BLOCKED, SECURE_MAPPED, 0, page_at(PAGE));
    check_refusal(secure_table_add(td, GFN(0), 2, page_at(9)), SECURE_CALL_TABLE_ADD,
                  TDX_EPT_ENTRY_STATE_INCORRECT, SECURE_TABLE, 0, page_at(9));
    check_refusal(secure_table_remove(td, GFN(0), 2), SECURE_CALL_TABLE_REMOVE,
                  TDX_GPA_RANGE_NOT_BLOCKED, SECURE_TABLE, 0, page_at(TABLE));
    check_refusal(secure_page_demote(td, GFN(512), page_at(9)), SECURE_CALL_DEMOTE,
                  TDX_GPA_RANGE_NOT_BLOCKED, SECURE_MAPPED, 512, page_at(9));
    check_refusal(secure_range_block(td, GFN(5), 1), SECURE_CALL_BLOCK,
                  TDX_EPT_ENTRY_STATE_INCORRECT, SECURE_FREE, 5, HPA(0));
    assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_SUCCESS);
    assert_int_equal(secure_range_block(td, GFN(0), 1), TDX_GPA_RANGE_ALREADY_BLOCKED);
    assert_int_equal(refusals, 0);
    check_refusal(secure_page_remove(td, GFN(0), 1), SECURE_CALL_PAGE_REMOVE,
                  TDX_TLB_TRACKING_NOT_DONE, SECURE_BLOCKED, 0, page_at(PAGE));
    cpu_enter(&world[0], &world[0].cpu[0]);
    assert_int_equal(secure_track(td), TDX_SUCCESS);
    assert_int_equal(secure_track(td), TDX_PREVIOUS_TLB_EPOCH_BUSY);
    assert_int_equal(refusals, 0);
    td->host = &world_host;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUNNING(a_large_page_is_cleared_in_pieces),
        RUNNING(a_block_enters_when_every_cpu_has_flushed),
        RUNNING(a_block_in_use_does_not_leave),
        RUNNING(private_bytes_are_those_of_mapped_pages),
        RUNNING(private_bytes_go_with_the_td),
        RUNNING(a_lie_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
