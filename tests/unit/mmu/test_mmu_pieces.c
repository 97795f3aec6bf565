/* SPDX-License-Identifier: MIT */
/*
 * Long operations are done in pieces (mmu_pauses()): each piece is short, the VM may end between
 * any two, and whoever needs the slots continues a change that is in progress. See mmu/change.c.
 */
#include "tests/unit/mmu/mmu_world.h"

#include "mmu/backing.h"
#include "mmu/track.h"

#define SLOT   0x200000ull
#define PLACE  0x80000000ull
#define OTHER  0x40000000ull
#define TABLES 3u
#define PAGES  (TABLES * 512)

static struct mmu mmu;
static uint64_t pauses;

/* ---- Between two questions ------------------------------------------------------------------- */

static struct counts {
    uint64_t changes, freed, cleared, to_fill, copied;
} last; /* at the last call */
static uint64_t freed;

static void count_freed(hpa_t page, unsigned order)
{
    (void)page, (void)order;
    freed++;
}

static struct counts counts(void)
{
    struct counts now = {.changes = mmu_stats(&mmu).spte_changes,
                         .freed = freed,
                         .copied = mmu.changing.copying.copied};
    for (unsigned i = 0; i < CLEARING_MAX; i++)
        now.cleared += mmu.clearing.blocks[i].qwords;
    for (unsigned i = 0; i < ARRAY_SIZE(mmu.changing.filling); i++)
        now.to_fill += mmu.changing.filling[i].qwords;
    return now;
}

/* Each piece is short, and something is always waiting for the pCPU. */
static bool wanted(void)
{
    struct counts now = counts();
    assert_true(now.changes - last.changes <= 128);
    assert_true(now.freed - last.freed <= 160);
    assert_true(now.cleared <= last.cleared + 16384);
    assert_true(now.to_fill + 16384 >= last.to_fill);
    assert_true(now.copied <= last.copied + (128 << 10));
    last = now;
    pauses++;
    return true;
}

static void want_from_now_on(void)
{
    support_pauses = wanted;
    last = counts();
}

static void start(bool pml)
{
    const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true, .pml = pml};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    freed = pauses = 0;
    support_free_hook = count_freed;
}

static void stop(void)
{
    support_pauses = NULL;
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

static void write_word(uint64_t gpa, uint64_t value)
{
    struct world_access a = world_touch(&mmu, GPA(gpa), 2);
    assert_int_equal(a.outcome, FAULT_FIXED);
    *(uint64_t *)phys_to_virt(a.page) = value;
}

static uint64_t read_word(uint64_t gpa)
{
    struct world_access a = world_touch(&mmu, GPA(gpa), 1);
    assert_int_equal(a.outcome, FAULT_FIXED);
    return *(uint64_t *)phys_to_virt(a.page);
}

/* ---- What is asked for ----------------------------------------------------------------------- */

/* The slot that is changed, with all of its pages touched. */
static void slot(uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), PAGES, flags), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(OTHER), PAGES, 0), 0);
    for (uint64_t i = 0; i < PAGES; i++)
        write_word(SLOT + i * PAGE_SIZE, i + 1);
    tlb_leave(0);
}

static const struct row {
    const char *name;
    struct mmu_change change;
    uint32_t flags; /* flags of the slot */
    uint64_t least; /* at least this number of pieces */
    uint64_t then;  /* where its memory is afterwards; 0: freed */
} rows[] = {
    {"add",
     {.kind = CHANGE_ADD, .id = 2, .gpa = GPA(PLACE), .pages = 1 << 24, .flags = 16},
     0,
     8,
     SLOT},
    {"delete", {.kind = CHANGE_DELETE}, 0, 4, 0},
    {"delete, logging", {.kind = CHANGE_DELETE}, 16, 4, 0},
    {"move", {.kind = CHANGE_MOVE, .gpa = GPA(PLACE)}, 0, 4, PLACE},
    {"move, logging", {.kind = CHANGE_MOVE, .gpa = GPA(PLACE)}, 16, 16, PLACE},
    {"move by a page, logging",
     {.kind = CHANGE_MOVE, .gpa = GPA(SLOT + 4096)},
     16,
     16,
     SLOT + 4096},
    {"begin to log", {.kind = CHANGE_FLAGS, .flags = 16}, 0, 8, SLOT},
    {"end to log", {.kind = CHANGE_FLAGS}, 16, 4, SLOT},
    {"read-only", {.kind = CHANGE_FLAGS, .flags = 16 | 8}, 16, 16, SLOT},
    {"counters", {.kind = CHANGE_COUNTERS, .gpa = GPA(SLOT)}, 0, 2, SLOT},
    {"remap", {.kind = CHANGE_REMAP, .gpa = GPA(SLOT + 0x205000)}, 0, 1, SLOT},
    {"remap, logging", {.kind = CHANGE_REMAP, .gpa = GPA(SLOT)}, 16, 1, SLOT},
};

static void check_result(const struct row *row)
{
    support_pauses = NULL;
    for (uint64_t i = 0; row->then && i < PAGES; i += 77)
        assert_int_equal(read_word(row->then + i * PAGE_SIZE), i + 1);
    if (row->then != SLOT)
        assert_int_equal(world_touch(&mmu, GPA(SLOT), 1).outcome, FAULT_EMULATE);
    if (row->change.kind == CHANGE_ADD)
        assert_int_equal(read_word(PLACE + (1ull << 35)), 0);
    world_check(&mmu);
}

/* Each change is carried to its end by its own vCPU. */
static void in_pieces(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        struct mmu_change change = row->change;
        start(false);
        slot(row->flags);
        want_from_now_on();
        int result;
        while ((result = mmu_change(&mmu, &change)) == -EINPROGRESS) {
            assert_int_equal(mmu.slots_lock.taken, 0);
            support_pauses = NULL;
            assert_int_equal(world_touch(&mmu, GPA(OTHER), 2).outcome,
                             FAULT_FIXED); /* the change continues */
            tlb_leave(0);
            want_from_now_on();
        }
        assert_int_equal(result, 0);
        if (pauses < row->least)
            fail_msg("%s: only %lu pieces", row->name, pauses);
        check_result(row);
        while (mmu_do_chore(&mmu))
            ;
        stop();
    }
}

/* The VM may end after each piece. */
static void an_end_in_the_middle(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        int result = -EINPROGRESS;
        for (unsigned pieces = 0; result == -EINPROGRESS && pieces < 40; pieces++) {
            struct mmu_change change = rows[i].change;
            start(false);
            slot(rows[i].flags);
            want_from_now_on();
            for (unsigned n = 0; n <= pieces && result == -EINPROGRESS; n++)
                result = mmu_change(&mmu, &change);
            stop();
        }
    }
}

/* ---- Others ---------------------------------------------------------------------------------- */

/* A change whose vCPU has stopped is finished by another one, and is over for both. */
static void another_change_goes_on_with_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mmu_change change = rows[i].change;
        struct mmu_change other = {.kind = CHANGE_MOVE, .id = 1, .gpa = GPA(0xe000000000)};
        start(false);
        slot(rows[i].flags);
        want_from_now_on();
        assert_int_equal(mmu_change(&mmu, &change), -EINPROGRESS);
        int result;
        while ((result = mmu_change(&mmu, &other)) == -EINPROGRESS)
            ;
        assert_int_equal(result, 0);
        assert_int_equal(mmu_change(&mmu, &change), 0); /* and is not made a second time */
        assert_int_equal(mmu.slots->used, 2 + (rows[i].change.kind == CHANGE_ADD) -
                                              (rows[i].change.kind == CHANGE_DELETE));
        check_result(&rows[i]);
        stop();
    }
}

/* Every function that needs the slots works on the change, and returns -EINPROGRESS. */
static void nobody_else_changes_anything(void **state)
{
    (void)state;
    uint64_t bitmap;
    for (unsigned i = 0; i < 4; i++) {
        struct mmu_change change = {.kind = CHANGE_MOVE, .gpa = GPA(PLACE)};
        start(false);
        slot(16);
        want_from_now_on();
        assert_int_equal(mmu_change(&mmu, &change), -EINPROGRESS);
        int result = -EINPROGRESS;
        unsigned times = 0;
        for (; result == -EINPROGRESS; times++) {
            uint64_t pieces = pauses;
            result = i == 0   ? mmu_dirty_get(&mmu, 0, 0, &bitmap, 1)
                     : i == 1 ? mmu_track(&mmu, GPA(OTHER))
                     : i == 2 ? mmu_untrack(&mmu, GPA(OTHER))
                              : mmu_set_generation(&mmu, mmu_slot_generation(&mmu) + 5);
            assert_true(result != -EINPROGRESS || pauses > pieces);
        }
        assert_true(times > 10);
        assert_int_equal(result, i == 2 ? -EINVAL : 0);
        assert_null(mmu.changing.step);
        assert_int_equal(mmu_change(&mmu, &change), 0);
        stop();
    }
}

/* A fault on the slot works on the change, too, since the vCPU that began it may be gone. */
static void a_fault_goes_on_with_it(void **state)
{
    (void)state;
    struct mmio_info info;
    struct mmu_change change = {.kind = CHANGE_MOVE, .gpa = GPA(PLACE)};
    start(false);
    slot(16);
    want_from_now_on();
    assert_int_equal(mmu_change(&mmu, &change), -EINPROGRESS);
    unsigned times = 0;
    while (mmu_fault(&mmu, GPA(SLOT), 1 | FAULT_FINAL, &info) == FAULT_RETRY)
        assert_true(++times < 1000);
    assert_true(times > 10);
    assert_int_equal(mmu_fault(&mmu, GPA(SLOT), 1 | FAULT_FINAL, &info), FAULT_EMULATE);
    support_pauses = NULL;
    assert_int_equal(mmu_change(&mmu, &change), 0);
    check_result(&rows[3]);
    stop();
}

/* Leaves from before a change of flags stay until they are zapped. A fault under the new flags that
 * meets one retries, and continues the change. */
static void a_fault_meets_old_flags(void **state)
{
    (void)state;
    struct mmio_info info;
    struct mmu_change change = {.kind = CHANGE_FLAGS};
    start(false);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), PAGES, MEMSLOT_LOG_DIRTY), 0);
    for (uint64_t i = 0; i < PAGES; i++)
        write_word(SLOT + i * PAGE_SIZE, i + 1);
    tlb_leave(0);
    assert_int_equal(mmu_slot_flags(&mmu, 0, MEMSLOT_LOG_DIRTY | MEMSLOT_READONLY), 0);
    for (uint64_t i = 0; i < PAGES; i++)
        assert_int_equal(read_word(SLOT + i * PAGE_SIZE), i + 1);
    tlb_leave(0);
    change.flags = MEMSLOT_LOG_DIRTY;
    want_from_now_on();
    assert_int_equal(mmu_change(&mmu, &change), -EINPROGRESS);
    gpa_t last_page = GPA(SLOT + (PAGES - 1) * PAGE_SIZE);
    unsigned times = 0;
    while (mmu_fault(&mmu, last_page, 2 | FAULT_PRESENT | FAULT_FINAL, &info) == FAULT_RETRY)
        assert_true(++times < 1000);
    assert_true(times > 1);
    support_pauses = NULL;
    while (mmu_change(&mmu, &change) == -EINPROGRESS)
        ;
    write_word(SLOT + (PAGES - 1) * PAGE_SIZE, 7);
    tlb_leave(0);
    stop();
}

/* Another CPU holds the lock: nobody waits for it. */
static void a_lock_that_is_taken_is_not_waited_for(void **state)
{
    (void)state;
    struct mmu_change change = {.kind = CHANGE_DELETE};
    start(false);
    slot(0);
    epoch_online(0, &mmu);
    uint64_t epoch = epoch_begin();
    mmu.slots_lock.taken = 1;
    assert_int_equal(mmu_change(&mmu, &change), -EINPROGRESS);
    assert_int_equal(mmu_track(&mmu, GPA(SLOT)), -EINPROGRESS);
    assert_true(epoch_over(epoch, &mmu)); /* its holder may wait for this pCPU */
    mmu.slots_lock.taken = 0;
    epoch_offline(0);
    assert_int_equal(mmu_change(&mmu, &change), 0);
    stop();
}

/* ---- Another place --------------------------------------------------------------------------- */

/* What the hypervisor writes while a block is copied is in the copy, before and behind where the
 * copying is, and nothing else of the copy changes. Nobody maps the block meanwhile. */
static void writes_follow_to_the_copy(void **state)
{
    (void)state;
    struct mmu_change change = {.kind = CHANGE_REMAP, .gpa = GPA(SLOT)};
    uint64_t value = 0, at = SLOT + 511 * PAGE_SIZE, old;
    struct mmio_info info;
    start(false);
    slot(0);
    hpa_t before = world_touch(&mmu, GPA(SLOT), 1).page;
    tlb_leave(0);
    want_from_now_on();
    while (mmu_change(&mmu, &change) == -EINPROGRESS) {
        support_pauses = NULL;
        for (unsigned i = 0; i < 2 && at >= SLOT; i++, at -= 0xf000) {
            value = 1000 + at;
            assert_int_equal(guest_read(&mmu, GPA(at), &old, 8, ACCESS_READ), 0);
            assert_int_equal(i ? guest_cmpxchg(&mmu, GPA(at), 8, old, value)
                               : guest_write(&mmu, GPA(at), &value, 8),
                             0);
            assert_int_equal(guest_cmpxchg(&mmu, GPA(at), 8, value + 1, 0), -EAGAIN);
            assert_int_equal(guest_read(&mmu, GPA(at), &old, 8, ACCESS_READ), 0);
            assert_int_equal(old, value);
        }
        assert_int_equal(mmu.lock.state, 0);
        want_from_now_on();
        mmu.slots_lock.taken = 1; /* so that the fault only looks */
        assert_int_equal(mmu_fault(&mmu, GPA(SLOT), 1 | FAULT_FINAL, &info), FAULT_RETRY);
        mmu.slots_lock.taken = 0;
    }
    support_pauses = NULL;
    assert_true(at < SLOT + 0x20000); /* all parts of the block */
    assert_int_not_equal(world_touch(&mmu, GPA(SLOT), 1).page.v, before.v);
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t page = SLOT + i * PAGE_SIZE;
        assert_int_equal(read_word(page), (511 - i) % 15 == 0 ? 1000 + page : i + 1);
    }
    assert_int_equal(mmu_host_remap(&mmu, GPA(SLOT + PAGES * PAGE_SIZE)), -EFAULT);
    stop();
}

/* ---- Recovery of large pages ----------------------------------------------------------------- */

#define EXECUTED 200u /* blocks; four of them are recovered at a time */

static void execute_blocks(void)
{
    const struct mmu_config config = {.ad = true, .huge = true, .nx_huge = true};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    freed = pauses = 0;
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), EXECUTED * 512, 0), 0);
    for (uint64_t i = 0; i < EXECUTED; i++) {
        assert_int_equal(world_touch(&mmu, GPA(SLOT + i * 0x200000), 2).outcome, FAULT_FIXED);
        assert_int_equal(world_touch(&mmu, GPA(SLOT + i * 0x200000), 4).outcome, FAULT_FIXED);
    }
    tlb_leave(0);
    assert_int_equal(mmu_stats(&mmu).nx_splits, EXECUTED);
}

/* A chore of the VM's; and one that goes on behind the last. */
static void recovery_in_pieces(void **state)
{
    (void)state;
    execute_blocks();
    for (unsigned i = 0; i < 2; i++) {
        unsigned times = 0;
        assert_false(mmu_has_chores(&mmu));
        mmu_nx_begin(&mmu);
        do {
            uint64_t changes = mmu_stats(&mmu).spte_changes;
            assert_true(mmu_has_chores(&mmu));
            assert_int_equal(mmu.lock.state, 0);
            times++;
            (void)mmu_do_chore(&mmu);
            assert_true(mmu_stats(&mmu).spte_changes <= changes + 1);
        } while (mmu_nx_recovers(&mmu));
        assert_int_equal(times, 4);
    }
    assert_int_equal(mmu_stats(&mmu).nx_splits, EXECUTED - 8);
    for (uint64_t i = 0; i < EXECUTED; i++) {
        unsigned level;
        (void)mmu_spte(&mmu, GPA(SLOT + i * 0x200000), &level);
        assert_int_equal(level, i < 8 ? 2 : 1);
    }
    stop();
}

/* A walk that finds nothing is in pieces, too, and ends. */
static void recovery_finds_nothing(void **state)
{
    (void)state;
    unsigned times = 0;
    execute_blocks();
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    mmu_nx_begin(&mmu);
    while (mmu_nx_recovers(&mmu)) {
        assert_int_equal(mmu_nx_piece(&mmu), 0);
        assert_true(++times < 50);
    }
    assert_true(times > 20);
    assert_int_equal(mmu_stats(&mmu).nx_splits, EXECUTED); /* the log needs small pages */
    stop();
}

/* ---- Zapping and aging ----------------------------------------------------------------------- */

static void long_walks_in_pieces(void **state)
{
    (void)state;
    start(false);
    slot(16);
    want_from_now_on();
    struct mmu_walk age = {0}, zap = {0};
    unsigned times = 0;
    while (mmu_age_some(&mmu, GPA(0), 1 << 20, &age) == -EINPROGRESS)
        times++;
    assert_true(times > 10);
    assert_int_equal(age.count, PAGES);
    times = 0;
    while (mmu_zap_some(&mmu, GPA(0), 1 << 20, &zap) == -EINPROGRESS)
        times++;
    assert_true(times > 10);
    assert_int_equal(mmu_stats(&mmu).pages[0], 0);
    struct mmu_walk wrong = {0};
    assert_int_equal(mmu_zap_some(&mmu, GPA(1), 1, &wrong), -EINVAL);
    assert_false(wrong.begun);
    stop();
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* A new block is cleared by several faults, which are retried until it is ready. */
static void blocks_are_cleared_in_pieces(void **state)
{
    (void)state;
    struct mmio_info info;
    start(false);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), 4 * 512, 0), 0);
    want_from_now_on();
    for (unsigned i = 0; i < 4; i++) {
        unsigned times = 0;
        uint64_t in_use = support_pages_in_use();
        int result;
        while ((result = mmu_fault(&mmu, GPA(SLOT + i * 0x200000), 3 | FAULT_FINAL, &info)) ==
               FAULT_RETRY) {
            times++;
            assert_true(support_pages_in_use() <= in_use + 512 + TABLE_CACHE);
        }
        assert_int_equal(result, FAULT_FIXED);
        assert_int_equal(times, 15);
    }
    assert_int_equal(mmu_stats(&mmu).pages[1], 4);
    support_pauses = NULL;
    for (uint64_t at = SLOT; at < SLOT + 4 * 0x200000; at += 0x7ff8)
        assert_int_equal(
            *(const uint64_t *)((const char *)guest_page(&mmu, GPA(at & ~4095ull), ACCESS_READ) +
                                (at & 4088)),
            0);
    stop();
}

/* At most one block for a directory entry, since no more memory is promised to the VM. Another CPU
 * that needs it continues with the same block, or waits. */
static void a_place_has_one_block(void **state)
{
    (void)state;
    struct mmio_info info;
    start(false);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(SLOT), 16 * 512, 0), 0);
    want_from_now_on();
    assert_int_equal(mmu_fault(&mmu, GPA(SLOT), 3 | FAULT_FINAL, &info), FAULT_RETRY);
    assert_int_equal(mmu.clearing.used, 1);
    support_cpu = 1;
    assert_int_equal(mmu_fault(&mmu, GPA(SLOT + 0x1000), 3 | FAULT_FINAL, &info), FAULT_RETRY);
    assert_int_equal(mmu.clearing.used, 1);
    mmu.clearing.blocks[0].busy = mmu.clearing.blocks[CLEARING_MAX - 1].busy =
        true; /* is clearing it now */
    assert_int_equal(mmu_fault(&mmu, GPA(SLOT + 0x2000), 3 | FAULT_FINAL, &info), FAULT_RETRY);
    assert_int_equal(mmu.clearing.used, 1);
    mmu.clearing.blocks[0].busy = mmu.clearing.blocks[CLEARING_MAX - 1].busy = false;
    support_cpu = 0;
    /* More entries than there are elements: the block is used for another entry. */
    for (unsigned i = 1; i < 16; i++) {
        assert_int_equal(mmu_fault(&mmu, GPA(SLOT + i * 0x200000), 3 | FAULT_FINAL, &info),
                         FAULT_RETRY);
    }
    assert_int_equal(mmu.clearing.used, CLEARING_MAX);
    assert_true(support_pages_in_use() < (CLEARING_MAX + 1) * 512);
    stop();
}

/* ---- The end of a VM ------------------------------------------------------------------------- */

/* Tables, pages, blocks and slots; nothing is left, and no piece is long. */
static void the_end_is_in_pieces(void **state)
{
    (void)state;
    for (unsigned logs = 0; logs < 2; logs++) {
        unsigned times = 0;
        start(false);
        slot(logs ? 16 : 0); /* in small pages, or in large ones */
        for (uint64_t i = 0; i < 20; i++)
            assert_int_equal(
                mmu_slot_add(&mmu, 10 + (uint32_t)i, GPA(PLACE + i * 0x40001000), 511, 0), 0);
        for (uint64_t i = 0; i < 20 * 511; i++)
            write_word(PLACE + i % 20 * 0x40001000 + i / 20 * PAGE_SIZE, i);
        tlb_leave(0);
        uint64_t before = freed;
        while (!mmu_destroy_piece(&mmu)) {
            assert_true(freed - before <= 160);
            before = freed;
            times++;
        }
        assert_true(times > 20 * 4);
        assert_int_equal(support_pages_in_use(), 0);
        assert_int_equal(support_warnings(), 0);
    }
}

/* ---- The log --------------------------------------------------------------------------------- */

/* Where no GiB of host memory is free, its first 2 MiB are cleared, in pieces that add up. */
static void a_gib_that_is_not_there(void **state)
{
    (void)state;
    struct mmio_info info;
    hpa_t taken[8];
    unsigned count = 0, times = 0;
    const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true};
    world_reset(WORLD_CAPS | EPT_CAP_1G, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    freed = pauses = 0;
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(OTHER), 1 << 18, 0), 0);
    while (count < (SUPPORT_RAM_PAGES >> PAGE_ORDER_MAX) - 2)
        taken[count++] = page_alloc(PAGE_ORDER_MAX);
    hpa_t half = page_alloc(PAGE_ORDER_MAX - 1);
    want_from_now_on();
    int result;
    while ((result = mmu_fault(&mmu, GPA(OTHER), 2 | FAULT_FINAL, &info)) == FAULT_RETRY)
        assert_true(++times < 32);
    assert_int_equal(result, FAULT_FIXED);
    support_pauses = NULL;
    while (count)
        page_free(taken[--count], PAGE_ORDER_MAX);
    page_free(half, PAGE_ORDER_MAX - 1);
    stop();
}

/* D bits that are in unlinked tables already are in the log nevertheless, at the address that the
 * slot has by then. */
static void the_log_reads_tables_that_are_cut_off(void **state)
{
    (void)state;
    for (unsigned moves = 0; moves < 2; moves++) {
        uint64_t found = 0, word;
        start(false);
        slot(16);
        for (uint64_t page = 0; page < PAGES; page += 64)
            assert_int_equal(mmu_dirty_get(&mmu, 0, page, &word, 1), 0);
        for (uint64_t i = 0; i < PAGES; i += 100)
            write_word(SLOT + i * PAGE_SIZE, i);
        tlb_leave(0);
        assert_int_equal(mmu_set_generation(&mmu, mmu_slot_generation(&mmu) + 5), 0);
        if (moves)
            assert_int_equal(mmu_slot_move(&mmu, 0, GPA(PLACE)), 0);
        for (uint64_t page = 0; page < PAGES; page += 64) {
            assert_int_equal(mmu_dirty_get(&mmu, 0, page, &word, 1), 0);
            found += (uint64_t)__builtin_popcountll(word);
        }
        assert_int_equal(found, (PAGES + 99) / 100);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(an_end_in_the_middle),
        cmocka_unit_test(another_change_goes_on_with_it),
        cmocka_unit_test(nobody_else_changes_anything),
        cmocka_unit_test(a_fault_goes_on_with_it),
        cmocka_unit_test(a_fault_meets_old_flags),
        cmocka_unit_test(a_lock_that_is_taken_is_not_waited_for),
        cmocka_unit_test(writes_follow_to_the_copy),
        cmocka_unit_test(recovery_in_pieces),
        cmocka_unit_test(recovery_finds_nothing),
        cmocka_unit_test(long_walks_in_pieces),
        cmocka_unit_test(blocks_are_cleared_in_pieces),
        cmocka_unit_test(a_place_has_one_block),
        cmocka_unit_test(a_gib_that_is_not_there),
        cmocka_unit_test(the_end_is_in_pieces),
        cmocka_unit_test(the_log_reads_tables_that_are_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
