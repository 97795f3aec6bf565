/* SPDX-License-Identifier: MIT */
/* The input multiplexer: who gets what was typed, what stays in the port, when it is polled, and a
 * ring that two threads use. */
#include "tests/unit/support.h"

#include "arch/x86/serial.h"
#include "vm/input.h"
#include "vm/vcpu.h"

#include <pthread.h>

#define MS 1000u /* ticks */

static unsigned port_next, port_end; /* the port counts: byte n is (uint8_t)n */
static struct input inputs[3];
static unsigned calls[3];

int serial_read(void)
{
    return port_next == port_end ? -1 : (uint8_t)port_next++;
}

static void ready(void *context)
{
    calls[(unsigned *)context - calls]++;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    port_next = port_end = 0;
    for (unsigned i = 0; i < 3; i++)
        calls[i] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        input_detach(&inputs[i]);
    return input_due != TIME_NEVER;
}

static void attach(unsigned i)
{
    input_attach(&inputs[i], ready, &calls[i]);
}

static void nobody_is_never_polled(void **state)
{
    (void)state;
    port_end = 1;
    assert_true(input_due == TIME_NEVER);
    input_poll(TIME_NEVER, MS);
    assert_int_equal(port_next, 0);
    attach(0);
    assert_true(input_due == 0);
    input_detach(&inputs[0]);
    assert_true(input_due == TIME_NEVER);
    input_detach(&inputs[0]);
}

static void bytes_arrive_in_order(void **state)
{
    (void)state;
    attach(0);
    assert_int_equal(input_take(&inputs[0]), -1);
    port_end = 3;
    input_poll(500, MS);
    assert_int_equal(calls[0], 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(input_take(&inputs[0]), i);
    assert_int_equal(input_take(&inputs[0]), -1);
}

static void polled_when_due(void **state)
{
    (void)state;
    attach(0);
    input_poll(500, MS);
    assert_int_equal(input_due, 500 + 10 * MS);
    assert_int_equal(calls[0], 0);
    port_end = 1;
    input_poll(500 + 10 * MS - 1, MS);
    assert_int_equal(port_next, 0);
    input_poll(500 + 10 * MS, MS);
    assert_int_equal(port_next, 1);
    assert_int_equal(input_due, 500 + 11 * MS); /* more may follow soon */
    input_poll(500 + 11 * MS, MS);
    assert_int_equal(input_due, 500 + 21 * MS);
}

/* A poll is short, and a VM that takes nothing keeps nothing but its ring. */
static void bounds(void **state)
{
    (void)state;
    attach(0);
    port_end = 1000;
    input_poll(0, MS);
    assert_int_equal(port_next, 64);
    for (unsigned i = 1; i < 10; i++)
        input_poll(i * MS * 100, MS);
    assert_int_equal(port_next, INPUT_RING);
    assert_int_equal(calls[0], INPUT_RING / 64);
    assert_int_equal(input_take(&inputs[0]), 0);
    input_poll(TIME_NEVER - 1, MS);
    assert_int_equal(port_next, INPUT_RING + 1);
    for (unsigned i = 1; i <= INPUT_RING; i++)
        assert_int_equal(input_take(&inputs[0]), (uint8_t)i);
    assert_int_equal(input_take(&inputs[0]), -1);
}

static void first_one_has_the_focus(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        attach(i);
    for (unsigned i = 0; i < 3; i++) {
        port_end++;
        input_poll(input_due, MS);
        assert_int_equal(calls[i], 1);
        assert_int_equal(input_take(&inputs[i]), (int)i);
        input_detach(&inputs[i]);
    }
    attach(0);
    attach(1);
    input_detach(&inputs[1]);
    port_end++;
    input_poll(input_due, MS);
    assert_int_equal(calls[0], 2);
}

/* A ring begins empty, whoever had its memory. */
static void attached_again(void **state)
{
    (void)state;
    attach(0);
    port_end = 5;
    input_poll(0, MS);
    input_detach(&inputs[0]);
    attach(0);
    assert_int_equal(input_take(&inputs[0]), -1);
}

#define BYTES 100000u

static void *poll_all(void *context)
{
    for (uint64_t now = 0; port_next < BYTES; now += 100 * MS)
        input_poll(now, MS);
    return context;
}

static void two_threads(void **state)
{
    (void)state;
    pthread_t poller;
    attach(0);
    port_end = BYTES;
    assert_int_equal(pthread_create(&poller, NULL, poll_all, NULL), 0);
    for (unsigned i = 0; i < BYTES;) {
        int byte = input_take(&inputs[0]);
        if (byte < 0)
            continue;
        assert_int_equal(byte, (uint8_t)i);
        i++;
    }
    pthread_join(poller, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_never_polled, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(polled_when_due, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(first_one_has_the_focus, setup, teardown),
        cmocka_unit_test_setup_teardown(attached_again, setup, teardown),
        cmocka_unit_test_setup_teardown(two_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
