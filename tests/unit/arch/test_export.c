/* SPDX-License-Identifier: MIT */
/*
 * The export channel (arch/x86/export.c): what a device receives is whole frames in order, whatever
 * it takes at a time. A frame that finds no room, or another CPU writing, is refused, and nobody
 * waits.
 */
#include "tests/unit/support.h"

#include "arch/x86/export.c"

#include <string.h>

static uint8_t received[1u << 20];
static size_t received_size, limit; /* of bytes at a time */

static size_t takes_some(const uint8_t *bytes, size_t size)
{
    size_t took = size < limit ? size : limit;
    memcpy(received + received_size, bytes, took);
    received_size += took;
    return took;
}

static uint64_t some_number(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state >> 40;
}

static int setup(void **state)
{
    static const struct export_device some = {takes_some};
    (void)state;
    support_reset();
    received_size = 0;
    limit = SIZE_MAX;
    export_open(&some);
    return 0;
}

/* CRC-32 by its definition, a bit at a time. */
static uint32_t crc_by_bits(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < 8 * size; i++) {
        uint32_t byte = bytes[i / 8], bit = (crc ^ byte >> i % 8) & 1;
        crc = crc >> 1 ^ (bit ? 0xedb88320 : 0);
    }
    return ~crc;
}

/* Checks the frame at `at` by the table in the header, and returns where the next one begins. */
static size_t check_frame(size_t at, uint8_t kind, uint32_t expected, const void *data, size_t size)
{
    const uint8_t *frame = received + at;
    uint32_t crc;
    assert_memory_equal(frame,
                        "\xe9"
                        "EPT",
                        4);
    memcpy(&crc, frame + 4, 4);
    assert_int_equal(crc, crc_by_bits(frame + 8, 8 + size));
    assert_int_equal(frame[8], kind);
    assert_int_equal(frame[9], 1);
    assert_int_equal(frame[10] | frame[11] << 8, size);
    assert_int_equal(frame[12] | frame[13] << 8, expected);
    assert_memory_equal(frame + 16, data, size);
    return at + 16 + size;
}

static void a_frame(void **state)
{
    (void)state;
    assert_int_equal(crc_by_bits((const uint8_t *)"123456789", 9), 0xcbf43926); /* the oracle */
    assert_true(export_bytes(EXPORT_TEXT, "cpus 1\n", 7));
    assert_true(export_bytes(EXPORT_MAP, "", 0));
    size_t end = check_frame(0, EXPORT_TEXT, 0, "cpus 1\n", 7);
    end = check_frame(end, EXPORT_MAP, 1, "", 0);
    assert_int_equal(received_size, end);
    assert_false(export_waits());
    assert_false(export_send());
}

/* Frames of all sizes, to a device that takes any number of bytes: none is lost, mixed or cut. */
static void whatever_the_device_takes(void **state)
{
    (void)state;
    uint8_t data[EXPORT_MAX];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)some_number();
    for (unsigned i = 0; i < 600; i++) {
        limit = some_number() % 700;
        while (!export_bytes(EXPORT_EVENTS, data, i)) {
            limit = 1 + some_number() % 700;
            (void)export_send();
        }
    }
    limit = 1;
    while (export_send())
        ;
    size_t at = 0;
    for (unsigned i = 0; i < 600; i++)
        at = check_frame(at, EXPORT_EVENTS, i, data, i);
    assert_int_equal(at, received_size);
}

/* A device that takes nothing: the queue keeps whole frames until it is full, to the last byte. */
static void a_full_queue_refuses(void **state)
{
    (void)state;
    static const uint8_t data[EXPORT_MAX];
    unsigned kept = 0;
    limit = 0;
    while (export_bytes(EXPORT_EVENTS, data, EXPORT_MAX))
        kept++;
    assert_int_equal(kept, QUEUE / (EXPORT_MAX + 16));
    size_t left = QUEUE - kept * (EXPORT_MAX + 16);
    assert_false(export_bytes(EXPORT_EVENTS, data, left - 15));
    assert_true(export_bytes(EXPORT_EVENTS, data, left - 16));
    assert_false(export_bytes(EXPORT_EVENTS, data, 0));
    limit = SIZE_MAX;
    assert_false(export_send()); /* all has left at once, around the end of the array */
    assert_int_equal(received_size, QUEUE);
    assert_true(export_bytes(EXPORT_TEXT, "x", 1));
    check_frame(QUEUE, EXPORT_TEXT, kept + 1, "x", 1); /* refused frames take no number */
}

static void nobody_waits_for_another_cpu(void **state)
{
    (void)state;
    limit = 0;
    assert_true(export_bytes(EXPORT_TEXT, "x", 1));
    limit = SIZE_MAX;
    assert_true(spin_trylock(&writer)); /* another CPU is writing */
    assert_false(export_bytes(EXPORT_TEXT, "y", 1));
    assert_false(export_send());
    assert_int_equal(received_size, 0);
    spin_unlock(&writer);
    assert_false(export_send());
    assert_int_equal(check_frame(0, EXPORT_TEXT, 0, "x", 1), received_size);
}

static void a_closed_channel(void **state)
{
    (void)state;
    export_open(NULL);
    assert_false(export_is_open());
    assert_false(export_bytes(EXPORT_TEXT, "x", 1));
    assert_false(export_send());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_frame, setup),
        cmocka_unit_test_setup(whatever_the_device_takes, setup),
        cmocka_unit_test_setup(a_full_queue_refuses, setup),
        cmocka_unit_test_setup(nobody_waits_for_another_cpu, setup),
        cmocka_unit_test_setup(a_closed_channel, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
