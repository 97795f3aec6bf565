/* SPDX-License-Identifier: MIT */
/* Trace events: the rings, what is recorded and what is read back, and the text (rule N8). */
#include "tests/unit/support.h"

#include "lib/trace.h"

#include <string.h>

static uint64_t counts[TRACE_EVENT_COUNT];

static int setup(void **state)
{
    (void)state;
    support_reset();
    support_cpu = 0;
    trace_select(0, 0);
    memset(counts, 0, sizeof(counts));
    return trace_create_ring(0) || trace_create_ring(1);
}

static uint64_t read_all(uint16_t vm, uint64_t newest, struct trace_record *out)
{
    struct trace_reader reader;
    const struct trace_record *record;
    uint64_t said = trace_read_begin(&reader, vm, newest), n = 0;
    while ((record = trace_read_next(&reader)))
        out[n++] = *record;
    assert_int_equal(n, said);
    return n;
}

static struct trace_record records[2 * TRACE_RING];

static void only_what_is_wanted(void **state)
{
    (void)state;
    trace_run(1, 0, counts);
    trace(mmio, 1, 2, 3, 4);
    assert_int_equal(read_all(1, UINT64_MAX, records), 0);
    assert_int_equal(trace_select(0, TRACE_BIT(mmio)), 0);
    trace(mmio, 1, 2, 3, 4);
    trace(fast_mmio, 5);
    assert_int_equal(trace_select(0, 0), TRACE_BIT(mmio));
    trace(mmio, 1, 2, 3, 4);
    assert_int_equal(read_all(1, UINT64_MAX, records), 1);
    assert_int_equal(records[0].event, TRACE_mmio);
    assert_memory_equal(records[0].values, ((uint64_t[TRACE_VALUES]){1, 2, 3, 4}),
                        sizeof(records[0].values));
    assert_int_equal(counts[TRACE_mmio], 1);
    assert_int_equal(counts[TRACE_fast_mmio], 0);
}

static void arguments_of_what_is_off_are_not_computed(void **state)
{
    (void)state;
    unsigned computed = 0;
    trace(fast_mmio, ++computed);
    assert_int_equal(computed, 0);
}

/* The newest stay, in their order. */
static void ring_wraps(void **state)
{
    (void)state;
    trace_run(1, 3, counts);
    trace_select(0, TRACE_BIT(fast_mmio));
    for (uint64_t i = 0; i < 3 * TRACE_RING + 7; i++)
        trace(fast_mmio, i);
    assert_int_equal(read_all(1, UINT64_MAX, records), TRACE_RING - 1);
    for (uint64_t i = 0; i < TRACE_RING - 1; i++) {
        assert_int_equal(records[i].values[0], 2 * TRACE_RING + 8 + i);
        assert_int_equal(records[i].vcpu, 3);
    }
    assert_int_equal(read_all(1, 5, records), 5);
    assert_int_equal(records[4].values[0], 3 * TRACE_RING + 6);
}

/* Of two CPUs, by time; of this VM only. */
static void rings_are_merged(void **state)
{
    (void)state;
    trace_select(0, TRACE_BIT(fast_mmio));
    for (support_cpu = 0; support_cpu < 2; support_cpu++)
        trace_run((uint16_t)(7 + support_cpu), (uint16_t)support_cpu, counts);
    for (uint64_t i = 0; i < 100; i++) {
        support_cpu = i % 3 == 0;
        if (i == 50) { /* CPU 0 works for the other's VM now */
            support_cpu = 0;
            trace_run(8, 9, counts);
        }
        trace(fast_mmio, i);
    }
    uint64_t n = read_all(8, UINT64_MAX, records);
    assert_int_equal(n, 17 + 50);
    for (uint64_t i = 1; i < n; i++) {
        assert_true(records[i].tsc >= records[i - 1].tsc);
        assert_true(records[i].values[0] > records[i - 1].values[0]);
        assert_int_equal(records[i].vm, 8);
        assert_int_equal(records[i].vcpu, records[i].cpu ? 1 : 9);
    }
    assert_int_equal(read_all(7, UINT64_MAX, records), 33);
    assert_int_equal(read_all(6, UINT64_MAX, records), 0);
}

/* A CPU without a ring only counts. */
static void no_ring(void **state)
{
    (void)state;
    trace_select(0, TRACE_BIT(fast_mmio));
    support_cpu = 2;
    trace_run(1, 0, counts);
    trace(fast_mmio, 1);
    assert_int_equal(counts[TRACE_fast_mmio], 1);
    assert_int_equal(read_all(1, UINT64_MAX, records), 0);
    support_fail_allocations_after(0);
    assert_int_not_equal(trace_create_ring(2), 0);
    assert_non_null(strstr(support_log(), "trace ring of CPU 2"));
}

static void text(void **state)
{
    (void)state;
    static const struct {
        struct trace_record record;
        const char *text;
    } rows[] = {
        {{.event = TRACE_page_fault, .values = {0x5000, 0x16}},
         "page_fault             gpa=0x5000 error_code=wxf"},
        {{.event = TRACE_page_fault, .values = {0, 0x20}},
         "page_fault             gpa=0 error_code=R"},
        {{.event = TRACE_mark_mmio_spte, .values = {1, 2, 6, 3}},
         "mark_mmio_spte         sptep=0x1 gfn=0x2 access=-wx gen=0x3"},
        {{.event = TRACE_tdp_mmu_spte_changed, .values = {1, 1ull << 63 | 0x5a0, 1ull << 63, 2}},
         "tdp_mmu_spte_changed   gfn=0x1 old=frozen new=nonpresent level=2"},
        {{.event = TRACE_fast_page_fault, .values = {1, 2, 3, 4, 5, 6}},
         "fast_page_fault        gfn=0x1 access=-w- sptep=0x3 old=0x4 new=0x5 ret=spurious"},
        {{.event = TRACE_mmio, .values = {TRACE_MMIO_WRITE, 4, 0xfe000000, 0}},
         "mmio                   type=write len=4 gpa=0xfe000000 val=0"},
        {{.event = TRACE_invept, .values = {1, 0, 2}},
         "invept                 reason=root-load owed=- debt=0x2"},
        {{.event = TRACE_invept, .values = {0, 1 << 2, 3}},
         "invept                 reason=debt owed=slot_gone debt=0x3"},
        {{.event = TRACE_invept, .values = {0, 1 << 17 | 1 << 4 | 1 << 1, 3}},
         "invept                 reason=debt owed=slot_added,log_started,stray_leaf debt=0x3"},
    };
    char line[128];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int length = trace_format(&rows[i].record, line, sizeof(line));
        assert_string_equal(line, rows[i].text);
        assert_int_equal(length, strlen(line));
        assert_true(trace_format(&rows[i].record, line, 24) >= 24); /* cut, never beyond */
    }
}

/* Every row of the table can be printed, and its words have forms. */
static void table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++) {
        struct trace_record record = {.event = (uint16_t)i, .values = {~0ull, ~0ull, 9, 9, 9, 9}};
        char line[256];
        trace_format(&record, line, sizeof(line));
        assert_int_equal(
            strncmp(line, trace_name((enum trace_event)i), strlen(trace_name((enum trace_event)i))),
            0);
        assert_non_null(strchr(line, '='));
    }
}

/* What one VM chooses is recorded for it alone, and its choice ends with it. */
static void each_vm_chooses_for_itself(void **state)
{
    (void)state;
    uint64_t seen[3][TRACE_EVENT_COUNT] = {{0}};
    assert_int_equal(trace_select(0, TRACE_BIT(mmio)), 0);
    assert_int_equal(trace_select(7, TRACE_BIT(fast_mmio)), TRACE_BIT(mmio));
    assert_int_equal(trace_selected(7), TRACE_BIT(fast_mmio));
    assert_int_equal(trace_selected(8), TRACE_BIT(mmio));
    assert_true(trace_wants(TRACE_BIT(mmio)) && trace_wants(TRACE_BIT(fast_mmio)));
    for (uint16_t vm = 7; vm < 9; vm++) {
        trace_run(vm, 0, seen[vm - 7]);
        trace(mmio, 1, 2, 3, 4);
        trace(fast_mmio, 1);
    }
    assert_int_equal(seen[0][TRACE_mmio], 0);
    assert_int_equal(seen[0][TRACE_fast_mmio], 1);
    assert_int_equal(seen[1][TRACE_mmio], 1);
    assert_int_equal(seen[1][TRACE_fast_mmio], 0);
    assert_int_equal(trace_select(7, 0), TRACE_BIT(fast_mmio)); /* none at all */
    assert_false(trace_wants(TRACE_BIT(fast_mmio)));
    trace_run(7, 0, seen[0]);
    trace(mmio, 1, 2, 3, 4);
    assert_int_equal(seen[0][TRACE_mmio], 0);
    trace_forget(7);
    assert_int_equal(trace_selected(7), TRACE_BIT(mmio));
    trace_select(0, 0);
    assert_false(trace_wants(~0u));
    trace_run(0, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_what_is_wanted, setup),
        cmocka_unit_test_setup(each_vm_chooses_for_itself, setup),
        cmocka_unit_test_setup(arguments_of_what_is_off_are_not_computed, setup),
        cmocka_unit_test_setup(ring_wraps, setup),
        cmocka_unit_test_setup(rings_are_merged, setup),
        cmocka_unit_test_setup(no_ring, setup),
        cmocka_unit_test_setup(text, setup),
        cmocka_unit_test_setup(table, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
