/* SPDX-License-Identifier: MIT */
/* The lines of guests that run at the same time are printed in the guests' order, each once. */
#include "tests/unit/support.h"

#include "vm/transcript.h"
#include "lib/trace.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static unsigned notified;

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
    notified++;
}

/* The order lasts for the whole program, so each test uses the numbers after those of the test
 * before. */
static unsigned next = 1;

#define AGAIN    "# b: error: again\n"
#define AGAIN_4  AGAIN AGAIN AGAIN AGAIN
#define AGAIN_27 AGAIN_4 AGAIN_4 AGAIN_4 AGAIN_4 AGAIN_4 AGAIN_4 AGAIN AGAIN AGAIN

static int setup(void **state)
{
    (void)state;
    support_reset();
    transcript_listen();
    notified = 0;
    return 0;
}

static const char *printed(void)
{
    while (transcript_print())
        ;
    return support_log();
}

static void only_the_first_is_printed(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    assert_true(transcript_is_current(first));
    assert_false(transcript_is_current(second));
    transcript_line(second, "b%d", 1);
    transcript_line(first, "a1");
    assert_int_equal(notified, 2);
    assert_string_equal(support_log(), ""); /* adding a line does not print it */
    assert_true(transcript_waits());
    assert_string_equal(printed(), "a1\n");
    assert_false(transcript_waits());
    transcript_line(NULL, "now");
    transcript_line(second, "b2");
    assert_string_equal(printed(), "a1\nnow\n");
    transcript_close(first);
    assert_true(transcript_is_current(second));
    assert_string_equal(printed(), "a1\nnow\nb1\nb2\n");
    transcript_line(second, "b3");
    assert_string_equal(printed(), "a1\nnow\nb1\nb2\nb3\n");
    transcript_close(second);
    assert_int_equal(support_pages_in_use(), 0);
    next += 2;
}

/* No CPU holds the console for long: after a piece, another CPU can print. */
static void pieces_are_short(void **state)
{
    (void)state;
    struct transcript *t = transcript_open(next);
    for (unsigned i = 0; i < 20; i++)
        transcript_guest(t, "0123456789012345678901234567890123456789012345678901234567890", false);
    for (size_t before = 0;; before = strlen(support_log())) {
        bool more = transcript_print();
        assert_in_range(strlen(support_log()) - before, 1, 32);
        if (!more)
            break;
    }
    assert_int_equal(strlen(support_log()), 20 * (4 + 61 + 1));
    transcript_close(t);
    next++;
}

static void live(struct transcript *t, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        transcript_live(t, text[i]);
}

/* A byte is there without its line; ours begin lines of their own; what waits is bounded. */
static void live_bytes(void **state)
{
    (void)state;
    static char many[TRANSCRIPT_TEXT + 100];
    struct transcript *t = transcript_open(next);
    live(t, "\x1b[1m$ ", 6);
    assert_string_equal(printed(), "\x1b[1m$ ");
    transcript_line(t, "ours");
    live(t, "a\r\n", 3);
    transcript_line(t, "more");
    assert_string_equal(printed(), "\x1b[1m$ \nours\na\r\nmore\n");
    memset(many, '.', sizeof(many));
    for (unsigned i = 0; i < 2; i++) {
        size_t before = strlen(support_log());
        live(t, many, TRANSCRIPT_TEXT);
        assert_int_equal(strlen(printed()) - before, TRANSCRIPT_TEXT);
    }
    transcript_say_cut(t, "v"); /* nothing */
    size_t before = strlen(support_log());
    live(t, many, sizeof(many));
    transcript_say_cut(t, "v");
    transcript_close(t);
    assert_string_equal(printed() + before + TRANSCRIPT_TEXT,
                        "\n# v: 100 bytes of the guest's were cut, which came faster than the "
                        "console prints\n");
    next++;
}

/* log_room() of a screen that scrolls says that it has no room yet, or for how many characters. */
static unsigned scrolls;
static const char *shown;

static size_t scrolling(char first)
{
    assert_int_equal(first, shown[strlen(support_log())]);
    return ++scrolls % 4 ? 0 : 3;
}

static void scrolling_comes_first(void **state)
{
    (void)state;
    struct transcript *t = transcript_open(next);
    shown = "a line\n\nand another\n";
    transcript_line(t, "a line");
    transcript_line(t, "%s", "");
    transcript_line(t, "and another");
    scrolls = 0;
    support_log_room = scrolling;
    for (size_t before = 0; before < strlen(shown); before = strlen(support_log())) {
        assert_true(transcript_print()); /* while it scrolls, too */
        size_t printed_now = strlen(support_log()) - before;
        if (scrolls % 4)
            assert_int_equal(printed_now, 0);
        else
            assert_in_range(printed_now, 1, 3);
        if (strlen(support_log()) + 3 >= strlen(shown))
            support_log_room = NULL;
        if (!support_log_room)
            break;
    }
    while (transcript_print())
        ;
    assert_string_equal(support_log(), shown);
    transcript_close(t);
    next++;
}

static void who_ends_early_is_printed_later(void **state)
{
    (void)state;
    struct transcript *t[4];
    for (unsigned i = 4; i--;)
        t[i] = transcript_open(next + i);
    for (unsigned i = 4; i-- > 1;) {
        transcript_line(t[i], "%u", i);
        transcript_close(t[i]);
    }
    assert_string_equal(printed(), "");
    transcript_line(t[0], "0");
    transcript_close(t[0]);
    assert_string_equal(printed(), "0\n1\n2\n3\n");
    assert_int_equal(support_pages_in_use(), 0);
    next += 4;
}

static void many_lines_are_kept_in_order(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    char expected[64 * 1024] = "";
    size_t used = 0;
    for (int i = 0; i < 600; i++) {
        transcript_line(second, "%*d", i % 90, i);
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%*d\n", i % 90, i);
    }
    assert_true(support_pages_in_use() > 5);
    transcript_close(second);
    transcript_close(first);
    assert_string_equal(printed(), expected);
    assert_int_equal(support_pages_in_use(), 0);
    next += 2;
}

/* The hypervisor's lines are kept nevertheless, above all the last ones. */
static void without_memory_ours_are_kept(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    char line[LOG_LINE_MAX];
    memset(line, 'x', sizeof(line));
    line[200] = 0;
    support_fail_allocations_after(1);
    for (int i = 0; i < 30; i++)
        transcript_guest(second, line, false);
    transcript_line(second, "%s", line);
    transcript_list(second, "a list");
    transcript_say_cut(second, "greedy");
    transcript_line(second, "ok 2 greedy");
    transcript_close(second);
    transcript_close(first);
    const char *lines = strstr(printed(), "x\n# greedy");
    assert_non_null(lines);
    assert_string_equal(lines,
                        "x\n"
                        "# greedy: 11 lines of the guest's were cut, 0 of them results: a VM "
                        "may print 256 KiB, and 16 KiB more of results\n"
                        "# greedy: 12 of these lines were cut because no page of memory was "
                        "free\nok 2 greedy\n");
    assert_int_equal(support_pages_in_use(), 0);
    next += 2;
}

/* The bound does not depend on whether the VM's transcript is the current one. */
static void floods_are_cut(void **state)
{
    (void)state;
    for (unsigned own_turn = 0; own_turn < 2; own_turn++) {
        setup(NULL);
        struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
        if (own_turn)
            transcript_close(first);
        for (unsigned i = 0; i < 60000; i++) {
            transcript_guest(second, "", false);
            if (own_turn && i % 100 == 0)
                (void)printed();
        }
        for (unsigned i = 0; i < 3000; i++)
            transcript_guest(second, "ok 1 flood", true);
        transcript_say_cut(second, "flood");
        transcript_line(second, "ok 2 flood # ended=exit");
        transcript_close(second);
        if (!own_turn)
            transcript_close(first);
        assert_in_range(strlen(printed()), TRANSCRIPT_TEXT + TRANSCRIPT_RESULTS - 32,
                        TRANSCRIPT_TEXT + TRANSCRIPT_RESULTS + 512);
        const char *last = strstr(support_log(), "    ok 1 flood\n# flood: ");
        assert_non_null(last);
        char cut[200];
        uint64_t text = TRANSCRIPT_TEXT / 5, results = (TRANSCRIPT_RESULTS) / 15;
        snprintf(cut, sizeof(cut),
                 "# flood: %lu lines of the guest's were cut, %lu of them results: a VM may print "
                 "256 KiB, and 16 KiB more of results\nok 2 flood # ended=exit\n",
                 60000 - text + 3000 - results, 3000 - results);
        assert_string_equal(strstr(last, "# flood"), cut);
        assert_int_equal(support_pages_in_use(), 0);
        next += 2;
    }
}

/* Messages that are logged while a CPU works for a VM go to that VM's transcript, with its name,
 * and are bounded. */
static void errors_say_whose_they_are(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    support_cpu = 1;
    transcript_speak_for(second, "b");
    log_error("MMU: 1");
    log_error("guest b: 2");
    log_error("guest b, its module c: 2");
    log_error("guest bc: 2");
    log_error("guest memory: 3");
    log_info("# b: 4");
    support_cpu = 0;
    transcript_speak_for(first, "a");
    log_warn("5");
    transcript_speak_for(NULL, NULL);
    log_error("6");
    assert_string_equal(printed(), "6\n# a: WARN: 5\n");
    support_cpu = 1;
    for (unsigned i = 0; i < 100; i++)
        log_error("again");
    transcript_say_cut(second, "b");
    transcript_speak_for(NULL, NULL);
    support_cpu = 0;
    transcript_close(first);
    assert_string_equal(strstr(printed(), "# b: error: MMU"),
                        "# b: error: MMU: 1\nerror: guest b: 2\n"
                        "error: guest b, its module c: 2\n# b: error: guest bc: 2\n"
                        "# b: error: guest memory: 3\n# b: 4\n" AGAIN_27
                        "# b: 73 errors and 0 other lines about it were cut: 32 and 512 are shown "
                        "for each VM\n");
    transcript_close(second);
    next += 2;
}

/* If the machine stops, the VM's last lines are printed before the reason. */
static void a_panic_prints_the_rest(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    transcript_speak_for(second, "b");
    log_error("the cause");
    log_divert(NULL);
    log_error("BUG");
    assert_string_equal(support_log(), "# b: error: the cause\nBUG\n");
    transcript_speak_for(NULL, NULL);
    transcript_close(first);
    transcript_close(second);
    (void)printed();
    next += 2;
}

/* Somebody at the console chooses which transcript is printed. An unfinished line is ended, what
 * was left is announced when it comes back, and the order is as before in the end. */
static void a_person_chooses(void **state)
{
    (void)state;
    unsigned n = next;
    struct transcript *t[3];
    char said[2][64];
    for (unsigned i = 0; i < 3; i++) {
        t[i] = transcript_open(n + i);
        transcript_set_name(t[i], i ? "b\x1b" : "a");
    }
    snprintf(said[0], sizeof(said[0]), "# console: VM %u a\n", n);
    snprintf(said[1], sizeof(said[1]), "# console: VM %u b\\x1b\n", n + 1);
    char expected[500];
    live(t[0], "a$ ", 3);
    live(t[1], "b$ ", 3);
    transcript_line(t[2], "c");
    assert_string_equal(printed(), "a$ ");
    transcript_show(n + 1);
    assert_true(transcript_has_text());
    snprintf(expected, sizeof(expected), "a$ \n%sb$ ", said[1]);
    assert_string_equal(printed(), expected);
    live(t[0], "held", 4);
    transcript_line(transcript_console(), "# list");
    assert_true(transcript_has_text());
    live(t[1], "!\n", 2);
    snprintf(expected, sizeof(expected), "a$ \n%sb$ \n# list\n!\n", said[1]);
    assert_string_equal(printed(), expected);
    size_t before = strlen(expected);
    transcript_close(t[1]);
    snprintf(expected, sizeof(expected), "%sheld", said[0]);
    assert_string_equal(printed() + before, expected);
    assert_true(transcript_is_current(t[0]));
    transcript_close(t[0]);
    assert_string_equal(printed() + before + strlen(expected), "\nc\n");
    transcript_close(t[2]);
    assert_int_equal(support_pages_in_use(), 0);
    (void)printed();
    next += 3;
}

/* While the console shows its own transcript only, the VMs' text is kept, and then shown. A
 * dialogue need not end its lines; what comes between ends them. */
static void a_dialogue_has_the_console(void **state)
{
    (void)state;
    unsigned n = next;
    struct transcript *t[2] = {transcript_open(n), transcript_open(n + 1)};
    char expected[300];
    transcript_set_name(t[0], "a");
    transcript_line(t[0], "a1");
    assert_string_equal(printed(), "a1\n");
    transcript_show_console(true);
    assert_true(transcript_echo("? ", 2));
    assert_string_equal(printed(), "a1\n? ");
    transcript_line(t[0], "a2");
    transcript_line(t[1], "b1");
    assert_false(transcript_has_text());
    assert_false(transcript_waits());
    assert_false(transcript_is_current(t[0]));
    assert_true(transcript_echo("x\b \b", 4));
    transcript_show_console(true); /* again: nothing changes */
    assert_string_equal(printed(), "a1\n? x\b \b");
    transcript_line(transcript_console(), "# notice");
    assert_string_equal(printed(), "a1\n? x\b \b\n# notice\n");
    transcript_show_console(false);
    transcript_show_console(false);
    snprintf(expected, sizeof(expected), "a1\n? x\b \b\n# notice\n# console: VM %u a\na2\n", n);
    assert_string_equal(printed(), expected);
    /* The VM ends meanwhile. */
    size_t before = strlen(expected);
    transcript_show_console(true);
    assert_true(transcript_echo("?", 1));
    (void)printed();
    transcript_close(t[0]);
    transcript_show_console(false);
    assert_string_equal(printed() + before, "?\nb1\n");
    transcript_close(t[1]);
    (void)printed();
    next += 2;
}

/* What has no room is the caller's to say again. */
static void an_echo_waits_for_room(void **state)
{
    (void)state;
    char line[100];
    unsigned kept = 0;
    memset(line, 'x', sizeof(line));
    while (transcript_echo(line, sizeof(line)))
        kept++;
    assert_int_equal(kept, 10);
    (void)printed();
    assert_true(transcript_echo("\n", 1));
    (void)printed();
}

/* Answers to keys that nobody reads take bounded memory, and never a page. */
static void notices_are_bounded(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        setup(NULL);
        for (unsigned i = 0; i < 1000; i++)
            transcript_line(transcript_console(), "# console: %u", i);
        assert_int_equal(support_pages_in_use(), 0);
        assert_in_range(strlen(printed()), 900, 1024);
        assert_memory_equal(support_log(), "# console: 0\n# console: 1\n", 26);
        assert_false(transcript_has_text());
    }
}

#define THREADS 6
#define LINES   300

static void *talk(void *context)
{
    unsigned number = *(unsigned *)context;
    support_cpu = number % 64;
    struct transcript *t = transcript_open(number);
    for (unsigned i = 0; i < LINES; i++) {
        transcript_line(t, "%u %u", number, i);
        (void)transcript_print(); /* several characters at a time */
    }
    transcript_close(t);
    return NULL;
}

static void threads_do_not_mix(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = next + i;
        pthread_create(&threads[i], NULL, talk, &numbers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    const char *at = printed();
    for (unsigned i = 0; i < THREADS * LINES; i++) {
        unsigned number, line;
        int length;
        assert_int_equal(sscanf(at, "%u %u\n%n", &number, &line, &length), 2);
        assert_int_equal(number, next + i / LINES);
        assert_int_equal(line, i % LINES);
        at += length;
    }
    assert_int_equal(*at, 0);
    next += THREADS;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_the_first_is_printed, setup),
        cmocka_unit_test_setup(pieces_are_short, setup),
        cmocka_unit_test_setup(live_bytes, setup),
        cmocka_unit_test_setup(scrolling_comes_first, setup),
        cmocka_unit_test_setup(who_ends_early_is_printed_later, setup),
        cmocka_unit_test_setup(many_lines_are_kept_in_order, setup),
        cmocka_unit_test_setup(without_memory_ours_are_kept, setup),
        cmocka_unit_test_setup(floods_are_cut, setup),
        cmocka_unit_test_setup(errors_say_whose_they_are, setup),
        cmocka_unit_test_setup(a_panic_prints_the_rest, setup),
        cmocka_unit_test_setup(a_person_chooses, setup),
        cmocka_unit_test_setup(a_dialogue_has_the_console, setup),
        cmocka_unit_test_setup(an_echo_waits_for_room, setup),
        cmocka_unit_test_setup(notices_are_bounded, setup),
        cmocka_unit_test_setup(threads_do_not_mix, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
