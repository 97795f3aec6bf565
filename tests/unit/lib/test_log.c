/* SPDX-License-Identifier: MIT */
/* The log's consoles: each gets what the ring holds and all that follows, a console that is added
 * again is no second one, and one too many is a bug instead of a silent console. */
#include "tests/unit/support.h"

/* The real log, beside the one by which support.c records what is said. */
#define log_divert real_log_divert
#define log_text   real_log_text
#define log_room   real_log_room
#define log_line   real_log_line
#include "lib/freestanding/log.c"

#include "lib/bits.h"

#include <string.h>

static char seen[LOG_CONSOLES + 1][64];

static void note(unsigned console, const char *text, size_t length)
{
    strncat(seen[console], text, length);
}

#define CONSOLE(n)                                         \
    static void write_##n(const char *text, size_t length) \
    {                                                      \
        note(n, text, length);                             \
    }
CONSOLE(0)
CONSOLE(1)
CONSOLE(2)
CONSOLE(3)
CONSOLE(4)
CONSOLE(5)
CONSOLE(6)
CONSOLE(7)
CONSOLE(8)

static void (*const writers[])(const char *, size_t) = {write_0, write_1, write_2, write_3, write_4,
                                                        write_5, write_6, write_7, write_8};
_Static_assert(ARRAY_SIZE(writers) == LOG_CONSOLES + 1, "one console more than there may be");

static void one_too_many_is_a_bug(void **state)
{
    (void)state;
    log_info("first");
    for (unsigned i = 0; i < LOG_CONSOLES; i++)
        log_add_console(writers[i], NULL);
    expect_assert_failure(log_add_console(writers[LOG_CONSOLES], NULL));
    log_info("second");
    for (unsigned i = 0; i < LOG_CONSOLES; i++)
        assert_string_equal(seen[i], "first\nsecond\n");
    assert_string_equal(seen[LOG_CONSOLES], "");
    log_add_console(write_7, NULL); /* it is known, so there is room for it */
    assert_string_equal(seen[7], "first\nsecond\nfirst\nsecond\n");
    log_info("third");
    assert_string_equal(seen[7], "first\nsecond\nfirst\nsecond\nthird\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_too_many_is_a_bug)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
