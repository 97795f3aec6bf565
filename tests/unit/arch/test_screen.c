/* SPDX-License-Identifier: MIT */
/* The screen: what is drawn into a framebuffer, which are refused, and how text runs and scrolls.
 */
#include "tests/unit/support.h"

#include "arch/x86/font.h"
#include "arch/x86/pixels.h"
#include "arch/x86/terminal.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

#define UNTOUCHED 0xa5

static struct boot_info info;
static struct pixels pixels;
static uint8_t *memory; /* exactly the framebuffer, so that AddressSanitizer sees its borders */

static struct terminal terminal;
static unsigned draws;

static void framebuffer(uint32_t width, uint32_t height, uint32_t pitch, unsigned bits)
{
    info.framebuffer = (struct boot_framebuffer){
        .base = HPA(0xe0000000),
        .width = width,
        .height = height,
        .pitch = pitch,
        .bits_per_pixel = bits,
        .kind = BOOT_FRAMEBUFFER_RGB,
        .red = {16, 8},
        .green = {8, 8},
        .blue = {0, 8},
    };
    if (bits < 24) {
        info.framebuffer.red = (struct boot_colour){11, 5};
        info.framebuffer.green = (struct boot_colour){5, 6};
        info.framebuffer.blue = (struct boot_colour){0, 5};
    }
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&info, 0, sizeof(info));
    framebuffer(1024, 768, 4096, 32);
    draws = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    memory = NULL;
    return 0;
}

static void draw_pixels(unsigned column, unsigned row, const char *text, unsigned count,
                        enum terminal_colour colour)
{
    const struct ink ink = {pixels_colour(&pixels, colour ? 0xff0000 : 0xffffff), 0};
    draws += count;
    for (unsigned i = 0; i < count; i++)
        pixels_draw(&pixels, (column + i) * FONT_WIDTH, row * FONT_HEIGHT, 1, text[i], ink);
}

/* Starts a screen whose memory held something else before. */
static void start(uint32_t width, uint32_t height, uint32_t pitch, unsigned bits)
{
    teardown(NULL);
    framebuffer(width, height, pitch, bits);
    uint64_t size = pixels_size(&info);
    assert_int_equal(size, (uint64_t)pitch * height);
    memory = malloc(size);
    assert_non_null(memory);
    memset(memory, UNTOUCHED, size);
    pixels_init(&pixels, &info.framebuffer, memory);
    terminal_init(&terminal, width / FONT_WIDTH, height / FONT_HEIGHT, 100, draw_pixels);
}

static void put(const char *text)
{
    terminal_write(&terminal, text, strlen(text));
}

static uint32_t pixel_at(uint32_t x, uint32_t y)
{
    uint32_t colour = 0;
    memcpy(&colour, memory + y * pixels.pitch + x * pixels.bytes, pixels.bytes);
    return colour;
}

/* Every pixel is what the font says for `lines`, black outside of the cells, and what lies between
 * the end of a line and the next is as it was. */
static void shows(const char *const *lines, uint32_t white)
{
    for (uint32_t y = 0; y < pixels.height; y++) {
        const char *line = y / FONT_HEIGHT < terminal.rows ? lines[y / FONT_HEIGHT] : "";
        for (uint32_t x = 0; x < pixels.width; x++) {
            size_t column = x / FONT_WIDTH;
            char c = column < strlen(line) ? line[column] : ' ';
            bool set = font_glyphs[c - FONT_FIRST][y % FONT_HEIGHT] & 0x80 >> x % FONT_WIDTH;
            if (pixel_at(x, y) != (set ? white : 0))
                fail_msg("pixel %u, %u of '%c' is %#x", x, y, c, pixel_at(x, y));
        }
        for (uint32_t x = pixels.width * pixels.bytes; x < pixels.pitch; x++)
            assert_int_equal(memory[y * pixels.pitch + x], UNTOUCHED);
    }
}

static void font_is_ascii(void **state)
{
    (void)state;
    static const uint8_t none[FONT_HEIGHT];
    assert_memory_equal(font_glyphs[0], none, FONT_HEIGHT);
    for (unsigned i = 1; i <= FONT_LAST - FONT_FIRST; i++)
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(font_glyphs[i], font_glyphs[j], FONT_HEIGHT);
}

static void draws_glyphs(void **state)
{
    (void)state;
    static const char *const lines[] = {"Ab ~!", "#", ""};
    start(64, 48, 256, 32);
    put("Ab ~!\n#");
    shows(lines, 0xffffff);
    start(64, 48, 192, 24);
    put("Ab ~!\n#");
    shows(lines, 0xffffff);
    start(64, 48, 128, 16);
    put("Ab ~!\n#");
    shows(lines, 0xffff);
    start(64, 48, 256, 32);
    info.framebuffer.red = (struct boot_colour){22, 10}; /* 30 bits of colour */
    info.framebuffer.green = (struct boot_colour){12, 10};
    info.framebuffer.blue = (struct boot_colour){2, 10};
    assert_int_not_equal(pixels_size(&info), 0);
    pixels_init(&pixels, &info.framebuffer, memory);
    pixels_draw(&pixels, 8, 16, 1, '#', (struct ink){pixels_colour(&pixels, 0xffffff), 0});
    assert_true(font_glyphs['#' - FONT_FIRST][7] & 0x02);
    assert_int_equal(pixel_at(8 + 6, 16 + 7), 0xfffffffc);
}

/* Sizes that are no multiple of the cell, and lines that start at odd addresses. */
static void odd_sizes(void **state)
{
    (void)state;
    static const char *const lines[] = {"wrapp", "ed", ""};
    start(47, 63, 47 * 4 + 3, 32);
    put("wrapped");
    shows(lines, 0xffffff);
    start(47, 63, 47 * 3 + 1, 24);
    put("wrapped");
    shows(lines, 0xffffff);
    start(41, 49, 41 * 2, 16); /* no room between lines */
    put("wrapped");
    shows(lines, 0xffff);
    start(8, 16, 8 * 3, 24); /* one cell */
    put("ab\n");
    shows((const char *const[]){"b"}, 0xffffff);
}

static void scrolls(void **state)
{
    (void)state;
    start(40, 50, 160, 32);
    put("one\n\nthree\n"); /* the newline at the end does not scroll yet */
    shows((const char *const[]){"one", "", "three"}, 0xffffff);
    put("4");
    shows((const char *const[]){"", "three", "4"}, 0xffffff);
    put("\n\n");
    shows((const char *const[]){"three", "4", ""}, 0xffffff);
    put("a line that is wrapped");
    shows((const char *const[]){"t is ", "wrapp", "ed"}, 0xffffff);
}

static void scrolling_draws_what_changes(void **state)
{
    (void)state;
    start(40, 48, 160, 32);
    put("aaaaa\naaaaa\naaaab");
    draws = 0;
    put("\nc");
    assert_int_equal(draws, 1 + 5 + 1); /* the b moves up; its line is cleared, and gets the c */
    shows((const char *const[]){"aaaaa", "aaaab", "c"}, 0xffffff);
    draws = 0;
    put("  ");
    assert_int_equal(draws, 0);
}

/* Piece by piece, wherever text comes in between, with the same picture. */
static void scrolling_in_pieces(void **state)
{
    (void)state;
    for (unsigned stop = 0; stop < 40; stop++) {
        start(64, 96, 256, 32);
        put("abcdefgh\nbcdefghi\ncdefghij\ndefghijk\nefghijkl\nfghijklm\n");
        unsigned pieces = 0;
        draws = 0;
        for (unsigned before = 0; pieces < stop && !terminal_room(&terminal, 'x'); pieces++) {
            assert_in_range(draws - before, 1, 16);
            before = draws;
        }
        if (stop == 39)
            assert_in_range(pieces, 2, 10);
        draws = 0;
        put("x");
        if (stop == 39)
            assert_int_equal(draws, 1); /* all of it had been done */
        shows(
            (const char *const[]){"bcdefghi", "cdefghij", "defghijk", "efghijkl", "fghijklm", "x"},
            0xffffff);
        assert_int_equal(terminal_room(&terminal, 'x'), 7);
        put("2345678");
        assert_int_equal(terminal_room(&terminal, '\n'), 1); /* it does not scroll */
        while (!terminal_room(&terminal, 'y'))
            ;
        assert_int_equal(terminal_room(&terminal, 'y'), 8);
    }
}

static void full_line_and_newline_is_one_line(void **state)
{
    (void)state;
    start(40, 48, 160, 32);
    put("12345\n67890x\n");
    shows((const char *const[]){"12345", "67890", "x"}, 0xffffff);
}

static void unprintable_is_a_question_mark(void **state)
{
    (void)state;
    start(48, 16, 192, 32);
    terminal_write(&terminal, "a\t\x7f\0\xff.", 6);
    shows((const char *const[]){"a????."}, 0xffffff);
}

/* A person who types corrects a line by backspaces, but not the line before. */
static void a_backspace_goes_back(void **state)
{
    (void)state;
    start(48, 32, 192, 32);
    put("\babc\b\bx\b\b\b\by");
    shows((const char *const[]){"yxc", ""}, 0xffffff);
    put("\n\b\bz");
    shows((const char *const[]){"yxc", "z"}, 0xffffff);
}

static void large_screens_are_used_in_part(void **state)
{
    (void)state;
    start(8 * (TERMINAL_COLUMNS + 3), 16 * (TERMINAL_ROWS + 2), 8 * (TERMINAL_COLUMNS + 3) * 4, 32);
    for (unsigned i = 0; i < TERMINAL_COLUMNS * TERMINAL_ROWS; i++)
        put("#");
    assert_int_equal(draws, TERMINAL_COLUMNS * TERMINAL_ROWS);
    assert_int_not_equal(pixel_at(8 * TERMINAL_COLUMNS - 2, 16 * TERMINAL_ROWS - 9), 0);
    for (uint32_t y = 0; y < 16 * TERMINAL_ROWS; y++)
        assert_int_equal(pixel_at(8 * TERMINAL_COLUMNS + 6, y), 0);
    put("#"); /* scrolls: only the rows that become blank change */
    assert_int_equal(draws, TERMINAL_COLUMNS * (TERMINAL_ROWS + TERMINAL_ROWS / 4) + 1);
    assert_int_equal(pixel_at(6, 16 * (TERMINAL_ROWS + 1) - 9), 0);
}

/* A colour fills its bits, however many they are, and no others. */
static void colours(void **state)
{
    (void)state;
    start(64, 48, 256, 32);
    assert_int_equal(pixels_colour(&pixels, 0x123456), 0x123456);
    start(64, 48, 128, 16);
    assert_int_equal(pixels_colour(&pixels, 0xff0000), 0xf800);
    assert_int_equal(pixels_colour(&pixels, 0x00ff00), 0x07e0);
    assert_int_equal(pixels_colour(&pixels, 0x8080ff), 15 << 11 | 31 << 5 | 31);
    pixels.red = (struct boot_colour){22, 10};
    pixels.green = (struct boot_colour){12, 10};
    pixels.blue = (struct boot_colour){2, 10};
    assert_int_equal(pixels_colour(&pixels, 0xff00ff), 0xffc00ffc);
    assert_int_equal(pixels_colour(&pixels, 0x008000), 513 << 12);
    pixels.red = (struct boot_colour){0, 8}; /* blue is above red */
    pixels.blue = (struct boot_colour){16, 8};
    assert_int_equal(pixels_colour(&pixels, 0x330000), 0x33);
}

/* The sizes of today's screens, and of a narrow one and a flat one. */
static void scales(void **state)
{
    (void)state;
    static const struct {
        unsigned width, height, scale;
    } sizes[] = {
        {640, 480, 1},   {1024, 768, 1},  {1366, 768, 1},  {1599, 900, 1},   {1600, 900, 2},
        {1920, 1080, 2}, {2560, 1440, 3}, {3840, 2160, 4}, {5120, 1440, 3},  {1080, 1920, 1},
        {7680, 4320, 8}, {8, 16, 1},      {1920, 799, 1},  {15360, 8640, 8},
    };
    uint8_t line[15360 * 4];
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        framebuffer(sizes[i].width, sizes[i].height, 0, 32); /* all lines at one place */
        pixels_init(&pixels, &info.framebuffer, line);
        assert_int_equal(pixels.scale, sizes[i].scale);
    }
}

/* Glyphs of any scale at any place, at each depth: each pixel of the font is a square, and nothing
 * beside it changes. */
static void scaled_glyphs(void **state)
{
    (void)state;
    for (unsigned bits = 15; bits <= 32; bits++) {
        for (unsigned scale = 1; scale <= 5; scale++) {
            unsigned bytes = (bits + 7) / 8;
            start(8 * 5 + 6, 16 * 5 + 4, (8 * 5 + 6) * bytes + 1, bits < 24 ? 16 : bits);
            const struct ink ink = {pixels_colour(&pixels, 0x00ff00), pixels_colour(&pixels, 0xff)};
            pixels_draw(&pixels, 3, 2, scale, 'R', ink);
            for (unsigned y = 0; y < pixels.height; y++) {
                for (unsigned x = 0; x < pixels.width; x++) {
                    unsigned column = (x - 3) / scale, row = (y - 2) / scale;
                    bool inside = x >= 3 && y >= 2 && column < 8 && row < 16;
                    bool set = inside && font_glyphs['R' - FONT_FIRST][row] & 0x80 >> column;
                    assert_int_equal(pixel_at(x, y), !inside ? 0 : set ? ink.fore : ink.back);
                }
                assert_int_equal(memory[y * pixels.pitch + pixels.width * bytes], UNTOUCHED);
            }
        }
    }
}

static void rectangles(void **state)
{
    (void)state;
    for (unsigned bits = 16; bits <= 32; bits += 8) {
        for (unsigned width = 0; width <= 20; width++) {
            start(24, 16, 24 * bits / 8 + 3, bits);
            uint32_t colour = pixels_colour(&pixels, 0xff8040);
            pixels_fill(&pixels, 2, 3, width, 5, colour);
            for (unsigned y = 0; y < 16; y++) {
                for (unsigned x = 0; x < 24; x++)
                    assert_int_equal(pixel_at(x, y),
                                     x >= 2 && x < 2 + width && y >= 3 && y < 8 ? colour : 0);
                assert_int_equal(memory[y * pixels.pitch + pixels.pitch - 1], UNTOUCHED);
            }
        }
    }
}

static bool is_dark(unsigned x, unsigned y)
{
    assert_true(x < 5 && y < 5);
    return (x * 3 + y * 5) % 7 < 3;
}

static void pictures_of_modules(void **state)
{
    (void)state;
    start(60, 50, 240, 32);
    pixels_draw_image(&pixels, 7, 4, 3, 5, is_dark);
    for (unsigned y = 0; y < 50; y++)
        for (unsigned x = 0; x < 60; x++) {
            unsigned column = (x - 7) / 3, row = (y - 4) / 3;
            bool drawn = x >= 7 && y >= 4 && column < 13 && row < 13;
            bool quiet = column < 4 || column > 8 || row < 4 || row > 8;
            bool white = drawn && (quiet || !is_dark(column - 4, row - 4));
            assert_int_equal(pixel_at(x, y), white ? 0xffffff : 0);
        }
}

static void refused(const char *why)
{
    assert_int_equal(pixels_size(&info), 0);
    if (!strstr(support_log(), why))
        fail_msg("expected \"%s\", got \"%s\"", why, support_log());
    setup(NULL);
}

static void hostile(void **state)
{
    (void)state;
    struct boot_framebuffer *screen = &info.framebuffer;
    screen->pitch = 4095;
    refused("screen: the framebuffer at 0xe0000000, 1024 x 768 with 32 bits and lines of 4095 "
            "bytes, is not used: its lines overlap");
    screen->width = UINT32_MAX / 4 + 2; /* times four it is four */
    refused("its lines overlap");
    screen->pitch = 0;
    refused("its lines overlap");
    screen->width = 0;
    refused("no room for a character");
    screen->width = 7;
    refused("no room for a character");
    screen->height = 15;
    refused("no room for a character");
    screen->height = 0;
    refused("no room for a character");
    screen->height = UINT32_MAX;
    refused("no screen is so large");
    screen->pitch = UINT32_MAX;
    refused("no screen is so large");
    for (unsigned bits = 0; bits < 256; bits++) {
        screen->bits_per_pixel = bits;
        if (bits < 15 || bits > 32)
            refused("only 15 to 32 bits");
    }
    setup(NULL);
    screen->red.position = 25;
    refused("a colour's bits");
    screen->green.size = 0;
    refused("a colour's bits");
    screen->blue = (struct boot_colour){255, 255};
    refused("a colour's bits");
    screen->base = HPA(UINT64_MAX - 10);
    refused("beyond the largest physical address");
    screen->base = HPA(BIT(52) - 4096 * 768 + 1);
    refused("beyond the largest physical address");
}

static void not_in_ram(void **state)
{
    (void)state;
    uint64_t end = 0xe0000000 + 4096 * 768;
    info.range_count = 2;
    info.ranges[1] = (struct boot_range){HPA(end - 1), 1, BOOT_RAM};
    refused("it lies in RAM");
    info.range_count = 2;
    info.ranges[1] = (struct boot_range){HPA(0), 0xe0000001, BOOT_RAM};
    refused("it lies in RAM");
    info.range_count = 3;
    info.ranges[0] = (struct boot_range){HPA(0), 0xe0000000, BOOT_RAM};
    info.ranges[1] = (struct boot_range){HPA(end), 0x1000, BOOT_RAM};
    info.ranges[2] = (struct boot_range){HPA(0xe0000000), 0x1000, BOOT_RESERVED};
    assert_int_equal(pixels_size(&info), 4096 * 768);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(font_is_ascii, setup, teardown),
        cmocka_unit_test_setup_teardown(draws_glyphs, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(scrolls, setup, teardown),
        cmocka_unit_test_setup_teardown(scrolling_draws_what_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(scrolling_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(full_line_and_newline_is_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(unprintable_is_a_question_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backspace_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(large_screens_are_used_in_part, setup, teardown),
        cmocka_unit_test_setup_teardown(colours, setup, teardown),
        cmocka_unit_test_setup_teardown(scales, setup, teardown),
        cmocka_unit_test_setup_teardown(scaled_glyphs, setup, teardown),
        cmocka_unit_test_setup_teardown(rectangles, setup, teardown),
        cmocka_unit_test_setup_teardown(pictures_of_modules, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(not_in_ram, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
