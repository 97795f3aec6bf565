/* Lines of guests that run side by side come out in the guests' order, each once. */
#include "tests/unit/support.h"

#include "guest/transcript.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* The order is kept for the life of the program, so one test uses the numbers after another's. */
static unsigned next = 1;

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

static void who_is_first_prints_at_once(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    transcript_line(second, "b%d", 1);
    transcript_line(first, "a1");
    transcript_line(NULL, "now");
    transcript_line(second, "b2");
    assert_string_equal(support_log(), "a1\nnow\n");
    assert_int_equal(support_pages_in_use(), 1);
    transcript_close(first);
    assert_string_equal(support_log(), "a1\nnow\nb1\nb2\n");
    transcript_line(second, "b3");
    assert_string_equal(support_log(), "a1\nnow\nb1\nb2\nb3\n");
    transcript_close(second);
    assert_int_equal(support_pages_in_use(), 0);
    next += 2;
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
    assert_string_equal(support_log(), "");
    transcript_line(t[0], "0");
    transcript_close(t[0]);
    assert_string_equal(support_log(), "0\n1\n2\n3\n");
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
    assert_string_equal(support_log(), expected);
    assert_int_equal(support_pages_in_use(), 0);
    next += 2;
}

static void lost_lines_are_counted(void **state)
{
    (void)state;
    struct transcript *first = transcript_open(next), *second = transcript_open(next + 1);
    char line[LOG_LINE_MAX];
    memset(line, 'x', sizeof(line));
    line[200] = 0;
    support_fail_allocations_after(1);
    for (int i = 0; i < 30; i++)
        transcript_line(second, "%s", line);
    transcript_line(second, "short");
    transcript_close(first);
    transcript_line(second, "later");
    const char *lost = strstr(support_log(), "lines were lost here");
    assert_non_null(lost);
    assert_null(strstr(support_log(), "short"));
    assert_non_null(strstr(lost, "later"));
    transcript_close(second);
    assert_int_equal(support_pages_in_use(), 0);
    next += 2;
}

#define THREADS 6
#define LINES   300

static void *talk(void *context)
{
    unsigned number = *(unsigned *)context;
    struct transcript *t = transcript_open(number);
    for (unsigned i = 0; i < LINES; i++)
        transcript_line(t, "%u %u", number, i);
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
    const char *at = support_log();
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
        cmocka_unit_test_setup(who_is_first_prints_at_once, setup),
        cmocka_unit_test_setup(who_ends_early_is_printed_later, setup),
        cmocka_unit_test_setup(many_lines_are_kept_in_order, setup),
        cmocka_unit_test_setup(lost_lines_are_counted, setup),
        cmocka_unit_test_setup(threads_do_not_mix, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
