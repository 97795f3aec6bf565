/* SPDX-License-Identifier: MIT */
/*
 * MRTD and RTMRs against the SHA-384 of the messages that the TDX module hashes, put together byte
 * by byte; RTMRs that several threads extend at once lose nothing.
 */
#include "tests/unit/support.h"

#include "tdx/measure.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include <string.h>

static uint8_t message[0x4000];
static size_t message_size;

static void put(const void *bytes, size_t size)
{
    assert_in_range(size, 0, sizeof(message) - message_size);
    memcpy(message + message_size, bytes, size);
    message_size += size;
}

/* A record: the name in 16 bytes, the address in 8, little-endian, and 104 zeros. */
static void put_record(const char *name, uint64_t gpa)
{
    uint8_t record[128] = {0};

    memcpy(record, name, strlen(name));
    for (unsigned i = 0; i < 8; i++)
        record[16 + i] = (uint8_t)(gpa >> 8 * i);
    put(record, sizeof(record));
}

static void assert_digest(const uint8_t digest[SHA384_SIZE])
{
    uint8_t expected[SHA384_SIZE];

    sha384(message, message_size, expected);
    assert_memory_equal(digest, expected, SHA384_SIZE);
}

/* A measured page, one whose contents are not measured, and again a measured one in its middle. */
static void mrtd_is_the_hash_of_the_records(void **state)
{
    (void)state;
    static struct td_measurement measurement;
    uint8_t content[4096];

    message_size = 0;
    for (unsigned i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 7 + i / 256);
    tdx_measure_init(&measurement);
    tdx_measure_page(&measurement, GPA(0xfffff000));
    put_record("MEM.PAGE.ADD", 0xfffff000);
    for (unsigned i = 0; i < sizeof(content); i += 256) {
        tdx_measure_chunk(&measurement, GPA(0xfffff000 + i), content + i);
        put_record("MR.EXTEND", 0xfffff000 + i);
        put(content + i, 256);
    }
    tdx_measure_page(&measurement, GPA(0x7f12345000));
    put_record("MEM.PAGE.ADD", 0x7f12345000);
    tdx_measure_finalise(&measurement);
    assert_digest(measurement.mrtd);
}

/* Measuring a page in pieces gives the digest of all its chunks. */
static void a_page_is_measured_in_pieces(void **state)
{
    (void)state;
    static struct td_measurement chunks, pieces;
    uint8_t content[4096];

    for (unsigned i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 11 + i / 256);
    tdx_measure_init(&chunks);
    tdx_measure_init(&pieces);
    for (unsigned page = 0x1000; page <= 0x2000; page += 0x1000) {
        unsigned calls = 1;
        for (unsigned i = 0; i < sizeof(content); i += 256)
            tdx_measure_chunk(&chunks, GPA(page + i), content + i);
        assert_false(tdx_measuring(&pieces));
        for (; !tdx_measure_contents(&pieces, GPA(page), content); calls++)
            assert_true(tdx_measuring(&pieces));
        assert_int_equal(calls, 6);
        assert_false(tdx_measuring(&pieces));
    }
    tdx_measure_finalise(&chunks);
    tdx_measure_finalise(&pieces);
    assert_memory_equal(pieces.mrtd, chunks.mrtd, SHA384_SIZE);
}

static void an_empty_image_has_a_mrtd(void **state)
{
    (void)state;
    static struct td_measurement measurement;

    memset(&measurement, 0xee, sizeof(measurement));
    tdx_measure_init(&measurement);
    tdx_measure_finalise(&measurement);
    message_size = 0;
    assert_digest(measurement.mrtd);
}

static void an_rtmr_is_extended(void **state)
{
    (void)state;
    static struct td_measurement measurement;
    uint8_t rtmr[TDX_RTMRS][SHA384_SIZE], expected[TDX_RTMRS][SHA384_SIZE] = {0};
    uint8_t data[SHA384_SIZE];

    memset(&measurement, 0xee, sizeof(measurement));
    tdx_measure_init(&measurement);
    for (unsigned i = 0; i < 20; i++) {
        unsigned index = i * 7 % TDX_RTMRS;
        memset(data, (int)(i + 1), sizeof(data));
        tdx_rtmr_extend(&measurement, index, data);
        message_size = 0;
        put(expected[index], SHA384_SIZE);
        put(data, SHA384_SIZE);
        sha384(message, message_size, expected[index]);
        tdx_rtmr_read(&measurement, rtmr);
        assert_memory_equal(rtmr, expected, sizeof(rtmr));
    }
    expect_assert_failure(tdx_rtmr_extend(&measurement, TDX_RTMRS, data));
}

#define THREADS 4
#define EXTENDS 2000

static struct td_measurement shared;

static void *extend_often(void *unused)
{
    static const uint8_t data[SHA384_SIZE] = "the same for all";

    (void)unused;
    for (unsigned i = 0; i < EXTENDS; i++)
        tdx_rtmr_extend(&shared, 2, data);
    return NULL;
}

static void threads_extend_one_after_the_other(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct td_measurement expected;
    uint8_t rtmr[TDX_RTMRS][SHA384_SIZE];

    tdx_measure_init(&shared);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, extend_often, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    tdx_rtmr_read(&shared, rtmr);
    tdx_measure_init(&shared);
    for (unsigned i = 0; i < THREADS; i++)
        extend_often(NULL);
    expected = shared;
    assert_memory_equal(rtmr, expected.rtmr, sizeof(rtmr));
}

static uint32_t began;

static void *extend_once(void *data)
{
    __atomic_store_n(&began, 1, __ATOMIC_SEQ_CST);
    tdx_rtmr_extend(&shared, 2, data);
    return NULL;
}

/* Nothing is extended while somebody else has the lock. */
static void an_extension_waits_for_the_lock(void **state)
{
    (void)state;
    static uint8_t data[SHA384_SIZE] = "waits", zeros[SHA384_SIZE];
    pthread_t thread;
    tdx_measure_init(&shared);
    spin_lock(&shared.lock);
    assert_int_equal(pthread_create(&thread, NULL, extend_once, data), 0);
    while (!__atomic_load_n(&began, __ATOMIC_SEQ_CST))
        sched_yield();
    usleep(20000); /* without the lock, an extension takes some microseconds */
    assert_memory_equal(shared.rtmr[2], zeros, SHA384_SIZE);
    spin_unlock(&shared.lock);
    pthread_join(thread, NULL);
    assert_memory_not_equal(shared.rtmr[2], zeros, SHA384_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mrtd_is_the_hash_of_the_records),
        cmocka_unit_test(a_page_is_measured_in_pieces),
        cmocka_unit_test(an_empty_image_has_a_mrtd),
        cmocka_unit_test(an_rtmr_is_extended),
        cmocka_unit_test(threads_extend_one_after_the_other),
        cmocka_unit_test(an_extension_waits_for_the_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
