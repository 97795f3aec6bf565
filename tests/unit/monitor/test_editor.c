/* SPDX-License-Identifier: MIT */
/* The line editor: what each key does to the line, and that the terminal always shows the line. */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "tests/unit/monitor/editor_terminal.h"

#include <stdio.h>
#include <stdlib.h>

static struct editor editor;
static struct screen screen;

static const char *const words[] = {"pause", "print", "resume", "rest", "resumes", NULL};

static const char *candidate(void *context, unsigned index)
{
    (void)context;
    return words[index];
}

static int setup(void **state)
{
    (void)state;
    memset(&editor, 0, sizeof(editor));
    memset(&screen, 0, sizeof(screen));
    editor_prompt(&editor);
    screen_take(&screen, &editor);
    return 0;
}

/* Types a text, and checks the terminal after each key. Returns the last line that was entered. */
static const char *type(const char *text)
{
    static char line[MONITOR_LINE];
    for (; *text; text++) {
        enum editor_event event = editor_key(&editor, (uint8_t)*text);
        if (event == EDITOR_TAB)
            editor_complete(&editor, candidate, NULL);
        screen_take(&screen, &editor);
        if (event == EDITOR_LINE || event == EDITOR_END) {
            strcpy(line, event == EDITOR_END ? "END" : editor.line);
            editor_prompt(&editor);
            screen_take(&screen, &editor);
        }
        screen_check(&screen, &editor);
    }
    return line;
}

#define LEFT  "\x1b[D"
#define RIGHT "\x1b[C"
#define UP    "\x1b[A"
#define DOWN  "\x1b[B"

static void keys(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *line;
    } cases[] = {
        {"vms\r", "vms"},
        {"vms\n", "vms"},
        {"vmx\bs\r", "vms"},
        {"vmx\x7fs\r", "vms"},
        {"\b\x7f\x17\x15v\x04\r", "v"}, /* nothing to remove */
        {"v\b\x04", "END"},
        {"ms\x01v\r", "vms"},
        {"ms\x01v\x05 x\r", "vms x"},
        {"vs" LEFT "m\r", "vms"},
        {"vs\x02m\x06x\r", "vmsx"},
        {"xvms" LEFT LEFT LEFT LEFT LEFT "\x1b[3~\r", "vms"},
        {"xvms\x1b[H\x04\r", "vms"},
        {"xvms\x1bOH\x04\x1b[Fx\r", "vmsx"},
        {"xvms\x1b[1~\x04\x1b[4~x\r", "vmsx"},
        {"ept one two  \x17three\r", "ept one three"},
        {"ept one two" LEFT LEFT "\x17\r", "ept one wo"},
        {"ept one" LEFT LEFT LEFT "\x15\r", "one"},
        {"ept one" LEFT LEFT LEFT "\x0b\r", "ept "},
        {"ept\x03vms\r", "vms"},
        {"vm\x0cs\r", "vms"},
        {"vm\x12s\r", "vms"},
        {"v\x1b[1;5Cm\x1b[99xs\r", "vms"}, /* sequences that mean nothing here */
        {"v\x1bxms\r", "vms"},
        {"v\xc3\xa4ms\x80\r", "vms"}, /* not ASCII */
        {"vms" RIGHT RIGHT "\r", "vms"},
        {"\r", ""},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(NULL);
        assert_string_equal(type(cases[i].typed), cases[i].line);
    }
}

static void history(void **state)
{
    (void)state;
    type("one\rtwo\rtwo\r\rthree\r");
    assert_string_equal(type(UP "\r"), "three");
    assert_string_equal(type(UP UP UP UP UP "\r"), "one"); /* no further */
    assert_string_equal(type("typed" UP UP DOWN DOWN "!\r"), "typed!");
    assert_string_equal(type("\x10\x10\x0e\r"), "typed!");
    assert_string_equal(type(UP "x\r"), "typed!x"); /* an old line is changed, and is new */
    assert_string_equal(type(UP UP "\r"), "typed!");
    assert_string_equal(type(DOWN "x\r"), "x");
    for (unsigned i = 0; i < 40; i++) {
        char line[8];
        snprintf(line, sizeof(line), "%u\r", i);
        type(line);
    }
    for (unsigned i = 0; i < 2 * EDITOR_HISTORY; i++)
        type(UP);
    assert_string_equal(type("\r"), "24"); /* the oldest of the 16 that are kept */
}

static void long_lines(void **state)
{
    (void)state;
    char text[2 * MONITOR_LINE + 2];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 2] = '\r';
    text[sizeof(text) - 1] = 0;
    assert_int_equal(strlen(type(text)), MONITOR_LINE - 1);
    type(UP "\x01y" UP DOWN "\x15"); /* the most that a key shows */
}

static void completion(void **state)
{
    (void)state;
    assert_string_equal(type("pa\t\r"), "pause ");
    assert_string_equal(type("resu\t\r"), "resume");
    assert_string_equal(type("x\t\r"), "x");
    assert_string_equal(type("pa x" LEFT LEFT "\t\r"), "pause  x");
    assert_int_equal(editor_word(&editor), 0);
    unsigned rows = screen.rows;
    type("res\t"); /* two begin so: what they share is there already */
    assert_int_equal(screen.rows, rows + 2);
    type(" one ");
    assert_int_equal(editor_word(&editor), 2);
    type("\x15");
    assert_int_equal(editor_word(&editor), 0);
    type("x ");
    assert_int_equal(editor_word(&editor), 1);
}

/* Whatever is typed, the terminal shows the line. */
static void random_keys(void **state)
{
    (void)state;
    static const char *const some[] = {"a",    "b ",     LEFT,   RIGHT,  UP,   DOWN, "\x01", "\x05",
                                       "\x17", "\x15",   "\x0b", "\b",   "\t", "\r", "\x04", "\x03",
                                       "p",    "\x1b[3", "~",    "\x1b", "[",  "r",  "\x0c"};
    srand(1);
    for (uint64_t i = support_rounds(200000); i; i--)
        type(some[(unsigned)rand() % ARRAY_SIZE(some)]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keys, setup),        cmocka_unit_test_setup(history, setup),
        cmocka_unit_test_setup(long_lines, setup),  cmocka_unit_test_setup(completion, setup),
        cmocka_unit_test_setup(random_keys, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
