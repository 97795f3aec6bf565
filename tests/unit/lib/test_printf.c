/* SPDX-License-Identifier: MIT */
/* Our printf against the C library's, for every conversion that lib/string.h promises. */
#include "tests/unit/support.h"

#include <stdio.h>
#include <string.h>

#define vsnprintf our_vsnprintf
#define snprintf  our_snprintf
int our_vsnprintf(char *buffer, size_t size, const char *format, va_list arguments);
int our_snprintf(char *buffer, size_t size, const char *format, ...);
#include "lib/freestanding/printf.c"
#undef vsnprintf
#undef snprintf

#pragma GCC diagnostic ignored "-Wformat"

#define SAME(...)                                                       \
    do {                                                                \
        char ours[64], libc[64];                                        \
        memset(ours, 'x', sizeof(ours));                                \
        memset(libc, 'x', sizeof(libc));                                \
        assert_int_equal(our_snprintf(ours, sizeof(ours), __VA_ARGS__), \
                         snprintf(libc, sizeof(libc), __VA_ARGS__));    \
        assert_memory_equal(ours, libc, sizeof(ours));                  \
    } while (0)

static void conversions(void **state)
{
    (void)state;
    static const char *const formats[] = {"%d",    "%5d",    "%-5d|", "%05d", "%+d",   "% d",
                                          "%.3d",  "%u",     "%8u",   "%x",   "%#x",   "%#10x",
                                          "%010x", "%#010x", "%X",    "%#X",  "%-8x|", "%.4x",
                                          "%hhd",  "%hhu",   "%hd",   "%hu",  "%i"};
    static const int values[] = {0, 1, -1, 42, -42, 255, 65535, 0x7fffffff, (int)0x80000000};
    for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++)
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
            SAME(formats[f], values[v]);
    SAME("%ld %lu %lx %#lx", -1l, ~0ul, 0x123456789abcdeful, 1ul << 63);
    SAME("%lld %llu %llx", -5ll, ~0ull, 0xfedcba9876543210ull);
    SAME("%zu %zx", (size_t)12345, ~(size_t)0);
    SAME("%016lx|%-20lx|%20lu", 0xabcul, 0xabcul, 7ul);
    SAME("%s|%10s|%-10s|%.2s|%*s|%.*s", "abc", "abc", "abc", "abc", 6, "abc", 1, "abc");
    SAME("%c%c%5c|%-5c|%%", 'a', 'b', 'c', 'd');
    SAME("%*d|%-*d|%*d", 6, 1, 6, 2, -6, 3);
    SAME("%p", (void *)0x1234);
}

static void cut(void **state)
{
    (void)state;
    char text[4] = "zzz";
    assert_int_equal(our_snprintf(text, 4, "%s", "abcdef"), 6);
    assert_string_equal(text, "abc");
    assert_int_equal(our_snprintf(NULL, 0, "%d", 12345), 5);
    assert_int_equal(our_snprintf(text, 1, "%d", 12345), 5);
    assert_string_equal(text, "");
    char unknown[16];
    our_snprintf(unknown, sizeof(unknown), "%y%");
    assert_string_equal(unknown, "%y%");
    const char *volatile nothing = NULL;
    our_snprintf(unknown, sizeof(unknown), "%s", nothing);
    assert_string_equal(unknown, "(null)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conversions), cmocka_unit_test(cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
