/* A guest's console: lines, KTAP results, and nothing that could upset a terminal. */
#include "tests/unit/support.h"

#include "guest/console.h"
#include "guest/options.h"

#include <string.h>

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
    assert_string_equal(support_log(), "    .[2J.. ok\n");
    setup(NULL);
    for (unsigned i = 0; i < CONSOLE_LINE_MAX + 10; i++)
        console_put(&console, 'x');
    assert_int_equal(console.length, 10);
    console_finish(&console);
    console_finish(&console);
    assert_int_equal(strlen(support_log()), CONSOLE_LINE_MAX + 10 + 2 * 5);
    put("1..99999999999999\n");
    assert_in_range(console.planned, 1, 10000000);
}

static void bench_rows(void **state)
{
    (void)state;
    put("BENCH cpuid 90 instructions\n");
    assert_string_equal(support_log(), "BENCH cpuid 90 instructions\n");
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
        cmocka_unit_test_setup(results, setup),    cmocka_unit_test_setup(hostile, setup),
        cmocka_unit_test_setup(bench_rows, setup), cmocka_unit_test_setup(patterns, setup),
        cmocka_unit_test_setup(defaults, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
