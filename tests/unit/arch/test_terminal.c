/* SPDX-License-Identifier: MIT */
/* The colours of lines, scrolling by blocks, rows that are taken out of the grid, pages, and the
 * verdict: in pixels, read back by the font, and in text mode. */
#include "tests/unit/support.h"

#include "arch/x86/font.h"
#include "arch/x86/pager.h"
#include "arch/x86/verdict.h"
#include "lib/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 48

static struct terminal terminal;
static struct pager pager;
static unsigned draws, waits;
static char cells[TERMINAL_ROWS][WIDTH + 1]; /* what has been drawn */
static uint8_t colours[TERMINAL_ROWS][WIDTH];
static char pages[4096]; /* what was shown at each wait */

static void draw(unsigned column, unsigned row, const char *text, unsigned count,
                 enum terminal_colour colour)
{
    draws += count;
    memcpy(&cells[row][column], text, count);
    memset(&colours[row][column], (int)colour, count);
}

static void start(unsigned rows)
{
    memset(cells, ' ', sizeof(cells));
    memset(colours, 0, sizeof(colours));
    for (unsigned i = 0; i < TERMINAL_ROWS; i++)
        cells[i][WIDTH] = '\0';
    draws = waits = 0;
    pages[0] = '\0';
    terminal_init(&terminal, WIDTH, rows, 1, draw);
}

static void put(const char *text)
{
    terminal_write(&terminal, text, strlen(text));
}

static void shows(unsigned row, const char *text, enum terminal_colour colour)
{
    size_t length = strlen(text);
    assert_memory_equal(cells[row], text, length);
    for (size_t i = 0; i < WIDTH; i++) {
        assert_true(i < length || cells[row][i] == ' ');
        assert_true(cells[row][i] == ' ' || colours[row][i] == colour);
    }
}

static void line_is(const char *line, enum terminal_colour colour)
{
    assert_int_equal(terminal_colour(line, strlen(line)), colour);
}

static void colours_of_lines(void **state)
{
    (void)state;
    line_is("error: no", TERMINAL_ERROR);
    line_is("# stray: error: module 1", TERMINAL_ERROR);
    line_is("not ok 3 scenarios # ended=exit", TERMINAL_ERROR);
    line_is("    not ok 1 inner", TERMINAL_ERROR);
    line_is("WARN: at x.c:1", TERMINAL_WARNING);
    line_is("# a: WARN: y", TERMINAL_WARNING);
    line_is("EXIT 10 no-vmx\n", TERMINAL_ERROR);
    line_is("EXIT 3 warned\n", TERMINAL_WARNING);
    line_is("EXIT 0 ok\n", TERMINAL_PLAIN);
    line_is("EXIT 30 other\n", TERMINAL_ERROR);
    line_is("ok 3 not ok", TERMINAL_PLAIN);
    line_is("# a: b\nerror: next line", TERMINAL_PLAIN);
    line_is("# a\n: error: next line", TERMINAL_PLAIN);
    line_is("# some words: error: x", TERMINAL_PLAIN);
    line_is("errors: 0", TERMINAL_PLAIN);
    line_is("", TERMINAL_PLAIN);
    line_is("# ", TERMINAL_PLAIN);
    line_is("# a:", TERMINAL_PLAIN);
    assert_int_equal(terminal_colour("error: x", 6), TERMINAL_PLAIN); /* nothing behind the end */
}

/* A line keeps its colour when it is wrapped, and when it moves up. */
static void colours_of_rows(void **state)
{
    (void)state;
    start(4);
    put("one\nerror: this line is too long for a row of only 48 characters\ntwo\n");
    shows(0, "one", TERMINAL_PLAIN);
    shows(1, "error: this line is too long for a row of only 4", TERMINAL_ERROR);
    shows(2, "8 characters", TERMINAL_ERROR);
    shows(3, "two", TERMINAL_PLAIN);
    put("WARN: x");
    shows(0, "error: this line is too long for a row of only 4", TERMINAL_ERROR);
    shows(1, "8 characters", TERMINAL_ERROR);
    shows(2, "two", TERMINAL_PLAIN);
    shows(3, "WARN: x", TERMINAL_WARNING);
    put("\nsame\nerror: e\nabc");
    start(3); /* a row moves over the same text in another colour */
    put("error: this line is too long for a row of only 48 characters\n8 characters\nx");
    shows(0, "8 characters", TERMINAL_ERROR);
    shows(1, "8 characters", TERMINAL_PLAIN);
    shows(2, "x", TERMINAL_PLAIN);
    start(2);
    put("not ok\n");
    terminal_write(&terminal, "not ok\n", 3); /* a line that begins in two pieces */
    terminal_write(&terminal, " ok", 3);
    put("\nnot ok");
    shows(0, "not ok", TERMINAL_ERROR);
    shows(1, "not ok", TERMINAL_ERROR);
}

/* Writes a text as the transcripts of VMs do, a few characters at a time. */
static void put_in_pieces(const char *text)
{
    for (size_t length; *text; text += length) {
        length = strlen(text) < 6 ? strlen(text) : 6;
        terminal_write(&terminal, text, length);
    }
}

/* A line of a VM comes in pieces, and the first one does not tell its colour. */
static void colours_of_lines_in_pieces(void **state)
{
    (void)state;
    start(8);
    put_in_pieces("# linux: error: no\nerror: e\nEXIT 0 ok\n    not ok 1 a\n# a: WARN: w\nplain\n");
    shows(0, "# linux: error: no", TERMINAL_ERROR);
    shows(1, "error: e", TERMINAL_ERROR);
    shows(2, "EXIT 0 ok", TERMINAL_PLAIN);
    shows(3, "    not ok 1 a", TERMINAL_ERROR);
    shows(4, "# a: WARN: w", TERMINAL_WARNING);
    shows(5, "plain", TERMINAL_PLAIN);
    start(3); /* the name fills the row, which scrolls away before the word comes */
    put_in_pieces("1\n2\n# 0123456789012345678901234567890123456789012: error: x\n");
    shows(1, "# 0123456789012345678901234567890123456789012: e", TERMINAL_ERROR);
    shows(2, "rror: x", TERMINAL_ERROR);
    start(1);
    put_in_pieces("# 0123456789012345678901234567890123456789012: error: x"); /* no newline yet */
    shows(0, "rror: x", TERMINAL_ERROR);
    start(2); /* a line that is corrected keeps its colour */
    put_in_pieces("erro\b\b\b\bnot ok\n");
    shows(0, "not ok", TERMINAL_PLAIN);
    assert_int_equal(draws, 10);
}

/* A large grid scrolls by a quarter, so that most lines move nothing. */
static void scrolls_by_blocks(void **state)
{
    (void)state;
    start(16);
    char line[16];
    for (unsigned i = 0; i < 16; i++) {
        snprintf(line, sizeof(line), "line %u\n", i);
        put(line);
    }
    assert_false(terminal.lost);
    shows(0, "line 0", TERMINAL_PLAIN);
    shows(15, "line 15", TERMINAL_PLAIN);
    put("x");
    assert_true(terminal.lost);
    shows(0, "line 4", TERMINAL_PLAIN);
    shows(11, "line 15", TERMINAL_PLAIN);
    shows(12, "x", TERMINAL_PLAIN);
    shows(13, "", TERMINAL_PLAIN);
    draws = 0;
    put("\na\nb\nc\n");
    assert_int_equal(draws, 3);
    shows(15, "c", TERMINAL_PLAIN);
    put("d");
    shows(0, "line 8", TERMINAL_PLAIN);
    shows(12, "d", TERMINAL_PLAIN);
}

static void rows_are_taken_away(void **state)
{
    (void)state;
    start(10);
    put("1\n2\n3\n4\n5\n6\n7\n8\n");
    terminal_reserve(&terminal, 4);
    shows(0, "3", TERMINAL_PLAIN);
    shows(5, "8", TERMINAL_PLAIN);
    for (unsigned row = 6; row < 10; row++)
        shows(row, "", TERMINAL_PLAIN);
    put("9\n10\n");
    shows(0, "5", TERMINAL_PLAIN);
    shows(5, "10", TERMINAL_PLAIN);
    shows(6, "", TERMINAL_PLAIN);
    start(10); /* enough rows are free */
    put("1\n2\n");
    terminal_reserve(&terminal, 8);
    shows(0, "1", TERMINAL_PLAIN);
    shows(1, "2", TERMINAL_PLAIN);
    start(8); /* in the middle of a scroll */
    terminal.draw_cost = 400;
    put("1xxxxxxx\n2\n3\n4\n5\n6\n7\n8\n");
    (void)!terminal_room(&terminal, 'x');
    terminal_reserve(&terminal, 3);
    put("9");
    shows(4, "9", TERMINAL_PLAIN);
    shows(3, "8", TERMINAL_PLAIN);
    shows(5, "", TERMINAL_PLAIN);
}

/* ---- Page by page ---------------------------------------------------------------------------- */

static void note_page(void)
{
    waits++;
    for (unsigned row = 0; row < terminal.rows; row++) {
        size_t length = WIDTH;
        while (length && cells[row][length - 1] == ' ')
            length--;
        strncat(pages, cells[row], length);
        strcat(pages, "|");
    }
    strcat(pages, "\n");
}

static void pages_of_whole_lines(void **state)
{
    (void)state;
    start(4);
    put("old\nerror: old\n");
    pager_begin(&pager, &terminal, note_page);
    const char text[] =
        "1\n\nnot ok 3\n4\n5\n0123456789012345678901234567890123456789012345678\n7\n8";
    pager_write(&pager, text, 20);
    pager_write(&pager, text + 20, sizeof(text) - 21);
    pager_end(&pager);
    assert_string_equal(pages, "1||not ok 3|-- more -- (page 1; press a key)|\n"
                               "4|5|-- more -- (page 2; press a key)||\n"
                               "012345678901234567890123456789012345678901234567|8|7|"
                               "-- more -- (page 3; press a key)|\n");
    shows(0, "8", TERMINAL_PLAIN);
    shows(1, "", TERMINAL_PLAIN);
    assert_int_equal(waits, 3);
}

/* The prompt has one row on any screen, so that it pushes no line out. */
static void narrow_pages(void **state)
{
    (void)state;
    static const struct {
        unsigned columns;
        const char *shown;
    } screens[] = {
        {32, "1|2|-- more -- (page 1; press a key)|\n"},
        {31, "1|2|-- more 1 --|\n"},
        {9, "1|2|-- more 1|\n"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(screens); i++) {
        start(3);
        terminal_init(&terminal, screens[i].columns, 3, 1, draw);
        pager_begin(&pager, &terminal, note_page);
        pager_write(&pager, "1\n2\n3\n", 6);
        pager_end(&pager);
        assert_string_equal(pages, screens[i].shown);
    }
}

/* A line that no page can hold is cut, and its parts are shown one after the other. */
static void long_lines_in_pages(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'x', sizeof(text));
    start(3);
    pager_begin(&pager, &terminal, note_page);
    pager_write(&pager, text, sizeof(text));
    pager_end(&pager);
    assert_int_equal(waits, 2);
    assert_int_equal(pager.page, 3);
    shows(0, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", TERMINAL_PLAIN);
}

/* ---- The verdict ----------------------------------------------------------------------------- */

static const struct verdict_text good = {
    .verdict = VERDICT_GOOD, .headline = "EXIT 0 ok", .reason = "9 passed", .next = "Good night."};

/* The character whose glyph is drawn at this place, in white; 0: none. */
static char glyph_at(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale)
{
    for (char c = FONT_FIRST; c <= FONT_LAST; c++) {
        bool same = true;
        for (unsigned i = 0; same && i < 16 * scale; i++)
            for (unsigned j = 0; same && j < 8 * scale; j++) {
                uint32_t colour;
                memcpy(&colour, pixels->base + (y + i) * pixels->pitch + (x + j) * 4, 4);
                same = (colour == 0xffffff) ==
                       !!(font_glyphs[c - FONT_FIRST][i / scale] & 0x80 >> j / scale);
            }
        if (same)
            return c;
    }
    return '\0';
}

static void reads(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale,
                  const char *text)
{
    for (size_t i = 0; i <= strlen(text); i++, x += 8 * scale)
        assert_int_equal(glyph_at(pixels, x, y, scale), text[i] ? text[i] : ' ');
}

static struct pixels framebuffer(uint32_t width, uint32_t height)
{
    const struct boot_framebuffer screen = {.width = width,
                                            .height = height,
                                            .pitch = 4 * width,
                                            .bits_per_pixel = 32,
                                            .red = {16, 8},
                                            .green = {8, 8},
                                            .blue = {0, 8}};
    struct pixels pixels;
    void *memory = malloc(4ull * width * height);
    assert_non_null(memory);
    pixels_init(&pixels, &screen, memory);
    return pixels;
}

static void verdict_in_pixels(void **state)
{
    (void)state;
    struct pixels pixels = framebuffer(1600, 901);
    verdict_draw(&pixels, 28, &good);
    const uint32_t *lines = (const uint32_t *)pixels.base;
    uint32_t top = 20 * 32;
    assert_int_equal(lines[(top - 1) * 1600], 0);
    assert_int_equal(lines[top * 1600], 0x146c2e);
    assert_int_equal(lines[901 * 1600 - 1], 0x146c2e);
    reads(&pixels, 32, top + 16, 6, "EXIT 0 ok");
    reads(&pixels, 32, top + 16 + 96 + 16, 2, "9 passed");
    reads(&pixels, 32, top + 16 + 96 + 16 + 64 + 16, 2, "Good night.");
    free(pixels.base);
}

/* Whatever is too long is wrapped once or cut, and never leaves the framebuffer, whose borders
 * AddressSanitizer sees. */
static void verdicts_that_are_too_long(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    const struct verdict_text all = {VERDICT_BAD, text, text, text};
    for (unsigned width = 40; width < 1000; width += 60) {
        struct pixels pixels = framebuffer(width, 288);
        verdict_draw(&pixels, 18, &all);
        assert_int_equal(*(uint32_t *)(pixels.base + 287 * 4 * width), 0xb3261e);
        for (unsigned y = 160; y < 288; y++) /* nothing runs over into the next line */
            for (unsigned x = 0; x < 16; x++)
                assert_int_equal(((uint32_t *)pixels.base)[y * width + x], 0xb3261e);
        free(pixels.base);
    }
    struct pixels pixels = framebuffer(320, 288);
    const struct verdict_text words = {VERDICT_BAD, "EXIT 10 no-vmx",
                                       "this processor has no VMX and so nothing can run \x80", ""};
    verdict_draw(&pixels, 18, &words);
    reads(&pixels, 16, 160 + 8, 2, "EXIT 10 no-vmx"); /* three times as large has no room */
    reads(&pixels, 16, 160 + 8 + 48 + 8, 1, "this processor has no VMX and so");
    reads(&pixels, 16, 160 + 8 + 48 + 8 + 16, 1, "nothing can run ?");
    free(pixels.base);
}

static void verdict_in_text_mode(void **state)
{
    (void)state;
    uint16_t text[25 * 80] = {0};
    char row[81] = "";
    verdict_put(text, 80, 25, &good);
    for (unsigned i = 0; i < 18 * 80; i++)
        assert_int_equal(text[i], 0);
    for (unsigned i = 18 * 80; i < 25 * 80; i++)
        assert_int_equal(text[i] >> 8, 0x2f);
    for (unsigned line = 0; line < 5; line++) {
        static const char *const expected[] = {"EXIT 0 ok", "", "9 passed", "", "Good night."};
        for (unsigned i = 0; i < 80; i++)
            row[i] = (char)text[(19 + line) * 80 + i];
        assert_int_equal((uint8_t)row[0], 0xba);
        assert_int_equal((uint8_t)row[79], 0xba);
        assert_memory_equal(&row[2], expected[line], strlen(expected[line]));
        for (size_t i = 2 + strlen(expected[line]); i < 79; i++)
            assert_int_equal(row[i], ' ');
    }
    assert_int_equal(text[18 * 80] & 255, 0xc9);
    assert_int_equal(text[19 * 80 - 1] & 255, 0xbb);
    assert_int_equal(text[24 * 80] & 255, 0xc8);
    assert_int_equal(text[25 * 80 - 1] & 255, 0xbc);
    assert_int_equal(text[18 * 80 + 40] & 255, 0xcd);
    const struct verdict_text bad = {VERDICT_BAD, "EXIT 1 failed", "", ""};
    verdict_put(text, 80, 25, &bad);
    assert_int_equal(text[19 * 80 + 2], 0x4f00 | 'E');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colours_of_lines),
        cmocka_unit_test(colours_of_rows),
        cmocka_unit_test(colours_of_lines_in_pieces),
        cmocka_unit_test(scrolls_by_blocks),
        cmocka_unit_test(rows_are_taken_away),
        cmocka_unit_test(pages_of_whole_lines),
        cmocka_unit_test(narrow_pages),
        cmocka_unit_test(long_lines_in_pages),
        cmocka_unit_test(verdict_in_pixels),
        cmocka_unit_test(verdicts_that_are_too_long),
        cmocka_unit_test(verdict_in_text_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
