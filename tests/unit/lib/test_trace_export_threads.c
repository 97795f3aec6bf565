/* SPDX-License-Identifier: MIT */
/*
 * Two pCPUs record and send their events while a third, which is idle, sends those of both through
 * the same channel (lib/trace_export.c, arch/x86/export.c). What the device receives is whole, and
 * what it does not receive is counted as lost.
 */
#include "tests/unit/support.h"

#include "arch/x86/export.h"
#include "lib/trace_export.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 2u
#define EVENTS  20000u
#define ROOM    (64u << 20)

static uint8_t *received;
static size_t received_size;
static uint64_t done;

/* Called by the holder of the channel's lock. It takes a part now and then. */
static size_t takes(const uint8_t *bytes, size_t size)
{
    size_t took = received_size % 7 ? size : size / 2;
    memcpy(received + received_size, bytes, took);
    received_size += took;
    return took;
}

static bool send(const void *batch, size_t size)
{
    return export_bytes(EXPORT_EVENTS, batch, size);
}

static void *record(void *cpu)
{
    support_cpu = (unsigned)(uintptr_t)cpu;
    trace_run(1, (uint16_t)support_cpu, NULL);
    for (uint64_t i = 0; i < EVENTS; i++)
        trace(fast_page_fault, i, i, i, i, i, i);
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *idle(void *unused)
{
    (void)unused;
    support_cpu = WRITERS;
    while (trace_export_piece() || export_send() ||
           __atomic_load_n(&done, __ATOMIC_SEQ_CST) < WRITERS)
        ;
    return NULL;
}

/* Checks one batch, and adds its records to `seen`. */
static void check_batch(const uint8_t *at, uint64_t next[WRITERS], uint64_t seen[WRITERS])
{
    struct trace_batch batch;
    memcpy(&batch, at, sizeof(batch));
    at += sizeof(batch);
    assert_true(batch.cpu < WRITERS && batch.first >= next[batch.cpu]);
    for (uint64_t i = batch.first; i < batch.first + batch.count; i++, at += 16 + 48) {
        uint64_t values[6];
        memcpy(values, at + 16, sizeof(values));
        assert_int_equal(at[9], 6);
        for (unsigned v = 0; v < 6; v++)
            assert_int_equal(values[v], i);
    }
    next[batch.cpu] = batch.first + batch.count;
    seen[batch.cpu] += batch.count;
}

static void whole_or_counted(void **state)
{
    pthread_t threads[WRITERS + 1];
    uint64_t next[WRITERS] = {0}, seen[WRITERS] = {0};
    static const struct export_device device = {takes};
    uint32_t number = 0;
    (void)state;
    support_reset();
    received = malloc(ROOM);
    export_open(&device);
    trace_select(0, TRACE_BIT(fast_page_fault));
    trace_export_to(send);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(trace_create_ring(i), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, record, (void *)(uintptr_t)i);
    pthread_create(&threads[WRITERS], NULL, idle, NULL);
    for (unsigned i = 0; i <= WRITERS; i++)
        pthread_join(threads[i], NULL);
    while (trace_export_piece() || export_send())
        ;
    for (size_t at = 0; at < received_size;) {
        struct export_frame frame;
        memcpy(&frame, received + at, sizeof(frame));
        assert_int_equal(frame.magic, EXPORT_MAGIC);
        assert_int_equal(frame.number, number++);
        check_batch(received + at + sizeof(frame), next, seen);
        at += sizeof(frame) + frame.size;
    }
    struct trace_export_counts counts = trace_export_counts();
    assert_int_equal(seen[0] + seen[1], counts.exported);
    assert_int_equal(counts.exported + counts.lost, WRITERS * EVENTS);
    assert_true(next[0] == EVENTS && next[1] == EVENTS);
    trace_select(0, 0);
    free(received);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_or_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
