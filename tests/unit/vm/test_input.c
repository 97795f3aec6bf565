/* SPDX-License-Identifier: MIT */
/* The input multiplexer: who gets what was typed, what is for the hypervisor, what stays in the
 * port or is dropped, when it is polled, and a ring that two threads use. */
#include "tests/unit/support.h"

#include "arch/x86/power.h"
#include "arch/x86/serial.h"
#include "vm/input.h"
#include "vm/transcript.h"
#include "vm/vcpu.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000u /* ticks */

#define VMS 3u
#define KEY "\x02" /* the escape key */

static unsigned port_next, port_end; /* the port counts: byte n is (uint8_t)n */
static const char *typed;            /* or it has this text */
static struct input inputs[VMS];     /* of the VMs from 1 on */
static unsigned calls[VMS];

int serial_read(void)
{
    if (typed)
        return *typed ? (uint8_t)*typed++ : -1;
    return port_next == port_end ? -1 : (uint8_t)port_next++;
}

NORETURN void machine_exit(enum exit_code code)
{
    _exit((int)code);
}

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
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
    typed = NULL;
    for (unsigned i = 0; i < VMS; i++)
        calls[i] = 0;
    input_set_escape(INPUT_KEY_NONE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VMS; i++)
        input_detach(&inputs[i]);
    while (transcript_print())
        ;
    return input_due != TIME_NEVER;
}

static void attach(unsigned i)
{
    static const char *const names[VMS] = {"ada", "bob", "cem"};
    input_attach(&inputs[i], i + 1, names[i], ready, &calls[i]);
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

/* A poll is short, and of bytes for which the ring has no room, the port keeps those of a VM that
 * reads. */
static void bounds(void **state)
{
    (void)state;
    uint64_t now = 0;
    attach(0);
    port_end = 1000;
    input_poll(now, MS);
    assert_int_equal(port_next, 64);
    for (unsigned i = 1; i < 10; i++)
        input_poll(now += MS, MS);
    assert_int_equal(port_next, INPUT_RING);
    assert_int_equal(calls[0], INPUT_RING / 64);
    assert_int_equal(input_take(&inputs[0]), 0);
    input_poll(now += 10 * MS, MS);
    assert_int_equal(port_next, INPUT_RING + 1);
    for (unsigned i = 1; i <= INPUT_RING; i++)
        assert_int_equal(input_take(&inputs[0]), (uint8_t)i);
    assert_int_equal(input_take(&inputs[0]), -1);
}

static const char *shown(void)
{
    while (transcript_print())
        ;
    return support_log();
}

/* Polls for `ms` milliseconds, in which the VM takes `bytes` bytes, and returns how many were read
 * from the port. */
static unsigned poll_for(uint64_t *now, unsigned ms, unsigned bytes)
{
    unsigned before = port_next;
    for (unsigned i = 0; i < ms; i++) {
        input_poll(*now += MS, MS);
        for (unsigned j = i * bytes / ms; j < (i + 1) * bytes / ms; j++)
            (void)input_take(&inputs[0]);
    }
    return port_next - before;
}

/* A VM that reads a ring's worth in a second loses nothing. The bytes of one that reads less are
 * dropped, which is said once, until it has read them all. */
static void slow_readers(void **state)
{
    (void)state;
    uint64_t now = 0;
    attach(0);
    port_end = 100000;
    poll_for(&now, 10, 0);
    assert_in_range(poll_for(&now, 5000, 5 * (INPUT_RING + 8)), 5 * INPUT_RING,
                    5 * INPUT_RING + 40);
    assert_int_equal(inputs[0].put, port_next);
    assert_string_equal(shown(), "");

    while (input_take(&inputs[0]) >= 0)
        ;
    assert_int_equal(poll_for(&now, INPUT_HOLD_MS - 1, 1), INPUT_RING);
    unsigned before = port_next;
    poll_for(&now, 2000, 1); /* as fast as they come */
    assert_int_equal(port_next, port_end);
    assert_int_equal(inputs[0].put, before + 1);
    assert_string_equal(shown(),
                        "# console: VM 1 does not read its input, so further keys for it are "
                        "dropped\n");

    while (input_take(&inputs[0]) >= 0)
        ;
    uint32_t put = inputs[0].put;
    port_end += 1000;
    poll_for(&now, 100, 0);
    assert_int_equal(inputs[0].put - put, INPUT_RING);
    assert_int_equal(port_end - port_next, 1000 - INPUT_RING);
}

/* Types a text, and returns what was shown. */
static const char *type(const char *text)
{
    support_reset();
    typed = text;
    do
        input_poll(input_due, MS);
    while (*typed);
    return shown();
}

/* Reads all that has come for a reader. */
static const char *taken(struct input *input)
{
    static char text[INPUT_RING + 1];
    unsigned length = 0;
    for (int byte; (byte = input_take(input)) >= 0;)
        text[length++] = (char)byte;
    text[length] = 0;
    return text;
}

static const char *got(unsigned i)
{
    return taken(&inputs[i]);
}

#define HELP                                                                                 \
    "# console: after ^B, 1 to 9 or n turns to a VM, m to the monitor, x ends the machine, " \
    "w80x24 and Return says how large the window is, ^B is ^B\n"

static void commands(void **state)
{
    (void)state;
    input_set_escape(2);
    for (unsigned i = VMS; i--;) { /* whichever comes first, the first one gets the input */
        attach(i);
        transcript_set_name(transcript_open(i + 1), inputs[i].name);
    }
    assert_string_equal(type("a" KEY KEY "1" KEY KEY KEY KEY "\x01"), "");
    assert_string_equal(got(0), "a" KEY "1" KEY KEY "\x01");
    assert_string_equal(type("b" KEY "2c"), "# console: VM 2 bob\n");
    assert_string_equal(got(0), "b");
    assert_string_equal(got(1), "c");
    assert_int_equal(calls[1], 1);
    assert_string_equal(type(KEY "?d"), HELP "# console: VM 1 ada\n"
                                             "# console: VM 2 bob, which has the input\n"
                                             "# console: VM 3 cem\n");
    assert_string_equal(type(KEY "n" KEY "4e"), "# console: VM 3 cem\n" HELP "# console: VM 1 ada\n"
                                                "# console: VM 2 bob\n"
                                                "# console: VM 3 cem, which has the input\n");
    assert_string_equal(got(1), "d");
    assert_string_equal(got(2), "e");
    assert_string_equal(type(KEY "nf"), "# console: VM 1 ada\n");
    assert_string_equal(got(0), "f");
    type(KEY "2");
    input_detach(&inputs[1]); /* the first one gets the input */
    assert_string_equal(type("g"), "");
    assert_string_equal(got(0), "g");
    attach(1); /* its guest has reset it */
    type("h");
    assert_string_equal(got(1), "h");
    input_detach(&inputs[1]);
    assert_string_equal(type(KEY "n"), "# console: VM 3 cem\n");
    int status;
    pid_t child = fork();
    if (!child) {
        type(KEY "x");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, EXIT_STOPPED << 8);
}

/* The size is for all VMs. What is no size changes nothing, and nothing of it is typed. */
static void the_size_of_the_window(void **state)
{
    (void)state;
    static const struct {
        const char *typed;
        unsigned columns, rows; /* 0: refused */
    } rows[] = {
        {"80x24\r", 80, 24}, {"132x45\n", 132, 45}, {"1x9999\r", 1, 9999}, {"9999x1\r", 9999, 1},
        {"007x008\r", 7, 8}, {"\r", 0, 0},          {"80\r", 0, 0},        {"80x\r", 0, 0},
        {"x24\r", 0, 0},     {"0x24\r", 0, 0},      {"80x0\r", 0, 0},      {"80xx", 0, 0},
        {"-", 0, 0},         {"80x24x", 0, 0},      {"80X", 0, 0},         {"10000", 0, 0},
        {"80x10000", 0, 0},  {"80x24 ", 0, 0},      {"80" KEY, 0, 0},
    };
    input_set_escape(2);
    for (unsigned i = 0; i < VMS; i++)
        attach(i);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[64];
        struct input_window before = input_window();
        memset(calls, 0, sizeof(calls));
        snprintf(text, sizeof(text), "a" KEY "w%sb", rows[i].typed);
        assert_string_equal(type(text), rows[i].rows ? ""
                                                     : "# console: w takes the size of the window, "
                                                       "as in w80x24, and Return\n");
        assert_string_equal(got(0), "ab");
        struct input_window now = input_window();
        assert_int_equal(now.columns, rows[i].rows ? rows[i].columns : before.columns);
        assert_int_equal(now.rows, rows[i].rows ? rows[i].rows : before.rows);
        for (unsigned vm = 1; vm < VMS; vm++)
            assert_int_equal(calls[vm], rows[i].rows != 0);
    }
}

/* Without an escape key every byte is the VM's. */
static void no_escape_key(void **state)
{
    (void)state;
    attach(0);
    type("\x01x" KEY "x" KEY "w80x24\r");
    assert_string_equal(got(0), "\x01x" KEY "x" KEY "w80x24\r");
}

/* A VM that does not read cannot keep the escape key from being heard. */
static void the_escape_key_is_always_heard(void **state)
{
    (void)state;
    static char text[2000];
    input_set_escape(2);
    attach(0);
    attach(1);
    memset(text, '.', sizeof(text));
    snprintf(text + 1000, sizeof(text) - 1000, KEY "2hello");
    type(text);
    assert_string_equal(got(1), "hello");
    assert_int_equal(strlen(got(0)), INPUT_RING);
}

static void first_one_has_the_focus(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VMS; i++)
        attach(i);
    for (unsigned i = 0; i < VMS; i++) {
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

/* Time stands still while the reader falls behind, because what it then gets is dropped. */
static void *poll_all(void *context)
{
    const struct input *input = context;
    while (port_next < BYTES) {
        unsigned before = port_next;
        input_poll(input_due, MS);
        while (port_next == before &&
               __atomic_load_n(&input->taken, __ATOMIC_ACQUIRE) != input->put)
            support_pause();
    }
    return context;
}

static void two_threads(void **state)
{
    (void)state;
    pthread_t poller;
    attach(0);
    port_end = BYTES;
    assert_int_equal(pthread_create(&poller, NULL, poll_all, &inputs[0]), 0);
    for (unsigned i = 0; i < BYTES;) {
        int byte = input_take(&inputs[0]);
        if (byte < 0)
            continue;
        assert_int_equal(byte, (uint8_t)i);
        i++;
    }
    pthread_join(poller, NULL);
}

static struct input of_monitor;
static unsigned monitor_calls;

static void call_monitor(void *context)
{
    (void)context;
    monitor_calls++;
}

/* The monitor takes the input and the console, and gives them back to the VM that had them. The
 * last test, because a monitor stays. */
static void the_monitor(void **state)
{
    (void)state;
    input_set_escape(2);
    input_set_monitor(&of_monitor, call_monitor, NULL, false);
    assert_true(input_due == TIME_NEVER);
    assert_false(input_is_monitored());
    attach(0);
    attach(1);
    type(KEY "1a" KEY "2b" KEY "m");
    assert_int_equal(monitor_calls, 1);
    assert_int_equal(calls[1], 1); /* in the same poll */
    assert_true(input_is_monitored());
    type("help\r");
    assert_string_equal(taken(&of_monitor), "help\r");
    assert_int_equal(monitor_calls, 2);
    assert_string_equal(got(0), "a");
    assert_string_equal(got(1), "b");
    assert_string_equal(type(KEY "?"), HELP "# console: VM 1 ada\n# console: VM 2 bob\n"
                                            "# console: the monitor has the input\n");
    support_reset();
    input_leave_monitor();
    input_leave_monitor();
    assert_string_equal(shown(), "# console: VM 2 bob\n");
    type("c");
    assert_string_equal(got(1), "c");
    type(KEY "m" KEY "1d" KEY "m" KEY "ne");
    assert_false(input_is_monitored());
    assert_string_equal(got(0), "de"); /* n: the first one after the monitor */

    /* It keeps the console while no VM is there, and its keys are never dropped. */
    type(KEY "m");
    input_detach(&inputs[0]);
    input_detach(&inputs[1]);
    assert_true(input_due != TIME_NEVER);
    typed = NULL;
    input_set_escape(INPUT_KEY_NONE);
    port_end = 1000;
    uint64_t now = input_due;
    poll_for(&now, 3000, 0);
    assert_int_equal(port_next, INPUT_RING);
    assert_int_equal(input_take(&of_monitor), 0);
    assert_false(input_drop_through(&of_monitor, 0));
    assert_true(input_drop_through(&of_monitor, 3));
    assert_int_equal(input_take(&of_monitor), 4);
    input_leave_monitor();
    assert_true(input_due == TIME_NEVER);
}

/* A machine that begins with its monitor listens for the rest of its life. */
static void the_monitor_at_once(void **state)
{
    (void)state;
    input_set_escape(2);
    input_set_monitor(&of_monitor, call_monitor, NULL, true);
    assert_true(input_is_monitored());
    assert_true(input_due == 0);
    type("x" KEY "n" KEY "1");
    assert_string_equal(taken(&of_monitor), "x");
    assert_true(input_is_monitored());
    input_leave_monitor();
    type("dropped" KEY "mkept");
    assert_string_equal(taken(&of_monitor), "kept");
    input_leave_monitor();
    input_set_monitor(&of_monitor, call_monitor, NULL, false);
    attach(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_never_polled, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(polled_when_due, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(first_one_has_the_focus, setup, teardown),
        cmocka_unit_test_setup_teardown(attached_again, setup, teardown),
        cmocka_unit_test_setup_teardown(two_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(the_size_of_the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(no_escape_key, setup, teardown),
        cmocka_unit_test_setup_teardown(commands, setup, teardown),
        cmocka_unit_test_setup_teardown(the_escape_key_is_always_heard, setup, teardown),
        cmocka_unit_test_setup_teardown(the_monitor, setup, teardown),
        cmocka_unit_test_setup_teardown(the_monitor_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
