/* SPDX-License-Identifier: MIT */
/*
 * Trace events that leave the machine (lib/trace_export.c): each record of a ring is in one batch,
 * in order and whole, or is counted as lost; a pCPU sends by itself when its ring is half full and
 * it enters a guest, or when it is almost full. And the limit to a range of addresses
 * (lib/trace_limit.c): which events are in it.
 */
#include "tests/unit/support.h"

#include "lib/trace_export.h"

#include <string.h>

#define VM 3

static uint8_t sent[1u << 20];
static size_t sent_size;
static unsigned batches;
static bool refuses;

static bool take(const void *batch, size_t size)
{
    if (refuses)
        return false;
    assert_true(size <= TRACE_BATCH_MAX && sent_size + size <= sizeof(sent));
    memcpy(sent + sent_size, batch, size);
    sent_size += size;
    batches++;
    return true;
}

/* The counts of all tests before, since nothing takes them back. */
static struct trace_export_counts before;

static int setup(void **state)
{
    (void)state;
    support_reset();
    support_cpu = 0;
    refuses = false;
    sent_size = batches = 0;
    trace_limit(0, UINT64_MAX);
    trace_select(0, 0);
    trace_export_to(NULL);
    return 0;
}

/* One ring for each test: a ring is created once. */
static void begin(unsigned cpu, uint32_t selected)
{
    support_cpu = cpu;
    assert_int_equal(trace_create_ring(cpu), 0);
    trace_run(VM, 1, NULL);
    trace_select(0, selected);
    trace_export_to(take);
    before = trace_export_counts();
}

static uint64_t number_at(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

/* Reads what was sent by the tables of the header, and calls `check` for each record. Returns the
 * number of the record after the last one. */
static uint64_t read_sent(unsigned cpu, void (*check)(uint64_t number, const uint8_t *record))
{
    uint64_t next = 0, tsc = 0;
    for (size_t at = 0; at < sent_size;) {
        uint64_t first = number_at(sent + at, 8), count = number_at(sent + at + 10, 2);
        assert_int_equal(number_at(sent + at + 8, 2), cpu);
        assert_true(count && first >= next);
        at += 16;
        for (next = first; next < first + count; next++) {
            const uint8_t *record = sent + at;
            assert_true(number_at(record, 8) >= tsc);
            tsc = number_at(record, 8);
            assert_int_equal(number_at(record + 10, 2), cpu);
            assert_int_equal(number_at(record + 12, 2), VM);
            assert_int_equal(number_at(record + 14, 2), 1);
            check(next, record);
            at += 16 + 8u * record[9];
        }
        assert_true(at <= sent_size);
    }
    return next;
}

/* Events of different sizes; the values say which record it is. */
static void record_some(uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        if (i % 3 == 0)
            trace(fast_page_fault, i, ~i, i, ~i, i, ~i);
        else if (i % 3 == 1)
            trace(kick, i);
        else
            trace(page_fault, i, ~i);
    }
}

static void is_record(uint64_t number, const uint8_t *record)
{
    static const uint8_t names[] = {TRACE_fast_page_fault, TRACE_kick, TRACE_page_fault};
    static const uint8_t values[] = {6, 1, 2};
    assert_int_equal(record[8], names[number % 3]);
    assert_int_equal(record[9], values[number % 3]);
    for (unsigned i = 0; i < record[9]; i++)
        assert_int_equal(number_at(record + 16 + 8u * i, 8), i % 2 ? ~number : number);
}

static void each_record_leaves_once(void **state)
{
    (void)state;
    begin(0, ~0u >> (32 - TRACE_EVENT_COUNT));
    for (uint64_t i = 0, count; i < 700; i += count) {
        count = 1 + i % 90;
        record_some(i, count);
        while (trace_export_piece())
            ;
        assert_int_equal(read_sent(0, is_record), i + count);
    }
    struct trace_export_counts now = trace_export_counts();
    assert_true(now.exported - before.exported >= 700);
    assert_int_equal(now.lost, before.lost);
    assert_false(trace_export_piece());
}

/* A pCPU that is always busy sends by itself, so that nothing is lost. */
static void an_almost_full_ring_sends_itself(void **state)
{
    (void)state;
    const uint64_t almost = TRACE_RING / 4 * 3;
    begin(1, ~0u >> (32 - TRACE_EVENT_COUNT));
    record_some(0, almost - 1);
    assert_int_equal(batches, 0);
    record_some(almost - 1, 1);
    assert_int_equal(batches, 1);
    record_some(almost, 10 * TRACE_RING);
    while (trace_export_piece())
        ;
    assert_int_equal(read_sent(1, is_record), almost + 10 * TRACE_RING);
    assert_int_equal(trace_export_counts().lost, before.lost);
}

/* The time that it takes is not an exit's. */
static void a_half_full_ring_is_sent_at_an_entry(void **state)
{
    (void)state;
    begin(5, ~0u >> (32 - TRACE_EVENT_COUNT));
    record_some(0, TRACE_RING / 2 - 2);
    trace(entry, 0x1000, 0);
    assert_int_equal(batches, 0);
    trace(exit, 10, 0x1000, 0, TRACE_NO_ADDRESS);
    assert_int_equal(batches, 0);
    trace(entry, 0x1000, 0);
    assert_int_equal(batches, 1);
    while (trace_export_piece())
        ;
}

/* While the channel refuses, the ring keeps the newest; how many are gone can be counted. */
static void what_finds_no_room_is_lost_and_counted(void **state)
{
    (void)state;
    begin(2, ~0u >> (32 - TRACE_EVENT_COUNT));
    record_some(0, 20);
    while (trace_export_piece())
        ;
    refuses = true;
    record_some(20, 3 * TRACE_RING);
    assert_false(trace_export_piece());
    struct trace_export_counts now = trace_export_counts();
    assert_int_equal(now.lost, before.lost);
    assert_int_equal(now.left - before.left, 3 * TRACE_RING);
    refuses = false;
    while (trace_export_piece())
        ;
    now = trace_export_counts();
    assert_int_equal(now.left, before.left);
    assert_int_equal(read_sent(2, is_record), 20 + 3 * TRACE_RING);
    assert_int_equal(now.exported - before.exported, 20 + TRACE_RING - 1);
    assert_int_equal(now.lost - before.lost, 2 * TRACE_RING + 1);
}

static void nothing_leaves_unless_it_is_chosen(void **state)
{
    (void)state;
    begin(3, ~0u >> (32 - TRACE_EVENT_COUNT));
    trace_export_to(NULL);
    record_some(0, TRACE_RING);
    assert_false(trace_export_piece());
    assert_int_equal(batches, 0);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static uint64_t counts[TRACE_EVENT_COUNT];

static bool is_recorded(enum trace_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t had = counts[event];
    trace_emit(event, a, b, c, d, 0, 0);
    return counts[event] - had;
}

/* The range is 0x5000 to 0x5fff. A leaf of level n covers 512^(n-1) pages. */
static void only_events_at_these_addresses(void **state)
{
    (void)state;
    static const struct {
        enum trace_event event;
        uint64_t values[4];
        bool within;
    } rows[] = {
        {TRACE_page_fault, {0x4fff}, false},
        {TRACE_page_fault, {0x5000}, true},
        {TRACE_page_fault, {0x5fff}, true},
        {TRACE_page_fault, {0x6000}, false},
        {TRACE_mmio, {TRACE_MMIO_READ, 4, 0x4ffd, 0}, true}, /* its last byte is in it */
        {TRACE_mmio, {TRACE_MMIO_READ, 4, 0x4ffc, 0}, false},
        {TRACE_mmio, {TRACE_MMIO_READ, 0, 0x5000, 0}, true},
        {TRACE_mmu_spte_requested, {5, 0, 1}, true}, /* gfn, pfn, level */
        {TRACE_mmu_spte_requested, {4, 0, 1}, false},
        {TRACE_mmu_spte_requested, {6, 0, 1}, false},
        {TRACE_mmu_spte_requested, {0, 0, 2}, true},
        {TRACE_mmu_spte_requested, {0x200, 0, 2}, false},
        {TRACE_mark_mmio_spte, {5, 6, 0, 0}, false}, /* its first value is no address */
        {TRACE_mark_mmio_spte, {0, 5, 0, 0}, true},
        {TRACE_handle_mmio_page_fault, {0x5008, 0x5, 0}, true},
        {TRACE_convert, {0x3000, 2, 0}, false}, /* gpa, pages */
        {TRACE_convert, {0x3000, 3, 0}, true},
        {TRACE_convert, {~0xfffull, 6, 0}, false}, /* beyond the end of the addresses */
        {TRACE_exit, {48, 0x7000, 0, 0x5123}, true},
        {TRACE_exit, {48, 0x5000, 0, 0x7000}, false},
        {TRACE_exit, {10, 0x7000, 0, TRACE_NO_ADDRESS}, true}, /* it has no address */
        {TRACE_kick, {1}, true},
    };
    begin(4, ~0u >> (32 - TRACE_EVENT_COUNT));
    trace_run(VM, 1, counts);
    trace_limit(0x5000, 0x5fff);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const uint64_t *v = rows[i].values;
        if (is_recorded(rows[i].event, v[0], v[1], v[2], v[3]) != rows[i].within)
            fail_msg("row %zu", i);
    }
    trace_limit(0, UINT64_MAX);
    assert_true(is_recorded(TRACE_page_fault, 0x6000, 0, 0, 0));
    trace_limit(0, 0);
    assert_false(is_recorded(TRACE_page_fault, 1, 0, 0, 0));
    trace_run(0, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_record_leaves_once, setup),
        cmocka_unit_test_setup(an_almost_full_ring_sends_itself, setup),
        cmocka_unit_test_setup(a_half_full_ring_is_sent_at_an_entry, setup),
        cmocka_unit_test_setup(what_finds_no_room_is_lost_and_counted, setup),
        cmocka_unit_test_setup(nothing_leaves_unless_it_is_chosen, setup),
        cmocka_unit_test_setup(only_events_at_these_addresses, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
