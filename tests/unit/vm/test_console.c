/* SPDX-License-Identifier: MIT */
/* A guest's console: lines, KTAP results, and no byte that could control a terminal. */
#include "tests/unit/support.h"

#include "vm/console.h"
#include "vm/options.h"
#include "lib/trace.h"

#include <string.h>

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
}

static struct console console;

static void put(const char *text)
{
    while (*text)
        console_put(&console, (uint8_t)*text++);
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&console, 0, sizeof(console));
    return 0;
}

/* Nothing is a line or a result: each byte is the transcript's as it is. */
static void a_live_console(void **state)
{
    (void)state;
    struct transcript *t = transcript_open(1);
    console.transcript = t;
    console.live = true;
    put("\tok 1 a\r\n\x1b[2J$ ");
    console_finish(&console);
    while (transcript_print())
        ;
    assert_string_equal(support_log(), "\tok 1 a\r\n\x1b[2J$ ");
    assert_int_equal(console_results(&console), 0);
    transcript_close(t);
    (void)transcript_print();
}

static void results(void **state)
{
    (void)state;
    put("KTAP version 1\r\n1..4\nok 1 a # x=1\nnot ok 2 b\nok 3 c # SKIP no device\nokay\nok 4 d");
    assert_int_equal(console.passed, 1);
    console_finish(&console);
    assert_int_equal(console.planned, 4);
    assert_int_equal(console.passed, 2);
    assert_int_equal(console.failed, 1);
    assert_int_equal(console.skipped, 1);
    assert_int_equal(console_results(&console), 4);
    assert_string_equal(support_log(),
                        "    KTAP version 1\n    1..4\n    ok 1 a # x=1\n    not ok 2 b\n"
                        "    ok 3 c # SKIP no device\n    okay\n    ok 4 d\n");
}

static void hostile(void **state)
{
    (void)state;
    put("\x1b[2J\x7f\x80\tok\n");
    assert_string_equal(support_log(), "    \\x1b[2J\\x7f\\x80 ok\n");
    setup(NULL);
    put("EXIT 0 ok\rx\r\r\n\r");
    console_finish(&console);
    assert_string_equal(support_log(), "    EXIT 0 ok\\x0dx\\x0d\n    \\x0d\n");
    setup(NULL);
    for (unsigned i = 0; i < CONSOLE_LINE_MAX + 10; i++)
        console_put(&console, 'x');
    assert_int_equal(console.length, 10);
    console_finish(&console);
    console_finish(&console);
    assert_int_equal(strlen(support_log()), CONSOLE_LINE_MAX + 10 + 2 * 5);
    setup(NULL);
    for (unsigned i = 0; i < CONSOLE_LINE_MAX; i++)
        console_put(&console, i % 3 ? 'x' : 0x1b); /* an escape is not split between two lines */
    console_finish(&console);
    assert_null(strstr(support_log(), "\\\n"));
    assert_null(strstr(support_log(), "\\x\n"));
    setup(NULL);
    put("1..99999999999999\n");
    assert_in_range(console.planned, 1, 10000000);
}

/* Whatever a guest writes at the beginning of a line, the line does not look like one of the
 * hypervisor's. */
static void no_line_is_ours(void **state)
{
    (void)state;
    static const char *const forged[] = {
        "BENCH cpuid 90 instructions",
        "EXIT 0 ok",
        "ok 1 hello # ended=exit",
        "1..7",
        "# hello: 32 MiB",
        "error: x",
        "WARN: x",
        "42 passed, 0 failed, 0 skipped",
        "",
    };
    for (unsigned i = 0; i < sizeof(forged) / sizeof(*forged); i++) {
        setup(NULL);
        put(forged[i]);
        put("\n");
        assert_memory_equal(support_log(), "    ", 4);
        assert_string_equal(support_log() + strlen(support_log()) - 1, "\n");
        assert_ptr_equal(strchr(support_log(), '\n') + 1, support_log() + strlen(support_log()));
    }
}

static void patterns(void **state)
{
    (void)state;
    assert_true(options_match("*", ""));
    assert_true(options_match("mm*", "mmio"));
    assert_true(options_match("*io", "mmio"));
    assert_true(options_match("m?i*o", "mmio"));
    assert_false(options_match("mmi", "mmio"));
    assert_false(options_match("mmio?", "mmio"));
    assert_false(options_match("", "mmio"));
}

static void defaults(void **state)
{
    (void)state;
    struct options options;
    assert_int_equal(options_parse("mmio_caching=0 on_exit=halt tests=a*", &options), 0);
    assert_int_equal(options.mmio_caching, 0);
    assert_int_equal(options.gva_cache, 2);
    assert_int_equal(options.on_exit, 2);
    assert_string_equal(options.tests, "a*");
    assert_true(options_parse("foo=1", &options) < 0);
    assert_non_null(
        strstr(support_log(), "command line: unknown word \"foo\"; allowed: mmio_caching="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_live_console, setup),
        cmocka_unit_test_setup(results, setup),
        cmocka_unit_test_setup(hostile, setup),
        cmocka_unit_test_setup(no_line_is_ours, setup),
        cmocka_unit_test_setup(patterns, setup),
        cmocka_unit_test_setup(defaults, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
