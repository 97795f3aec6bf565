/* SPDX-License-Identifier: MIT */
/*
 * A transcript that is opened again, because its guest is started again: what it says is printed
 * once more in its turn, also if all transcripts had been printed, and its bounds are new ones.
 */
#include "tests/unit/support.h"

#include "vm/transcript.h"

#include <string.h>

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
}

static const char *printed(void)
{
    while (transcript_print())
        ;
    return support_log();
}

static void flood(struct transcript *t, unsigned lines)
{
    for (unsigned i = 0; i < lines; i++)
        transcript_guest(t, "0123456789012345678901234567890123456789012345678901234567890", false);
}

static void opened_again(void **state)
{
    (void)state;
    support_reset();
    transcript_listen();
    struct transcript *a = transcript_open(1), *b = transcript_open(2);
    transcript_set_name(a, "a");
    transcript_set_name(b, "b");
    transcript_close(a);
    transcript_close(b);
    assert_string_equal(printed(), "");
    assert_false(transcript_waits());

    /* After all others, and then behind the one that is shown. */
    assert_ptr_equal(transcript_open(1), a);
    transcript_line(a, "once");
    assert_true(transcript_waits());
    assert_string_equal(printed(), "# console: VM 1 a\nonce\n");
    assert_true(transcript_is_current(a));
    assert_ptr_equal(transcript_open(2), b);
    transcript_line(b, "twice");
    assert_string_equal(printed(), "# console: VM 1 a\nonce\n");
    transcript_close(a);
    assert_string_equal(printed(), "# console: VM 1 a\nonce\ntwice\n");

    /* Before the one that is shown. */
    assert_ptr_equal(transcript_open(1), a);
    transcript_line(a, "thrice");
    transcript_close(b);
    assert_string_equal(printed(), "# console: VM 1 a\nonce\ntwice\n# console: VM 1 a\nthrice\n");
    transcript_close(a);
    (void)printed();
    assert_false(transcript_waits());
    assert_int_equal(support_pages_in_use(), 0);
}

/* The text of each run is bounded, and what a run has not printed yet counts for the next one. */
static void bounds(void **state)
{
    (void)state;
    support_reset();
    struct transcript *a = transcript_open(1);
    flood(a, TRANSCRIPT_TEXT / 66 + 1);
    transcript_close(a);
    assert_ptr_equal(transcript_open(1), a);
    flood(a, 10);
    transcript_say_cut(a, "a");
    transcript_close(a);
    const char *end = strstr(printed(), "# a: ");
    assert_non_null(end);
    assert_memory_equal(end, "# a: 10 lines of the guest's were cut", 37);

    size_t before = strlen(support_log());
    assert_ptr_equal(transcript_open(1), a);
    flood(a, 10);
    transcript_say_cut(a, "a");
    transcript_close(a);
    assert_null(strstr(printed() + before, "cut"));
    assert_int_equal(strlen(support_log()) - before, 10 * 66 + strlen("# console: VM 1 a\n"));
    assert_int_equal(support_pages_in_use(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opened_again),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
