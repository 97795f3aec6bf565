/* SPDX-License-Identifier: MIT */
/* The log that survives a reset (N95): whatever a reset or a boot loader leaves of it, the next
 * boot shows what is intact, and says what is not. */
#include "tests/unit/support.h"

#include "lib/exit_codes.h"
#include "lib/kept_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AREA 0x1ff0000ull
#define HUNG                                                                                \
    "kept log: boot %u did not end: it hung or ran until it was reset, or a CPU shut down " \
    "(triple "                                                                              \
    "fault); its log follows%s\n"
#define LAST \
    "kept log: this was the log of boot %u; this is boot %u since the machine was switched on\n"

/* What a CPU writes to, and what a reset finds of it in RAM: only what has been flushed. */
static struct kept_area cache, ram;
static struct kept_found found;
static struct kept_log kept;
static void (*after_flush)(void);

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&cache, 0, sizeof(cache));
    memset(&ram, 0, sizeof(ram));
    after_flush = NULL;
    return 0;
}

static void flush(const void *from, size_t size)
{
    size_t offset = (size_t)((const char *)from - (const char *)&cache);
    assert_true(offset + size <= sizeof(cache));
    memcpy((char *)&ram + offset, from, size);
    if (after_flush)
        after_flush();
}

/* A reset, and the start of the next boot. */
static void restart(void)
{
    cache = ram;
    found = (struct kept_found){.bank = NULL};
    kept_find(&cache, AREA, &found);
    support_reset();
    kept_begin(&kept, &cache, &found, flush);
    kept_print(&found);
}

static void write_line(const char *line)
{
    kept_write(&kept, line, strlen(line));
}

static void assert_printed(unsigned boot, const char *more, const char *lines)
{
    char expected[40000];
    int n = snprintf(expected, sizeof(expected), HUNG, boot, more);
    n += snprintf(expected + n, sizeof(expected) - (size_t)n, "%s", lines);
    snprintf(expected + n, sizeof(expected) - (size_t)n, LAST, boot, boot + 1);
    assert_string_equal(support_log(), expected);
}

static void how_a_boot_ended(void **state)
{
    (void)state;
    restart();
    assert_null(found.bank);
    assert_string_equal(support_log(), "");
    write_line("one\n");
    write_line("two\n\nthree");
    restart();
    assert_printed(1, "", "before| one\nbefore| two\nbefore| three\n");
    write_line("second\n");
    kept_end(&kept, EXIT_NO_VMX);
    restart();
    assert_string_equal(support_log(), "kept log: boot 2 ended with EXIT 10 no-vmx\n");
    write_line("bad\n");
    kept_end(&kept, EXIT_PANIC);
    restart();
    assert_string_equal(support_log(), "kept log: boot 3 panicked; its log follows\nbefore| bad\n"
                                       "kept log: this was the log of boot 3; this is boot 4 since "
                                       "the machine was switched on\n");
    kept_end(&kept, 0x1234);
    restart();
    assert_string_equal(support_log(), "kept log: boot 4 ended with EXIT 4660 ?\n");
}

/* While the next boot prints a log, that log stays where it is. */
static void the_log_before_is_not_overwritten(void **state)
{
    (void)state;
    restart();
    write_line("first\n");
    restart();
    for (unsigned i = 0; i < 10000; i++)
        write_line("0123456789\n");
    assert_ptr_not_equal(found.bank, kept.bank);
    support_reset();
    kept_print(&found);
    assert_printed(1, "", "before| first\n");
}

static void what_is_not_printable(void **state)
{
    char line[300], expected[1000] = "before| ";
    (void)state;
    restart();
    write_line("\x1b[2J\r\x80\\\n");
    restart();
    assert_printed(1, "", "before| \\x1b[2J\\x0d\\x80\\\n");
    memset(line, '\a', sizeof(line));
    kept_write(&kept, line, 60);
    restart();
    for (unsigned i = 0; i < 60; i++)
        strcat(expected, "\\x07");
    strcat(expected, "\n");
    assert_printed(2, "", expected);
    memset(line, 'a', sizeof(line));
    kept_write(&kept, line, sizeof(line));
    restart();
    assert_null(strstr(support_log(), "before| \n"));
    unsigned letters = 0;
    for (const char *at = strstr(support_log(), "before| "); *at && *at != 'k'; at++)
        letters += *at == 'a';
    assert_int_equal(letters, sizeof(line));
}

/* The ring keeps the newest records. */
static void a_long_log(void **state)
{
    static char expected[80000];
    char text[20];
    size_t length = 0;
    (void)state;
    restart();
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "line %04u\n", i);
        write_line(text);
    }
    restart();
    assert_true(strstr(support_log(), "without its beginning\nbefore| "));
    assert_true(strstr(support_log(), "before| line 4999\nkept log: this was"));
    unsigned kept_lines = (KEPT_RECORDS - 2) * KEPT_TEXT / 10;
    for (unsigned i = 5000 - kept_lines; i < 5000; i++)
        length += (size_t)sprintf(expected + length, "before| line %04u\n", i);
    assert_true(strstr(support_log(), expected));
}

/* At each moment, RAM holds a beginning of what has been written, which only grows. */
static const char *whole;
static size_t seen;

static void look_into_ram(void)
{
    struct kept_found now = {.bank = NULL};
    size_t length = 0;
    kept_find(&ram, AREA, &now);
    assert_non_null(now.bank);
    assert_false(now.ended);
    for (uint32_t n = now.first; n <= now.last; n++) {
        const struct kept_record *record = &now.bank[n];
        size_t part = record->seal >> 16 & 0xffff;
        assert_memory_equal(record->text, whole + length, part);
        length += part;
    }
    assert_true(length >= seen && length - seen <= KEPT_TEXT);
    seen = length;
}

static void a_reset_at_any_moment(void **state)
{
    static char text[8000];
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)random();
    whole = text;
    seen = 0;
    restart();
    after_flush = look_into_ram;
    for (size_t at = 0, part; at < sizeof(text); at += part) {
        part = (size_t)random() % 700 % (sizeof(text) - at) + 1;
        kept_write(&kept, text + at, part);
        assert_int_equal(seen, at + part);
    }
}

/* A loader has used the second record, and all but the length of the fourth survives. */
static void damaged_records(void **state)
{
    char text[KEPT_TEXT + 1], expected[4000] = "";
    (void)state;
    restart();
    for (unsigned i = 0; i < 6; i++) {
        memset(text, 'a' + (int)i, KEPT_TEXT - 1);
        memcpy(text + KEPT_TEXT - 1, "\n", 2);
        write_line(text);
    }
    memset(&ram.banks[0][1], 0, sizeof(ram.banks[0][1]));
    ram.banks[0][2].text[100] ^= 1;
    ram.banks[0][4].seal ^= 1 << 16;
    restart();
    const char *log = support_log();
    snprintf(
        expected, sizeof(expected),
        "a\nkept log: up to 976 characters are lost here: 2 records from %#llx on are damaged\n"
        "before| d",
        AREA + sizeof(struct kept_record));
    assert_non_null(strstr(log, expected));
    snprintf(
        expected, sizeof(expected),
        "d\nkept log: up to 488 characters are lost here: 1 records from %#llx on are damaged\n"
        "before| f",
        AREA + 4 * sizeof(struct kept_record));
    assert_non_null(strstr(log, expected));
    assert_null(strstr(log, "before| b"));
    assert_null(strstr(log, "before| c"));
    assert_null(strstr(log, "before| e"));
}

/* The first change of each kind that a record is checked against makes it invalid. */
static void each_field_is_checked(void **state)
{
    (void)state;
    restart();
    write_line("text\n");
    const struct kept_record good = ram.banks[0][0];
    for (size_t bit = 0; bit < 8 * (offsetof(struct kept_record, text) + 5); bit++) {
        struct kept_found now = {.bank = NULL};
        ram.banks[0][0] = good;
        ((uint8_t *)&ram.banks[0][0])[bit / 8] ^= (uint8_t)(1 << bit % 8);
        kept_find(&ram, AREA, &now);
        assert_null(now.bank);
    }
    memset(&ram, 0, sizeof(ram));
    ram.banks[0][5] = good; /* a valid record at another place */
    struct kept_found now = {.bank = NULL};
    kept_find(&ram, AREA, &now);
    assert_null(now.bank);
}

static void begin_after(uint32_t boot)
{
    found.boot = boot;
    kept_begin(&kept, &cache, &found, flush);
    found = (struct kept_found){.bank = NULL};
    kept_find(&cache, AREA, &found);
    assert_int_equal(found.boot, boot + 1);
}

/* Boots are numbered in a circle, and the later one of two areas counts. */
static void the_latest_boot_counts(void **state)
{
    static struct kept_area other;
    (void)state;
    begin_after(UINT32_MAX - 1);
    begin_after(UINT32_MAX);
    begin_after(0);
    kept_find(&other, 2 * AREA, &found);
    assert_in_range(found.address, AREA, AREA + sizeof(cache) - 1);
    other = cache;
    begin_after(found.boot);
    found = (struct kept_found){.bank = NULL};
    kept_find(&cache, AREA, &found);
    kept_find(&other, 2 * AREA, &found);
    assert_int_equal(found.boot, 2);
    assert_in_range(found.address, AREA, AREA + sizeof(cache) - 1);
    found = (struct kept_found){.bank = NULL};
    kept_find(&other, 2 * AREA, &found);
    kept_find(&cache, AREA, &found);
    assert_int_equal(found.boot, 2);
    assert_in_range(found.address, AREA, AREA + sizeof(cache) - 1);
}

/* Random damage is survived, and no line is printed that was never written. */
static void random_damage(void **state)
{
    (void)state;
    for (uint64_t round = support_rounds(50); round; round--) {
        memset(&ram, 0, sizeof(ram));
        restart();
        for (unsigned i = 0; i < 3000; i++)
            write_line("good line\n");
        for (unsigned i = (unsigned)random() % 60; i; i--)
            ((uint8_t *)&ram)[(size_t)random() % sizeof(ram)] ^= (uint8_t)(1 << random() % 8);
        restart();
        for (const char *at = support_log(); (at = strstr(at, "before| ")); at++)
            for (const char *c = at + 8; *c != '\n'; c++)
                assert_non_null(strchr("good line", *c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(how_a_boot_ended, setup),
        cmocka_unit_test_setup(the_log_before_is_not_overwritten, setup),
        cmocka_unit_test_setup(what_is_not_printable, setup),
        cmocka_unit_test_setup(a_long_log, setup),
        cmocka_unit_test_setup(a_reset_at_any_moment, setup),
        cmocka_unit_test_setup(damaged_records, setup),
        cmocka_unit_test_setup(each_field_is_checked, setup),
        cmocka_unit_test_setup(the_latest_boot_counts, setup),
        cmocka_unit_test_setup(random_damage, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
