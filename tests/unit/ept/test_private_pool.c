/* SPDX-License-Identifier: MIT */
/*
 * The private pool of a TD: it is complete or refused, its memory is out of the direct map, every
 * CPU flushes once, frames are handed out and come back, and all memory is back at the end, without
 * what the guest had in it (rules X14, X16).
 */
#include "ept/private_pool.h"
#include "ept/secure_blocks.h"
#include "ept/secure_walk.h"
#include "ept/tdx_status.h"
#include "lib/errno.h"
#include "lib/host_tlb.h"
#include "lib/patience.h"
#include "tests/unit/support.h"

#include <string.h>

#define CPUS   4u
#define BLOCKS 20u
#define END    (EPT_ENTRIES * EPT_ENTRIES) /* of the guest's frames */

static struct private_pool pool;
static struct secure_td td;
static bool deaf[CPUS]; /* the CPU does not answer */
static unsigned kicks[CPUS];
static uint64_t stale[CPUS]; /* the CPU may have translations of blocks that were hidden */
static uint64_t began;

/* A kick is an NMI: the CPU pays at once, in whatever it was. */
void cpu_kick(unsigned cpu)
{
    unsigned caller = support_cpu;
    kicks[cpu]++;
    if (deaf[cpu])
        return;
    support_cpu = cpu;
    (void)host_tlb_pay(cpu);
    support_cpu = caller;
}

static void flush(void)
{
    stale[support_cpu] = 0;
}

static void *window(void *context, hpa_t frame)
{
    assert_ptr_equal(context, &td);
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(stale[i], 0);
    return page_window(frame);
}

static uint64_t epoch_begin(void *context)
{
    (void)context;
    return ++began;
}

static bool is_over;

static bool epoch_over(void *context, uint64_t epoch)
{
    (void)context;
    assert_int_equal(epoch, began);
    return is_over;
}

static const struct secure_host host = {
    .window = window, .epoch_begin = epoch_begin, .epoch_over = epoch_over};

static int setup(void **state)
{
    (void)state;
    support_reset();
    support_host_flush = flush;
    memset(&pool, 0, sizeof(pool));
    memset(deaf, 0, sizeof(deaf));
    memset(kicks, 0, sizeof(kicks));
    is_over = true;
    patience_set(0);
    for (unsigned i = 0; i < CPUS; i++) {
        support_cpu = i;
        host_tlb_join(i);
        (void)host_tlb_pay(i);
        stale[i] = 1; /* the whole direct map, as it is now */
    }
    support_cpu = 1;
    return 0;
}

static int create(uint64_t blocks)
{
    int error = -EINPROGRESS;
    for (unsigned i = 0; i < 10000 && error == -EINPROGRESS; i++)
        error = private_pool_create(&pool, blocks);
    return error;
}

static int destroy(struct secure_td *of)
{
    int error = -EINPROGRESS;
    for (unsigned i = 0; i < 10000 && error == -EINPROGRESS; i++)
        error = private_pool_destroy(&pool, of);
    return error;
}

/* This is the first test, because the map of owners stays for ever. */
static void the_map_is_made_with_the_first_pool(void **state)
{
    (void)state;
    support_fail_allocations_after(0);
    assert_int_equal(create(BLOCKS), -ENOMEM);
    assert_non_null(strstr(support_log(), "no memory for the list of its 20 blocks"));
    assert_int_equal(destroy(NULL), 0);
}

static void create_td(void)
{
    td = (struct secure_td){
        .host = &host,
        .context = &td,
        .map = private_pool_map(),
        .root = private_frame_get(&pool, EPT_LEVEL_4K),
        .root_level = EPT_LEVEL_2M,
        .gfn_end = END,
    };
    assert_int_equal(secure_td_create(&td), TDX_SUCCESS);
    assert_int_equal(secure_td_finalise(&td), TDX_SUCCESS);
}

static void every_cpu_flushes_once(void **state)
{
    (void)state;
    uint64_t before[CPUS];
    for (unsigned i = 0; i < CPUS; i++)
        before[i] = host_tlb_cpus[i].flushes;
    assert_int_equal(create(BLOCKS), 0);
    assert_int_equal(pool.free_frames, BLOCKS * EPT_ENTRIES);
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(host_tlb_cpus[i].flushes, before[i] + 1);
        assert_int_equal(kicks[i], i != 1);
        assert_int_equal(stale[i], 0);
    }
    assert_int_equal(support_pages_in_use(), private_pool_pages(BLOCKS));
    assert_int_equal(destroy(NULL), 0);
    assert_int_equal(support_pages_in_use(), 0);
}

/* Nobody waits with the machine for a CPU that does not answer; the TD is refused in the end, and
 * the memory goes back. */
static void a_deaf_cpu_is_not_waited_for(void **state)
{
    (void)state;
    deaf[3] = true;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(private_pool_create(&pool, BLOCKS), -EINPROGRESS);
    assert_int_equal(pool.added, 0); /* the ledger says that CPU 3 has not paid */
    assert_int_equal(kicks[3], 1);
    assert_int_equal(kicks[2], 1);
    patience_set(2);
    assert_int_equal(create(BLOCKS), -ETIMEDOUT);
    assert_non_null(strstr(support_log(), "CPU 1 has waited for CPU 3 for 10 s: for a flush of the "
                                          "hypervisor's translations"));
    assert_int_equal(destroy(NULL), 0);
    assert_int_equal(support_pages_in_use(), 0);
}

static void a_cpu_that_answers_late_is_enough(void **state)
{
    (void)state;
    deaf[0] = true;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(private_pool_create(&pool, BLOCKS), -EINPROGRESS);
    deaf[0] = false;
    cpu_kick(0);
    assert_int_equal(create(BLOCKS), 0);
    assert_int_equal(destroy(NULL), 0);
}

static void no_memory_is_refused_and_nothing_lost(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (unsigned after = 0; after < 4 * BLOCKS; after++) {
        assert_false(setup(NULL));
        support_fail_allocations_after(after);
        if (!create(BLOCKS))
            break;
        assert_true(support_allocations_failed());
        assert_int_equal(destroy(NULL), 0);
        assert_int_equal(support_pages_in_use(), 0);
        failed++;
    }
    assert_int_equal(failed, 1 + 2 * BLOCKS);
    assert_int_equal(destroy(NULL), 0);
    assert_false(setup(NULL));
    support_hides = false;
    assert_int_equal(create(BLOCKS), -ENOMEM);
    assert_non_null(strstr(support_log(), "only 0 of 20 blocks of 2 MiB are free"));
    assert_int_equal(destroy(NULL), 0);
    assert_int_equal(support_pages_in_use(), 0);
}

static void frames_come_and_go(void **state)
{
    (void)state;
    static hpa_t pages[BLOCKS * EPT_ENTRIES];
    assert_int_equal(create(BLOCKS), 0);
    for (unsigned round = 0; round < 3; round++) {
        unsigned small = 0;
        hpa_t large[BLOCKS], page;
        for (unsigned i = 0; i < 5; i++)
            large[i] = private_frame_get(&pool, EPT_LEVEL_2M);
        while (page = private_frame_get(&pool, EPT_LEVEL_4K), !page_is_none(page)) {
            assert_true(page_is_hidden(page));
            pages[small++] = page;
        }
        assert_int_equal(small, (BLOCKS - 5) * EPT_ENTRIES);
        assert_int_equal(pool.free_frames, 0);
        assert_true(page_is_none(private_frame_get(&pool, EPT_LEVEL_2M)));
        for (unsigned i = 0; i < EPT_ENTRIES; i++) /* a large page comes back in parts */
            private_frame_put(&pool, hpa_add(large[0], i * PAGE_SIZE), EPT_LEVEL_4K);
        assert_int_equal(private_frame_get(&pool, EPT_LEVEL_2M).v, large[0].v);
        for (unsigned i = 0; i < 5; i++)
            private_frame_put(&pool, large[i], EPT_LEVEL_2M);
        for (unsigned i = 0; i < small; i++) /* one of each block is kept */
            if (page_offset(pages[i].v / EPT_ENTRIES))
                private_frame_put(&pool, pages[i], EPT_LEVEL_4K);
        unsigned whole = 0;
        while (page = private_frame_get(&pool, EPT_LEVEL_2M), !page_is_none(page))
            large[whole++] = page;
        assert_int_equal(whole, 5); /* no block that has lost a page is whole */
        for (unsigned i = 0; i < whole; i++)
            private_frame_put(&pool, large[i], EPT_LEVEL_2M);
        for (unsigned i = 0; i < small; i++)
            if (!page_offset(pages[i].v / EPT_ENTRIES))
                private_frame_put(&pool, pages[i], EPT_LEVEL_4K);
        assert_int_equal(pool.free_frames, BLOCKS * EPT_ENTRIES);
    }
    page_window(pages[0]); /* nothing was written to a page that the hypervisor cannot reach */
    hpa_t page = private_frame_get(&pool, EPT_LEVEL_4K);
    private_frame_put(&pool, page, EPT_LEVEL_4K);
    expect_assert_failure(private_frame_put(&pool, page, EPT_LEVEL_4K));
    pool.lock = (struct spinlock){0};
    expect_assert_failure(private_frame_put(&pool, page, EPT_LEVEL_2M));
    pool.lock = (struct spinlock){0};
    assert_int_equal(destroy(NULL), 0);
}

/* A guest that has all the memory: small pages and large ones, and some that the MMU has lost. */
static void all_memory_is_back(void **state)
{
    (void)state;
    uint64_t gfn = 0, status;
    hpa_t pages[100];
    assert_int_equal(create(BLOCKS), 0);
    create_td();
    for (; gfn < 6 * EPT_ENTRIES; gfn += EPT_ENTRIES) {
        hpa_t page = private_frame_get(&pool, EPT_LEVEL_2M);
        do
            status = secure_page_aug(&td, GFN(gfn), EPT_LEVEL_2M, page);
        while (status == TDX_INTERRUPTED_RESUMABLE);
        assert_int_equal(status, TDX_SUCCESS);
        assert_int_equal(secure_page_accept(&td, GFN(gfn), EPT_LEVEL_2M), TDX_SUCCESS);
    }
    hpa_t table = private_frame_get(&pool, EPT_LEVEL_4K);
    assert_int_equal(secure_table_add(&td, GFN(gfn), EPT_LEVEL_2M, table), TDX_SUCCESS);
    for (unsigned i = 0; i < 100; i++, gfn++) {
        hpa_t page = private_frame_get(&pool, EPT_LEVEL_4K);
        assert_int_equal(secure_page_aug(&td, GFN(gfn), EPT_LEVEL_4K, page), TDX_SUCCESS);
        assert_int_equal(secure_page_accept(&td, GFN(gfn), EPT_LEVEL_4K), TDX_SUCCESS);
        assert_int_equal(secure_write_private(&td, GFN(gfn), 9, "secret", 6), TDX_SUCCESS);
        pages[i] = page;
    }
    for (unsigned i = 0; i < 100; i += 2) /* while the TD has them: a lie */
        private_frame_put(&pool, pages[i], EPT_LEVEL_4K);
    is_over = false;
    assert_int_equal(secure_td_stop(&td), TDX_SUCCESS);
    assert_int_equal(destroy(&td), -EBUSY);
    is_over = true;
    unsigned calls = 0;
    for (int error = -EINPROGRESS; error; calls++) {
        error = private_pool_destroy(&pool, &td);
        assert_true(!error || error == -EINPROGRESS);
    }
    assert_true(calls > BLOCKS * (2 + 1)); /* in pieces */
    assert_true(secure_td_is_gone(&td));
    assert_int_equal(support_pages_in_use(), 0);
}

static hpa_t freed[BLOCKS];
static unsigned freed_count;

/* What the allocator gets back is looked at as its next user may. */
static void look_for_secrets(hpa_t page, unsigned order)
{
    if (order != 9)
        return;
    const char *bytes = phys_to_virt(page);
    for (uint64_t i = 0; i + 6 <= EPT_ENTRIES * PAGE_SIZE; i += PAGE_SIZE)
        assert_memory_not_equal(bytes + i + 9, "secret", 6);
    freed[freed_count++] = page;
}

static void secrets_are_scrubbed(void **state)
{
    (void)state;
    assert_int_equal(create(2), 0);
    create_td();
    hpa_t page = private_frame_get(&pool, EPT_LEVEL_2M);
    uint64_t status;
    do
        status = secure_page_aug(&td, GFN(0), EPT_LEVEL_2M, page);
    while (status == TDX_INTERRUPTED_RESUMABLE);
    assert_int_equal(secure_page_accept(&td, GFN(0), EPT_LEVEL_2M), TDX_SUCCESS);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        assert_int_equal(secure_write_private(&td, GFN(i), 9, "secret", 6), TDX_SUCCESS);
    freed_count = 0;
    support_free_hook = look_for_secrets;
    assert_int_equal(secure_td_stop(&td), TDX_SUCCESS);
    assert_int_equal(destroy(&td), 0);
    assert_int_equal(freed_count, 2);
}

static void a_pool_has_room_for_the_tables(void **state)
{
    (void)state;
    for (uint64_t frames = 1; frames < BIT(24); frames = frames * 3 + 1) {
        uint64_t blocks = private_pool_blocks(frames);
        uint64_t tables = (frames + 511) / 512 + (frames + 262143) / 262144 + 2;
        assert_true(blocks * EPT_ENTRIES >= frames + tables);
        assert_true(blocks * EPT_ENTRIES <= frames + tables + 32 + EPT_ENTRIES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_map_is_made_with_the_first_pool, setup),
        cmocka_unit_test_setup(every_cpu_flushes_once, setup),
        cmocka_unit_test_setup(a_deaf_cpu_is_not_waited_for, setup),
        cmocka_unit_test_setup(a_cpu_that_answers_late_is_enough, setup),
        cmocka_unit_test_setup(no_memory_is_refused_and_nothing_lost, setup),
        cmocka_unit_test_setup(frames_come_and_go, setup),
        cmocka_unit_test_setup(all_memory_is_back, setup),
        cmocka_unit_test_setup(secrets_are_scrubbed, setup),
        cmocka_unit_test_setup(a_pool_has_room_for_the_tables, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
