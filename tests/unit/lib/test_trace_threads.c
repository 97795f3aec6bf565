/* SPDX-License-Identifier: MIT */
/* Reading the trace of a VM that has ended while other CPUs go on recording for others: what is
 * read is whole and in order, and what is gone is counted. */
#include "tests/unit/support.h"

#include "lib/trace.h"

#include <pthread.h>

#define WRITERS 2u
#define OTHER   1 /* the VM that goes on */
#define EVENTS  400u
#define ROUNDS  60u
#define PAUSE   4u /* so that the front of those that go is where the reader is */

static uint64_t stop;

static void record(uint64_t value)
{
    trace(fast_page_fault, value, value, value, value, value, value);
}

static void *write_on(void *cpu)
{
    support_cpu = (unsigned)(uintptr_t)cpu;
    trace_run(OTHER, 0, NULL);
    for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        record(~i);
        for (unsigned pause = 0; pause < PAUSE; pause++)
            __asm__ volatile("");
    }
    return NULL;
}

static void fill(uint16_t vm)
{
    for (support_cpu = 0; support_cpu < WRITERS; support_cpu++)
        trace_run(vm, 0, NULL);
    for (uint64_t i = 0; i < EVENTS * WRITERS; i++) {
        support_cpu = i % WRITERS;
        record(i);
    }
}

static void check(const struct trace_record *record, uint16_t vm, uint64_t *last)
{
    assert_int_equal(record->vm, vm);
    for (unsigned i = 0; i < TRACE_VALUES; i++)
        assert_int_equal(record->values[i], record->values[0]);
    assert_true(record->values[0] >= *last && record->values[0] < EVENTS * WRITERS);
    *last = record->values[0] + 1;
}

/* Reads what is still there of that VM; returns how much was taken away meanwhile. */
static uint64_t read_all(uint16_t vm, uint64_t *said)
{
    struct trace_reader reader;
    const struct trace_record *record;
    uint64_t last = 0, n = 0;
    *said = trace_read_begin(&reader, vm, UINT64_MAX);
    while ((record = trace_read_next(&reader))) {
        check(record, vm, &last);
        n++;
    }
    assert_int_equal(n + reader.left, *said);
    return reader.left;
}

/* The others write over all of them, while they are read again and again from the oldest on. */
static void what_is_read_is_whole(void **state)
{
    pthread_t writers[WRITERS];
    uint64_t taken_away = 0;
    (void)state;
    support_reset();
    trace_select(0, ~0u >> (32 - TRACE_EVENT_COUNT));
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(trace_create_ring(i), 0);
    for (uint16_t vm = OTHER + 1; vm < OTHER + 1 + ROUNDS; vm++) {
        uint64_t said = 1;
        fill(vm);
        stop = 0;
        for (unsigned i = 0; i < WRITERS; i++)
            pthread_create(&writers[i], NULL, write_on, (void *)(uintptr_t)i);
        while (said)
            taken_away += read_all(vm, &said);
        __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
        for (unsigned i = 0; i < WRITERS; i++)
            pthread_join(writers[i], NULL);
    }
    assert_true(taken_away > 0);
    trace_select(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
