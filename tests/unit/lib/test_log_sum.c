/* SPDX-License-Identifier: MIT */
/* The sums of what the consoles were given (rule N93): a lost character changes them, and one
 * wrong line is found by its number. And the bits of a register in words. */
#include "tests/unit/support.h"

#include "lib/bit_words.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/log_sum.h"

#include <stdio.h>
#include <string.h>

static void (*console)(const char *text, size_t length);

void log_add_console(void (*write)(const char *text, size_t length), size_t (*room)(char next))
{
    assert_null(console);
    assert_null(room);
    console = write;
    write("eptvisor: x\n", 12);
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

static struct log_sum sum_of(const char *text)
{
    struct log_sum sum = {.hash = LOG_HASH_BEGIN};
    log_sum_add(&sum, text, strlen(text));
    return sum;
}

/* FNV-1a's published values. */
static void hashes(void **state)
{
    (void)state;
    assert_int_equal(sum_of("").lines, 0);
    assert_int_equal(sum_of("\n").first, 0x811c9dc5);
    assert_int_equal(sum_of("a\n").first, 0xe40c292c);
    struct log_sum sum = sum_of("a\nfoobar\n");
    assert_int_equal(sum.lines, 2);
    assert_int_equal(sum.first, (0xe40c292cull + 0xbf9cf968) % LOG_SUM_PRIME);
    assert_int_equal(sum.second, (0xe40c292cull + 2 * 0xbf9cf968ull) % LOG_SUM_PRIME);
}

/* What a serial line adds does not count, nor does where the text was cut. */
static void pieces(void **state)
{
    (void)state;
    const char text[] = "one\ntwo\n\nthree";
    struct log_sum whole = sum_of(text), sum = {.hash = LOG_HASH_BEGIN};
    for (size_t i = 0; i < strlen(text); i++) {
        log_sum_add(&sum, &text[i], 1);
        log_sum_add(&sum, "\r\0", 2);
    }
    assert_memory_equal(&sum, &whole, sizeof(sum));
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return (a + LOG_SUM_PRIME - b) % LOG_SUM_PRIME;
}

/* Every line of 300, with every character lost in turn. */
static void a_wrong_line_is_found(void **state)
{
    (void)state;
    char text[300 * 24], lost[sizeof(text)];
    unsigned length = 0;
    for (unsigned i = 0; i < 300; i++)
        length += (unsigned)sprintf(text + length, "line %u of it\n", i * i);
    struct log_sum good = sum_of(text);
    unsigned line = 1;
    for (unsigned at = 0; at < length; at++) {
        if (text[at] == '\n') {
            line++;
            continue;
        }
        memcpy(lost, text, at);
        memcpy(lost + at, text + at + 1, length - at);
        struct log_sum bad = sum_of(lost);
        assert_int_equal(bad.lines, good.lines);
        assert_int_not_equal(bad.first, good.first);
        assert_int_equal(minus(bad.second, good.second),
                         minus(bad.first, good.first) * line % LOG_SUM_PRIME);
    }
}

static void printed(void **state)
{
    (void)state;
    log_sum_print();
    assert_string_equal(support_log(), "");
    log_sum_begin();
    log_sum_begin();
    console("a\n", 2);
    struct log_sum sum = sum_of("eptvisor: x\na\n");
    char expected[100];
    sprintf(expected, "report: console: 2 lines, sums %#lx %#lx\n", sum.first, sum.second);
    log_sum_print();
    assert_string_equal(support_log(), expected);
}

static void words(void **state)
{
    (void)state;
    static const struct bit_word names[] = {{BIT(0), "zero"}, {BIT(63), "last"}};
    char text[32], small[8];
    assert_int_equal(bit_words(0, names, 2, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(bit_words(BIT(63) | BIT(0) | BIT(40), names, 2, text, sizeof(text)), 18);
    assert_string_equal(text, "zero, bit 40, last");
    assert_int_equal(bit_words(BIT(63) | BIT(0) | BIT(40), names, 2, small, sizeof(small)), 18);
    assert_string_equal(small, "zero, b");
    assert_int_equal(bit_words(1, names, 2, text, 0), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(hashes, setup),
        cmocka_unit_test_setup(pieces, setup),
        cmocka_unit_test_setup(a_wrong_line_is_found, setup),
        cmocka_unit_test_setup(printed, setup),
        cmocka_unit_test_setup(words, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
