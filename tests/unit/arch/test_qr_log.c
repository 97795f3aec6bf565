/* SPDX-License-Identifier: MIT */
/* The log's end on a screen of any size, as QR codes (N96): every character of it is in one of the
 * symbols, in order. And where the log is kept over a reset (N95). */
#include "tests/unit/support.h"

#include "arch/x86/kept_log.h"
#include "arch/x86/qr_log.h"
#include "arch/x86/screen.h"
#include "boot/boot_info_internal.h"
#include "lib/log.h"
#include "lib/qr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDEST 1000u

static char text[20000];
static size_t split; /* the ring gives the text in two pieces */
static unsigned pixels, pages, page_modules;
static char shown[8][WIDEST][WIDEST];

void log_replay(void (*write)(const char *text, size_t length))
{
    write(text, split);
    write(text + split, strlen(text) - split);
}

unsigned screen_image_scale(unsigned size)
{
    return pixels / (size + 2 * QR_QUIET);
}

bool screen_image(unsigned size, bool (*dark)(unsigned x, unsigned y))
{
    if (!screen_image_scale(size))
        return false;
    assert_true(size < WIDEST && pages < 8);
    page_modules = size;
    for (unsigned y = 0; y < size; y++)
        for (unsigned x = 0; x < size; x++)
            shown[pages][y][x] = dark(x, y);
    pages++;
    return true;
}

static unsigned waits, waits_max;
static jmp_buf enough;

static void wait(void)
{
    if (++waits == waits_max)
        longjmp(enough, 1);
}

static void show(unsigned lines, unsigned on_pixels, bool for_ever)
{
    size_t length = 0;
    for (unsigned i = 0; i < lines; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "line %04u\n", i);
    split = length - length / 5;
    text[length] = 0;
    pixels = on_pixels;
    pages = waits = 0;
    waits_max = for_ever ? 5 : 0;
    support_reset();
    qr_log_choose(true);
    if (!setjmp(enough))
        (void)qr_log_show(wait, for_ever);
}

/* The symbol number `n` of `count` in `side` x `side` of a page holds this text, and there is light
 * around it. */
static void assert_symbol(unsigned n, unsigned side, unsigned version, const char *expected)
{
    static struct qr qr;
    unsigned cell = QR_SIZE(version) + QR_QUIET, place = n % (side * side);
    unsigned left = place % side * cell, top = place / side * cell;
    qr_encode(&qr, version, expected, strlen(expected));
    assert_int_equal(page_modules, side * cell - QR_QUIET);
    for (unsigned y = 0; y < cell && top + y < page_modules; y++)
        for (unsigned x = 0; x < cell && left + x < page_modules; x++)
            assert_int_equal(shown[n / (side * side)][top + y][left + x],
                             x < qr.size && y < qr.size && qr_dark(&qr, x, y));
}

static void assert_pieces(unsigned count, unsigned side, unsigned version, const char *from)
{
    for (unsigned i = 0; i < count; i++, from += QR_LOG_PIECE) {
        char piece[40 + QR_LOG_PIECE];
        snprintf(piece, sizeof(piece), "eptvisor %u/%u\n%.*s", i + 1, count, QR_LOG_PIECE, from);
        assert_symbol(i, side, version, piece);
    }
}

static void a_short_log(void **state)
{
    (void)state;
    show(3, 500, false);
    assert_int_equal(pages, 1);
    assert_pieces(1, 1, 3, "line 0000\nline 0001\nline 0002\n");
}

/* Only whole lines of a long one; all on one page if that can be read, else page by page. */
static void a_long_log(void **state)
{
    (void)state;
    static const struct {
        unsigned pixels, side, pages;
    } screens[] = {{2160, 3, 1}, {1101, 3, 1}, {1100, 2, 2}, {738, 2, 2}, {737, 1, 7}, {130, 1, 7}};
    for (unsigned i = 0; i < sizeof(screens) / sizeof(screens[0]); i++) {
        show(1500, screens[i].pixels, false);
        assert_int_equal(pages, screens[i].pages);
        assert_int_equal(waits, pages);
        assert_pieces(7, screens[i].side, QR_LOG_VERSION, strstr(text, "line 0681\n"));
    }
}

static void once_or_for_ever(void **state)
{
    (void)state;
    show(400, 800, true);
    assert_int_equal(waits, 5);
    pages = 0;
    (void)qr_log_show(wait, true); /* after a failure in the first call */
    assert_int_equal(pages, 0);
    qr_log_choose(false);
    (void)qr_log_show(wait, true);
    assert_int_equal(pages, 0);
}

static void other_characters(void **state)
{
    (void)state;
    pixels = 500;
    pages = waits = waits_max = 0;
    strcpy(text, "a\tb\x80\x1b[c\n");
    split = 0;
    qr_log_choose(true);
    (void)qr_log_show(wait, false);
    assert_pieces(1, 1, 2, "a?b??[c\n");
}

static void no_screen(void **state)
{
    (void)state;
    show(10, 124, false);
    assert_int_equal(pages, 0);
    assert_string_equal(
        support_log(), "qr=1: the log will not be shown as QR codes: the boot loader has passed no "
                       "framebuffer, or one of fewer than 125 lines; boot this machine by UEFI\n");
    support_reset();
    qr_log_choose(false);
    assert_string_equal(support_log(), "");
}

/* ---- Where the log is kept ------------------------------------------------------------------- */

#define MIB (1ull << 20)
static struct boot_info info;

static uint64_t place_with(uint64_t ram, uint64_t module_start, uint64_t module_end)
{
    memset(&info, 0, sizeof(info));
    assert_int_equal(boot_add_range(&info, 0x100000, ram - 0x100000, BOOT_RAM), 0);
    info.modules[0] =
        (struct boot_module){.base = HPA(module_start), .size = module_end - module_start};
    info.module_count = 1;
    return kept_log_choose(&info).v;
}

static void places(void **state)
{
    const uint64_t first = 32 * MIB - KEPT_LOG_SIZE, second = 128 * MIB - KEPT_LOG_SIZE;
    (void)state;
    assert_int_equal(place_with(256 * MIB, 4 * MIB, first), first);
    assert_int_equal(place_with(256 * MIB, 4 * MIB, first + 1), second);
    assert_int_equal(place_with(256 * MIB, 32 * MIB - 1, 40 * MIB), second);
    assert_int_equal(place_with(256 * MIB, 32 * MIB, 40 * MIB), first);
    assert_int_equal(place_with(32 * MIB, 4 * MIB, 5 * MIB), first);
    assert_int_equal(place_with(32 * MIB - 1, 4 * MIB, 5 * MIB), PAGE_NONE.v);
    assert_int_equal(place_with(256 * MIB, 4 * MIB, 200 * MIB), PAGE_NONE.v);
    assert_int_equal(place_with(4096 * MIB, 4 * MIB, 600 * MIB), 1024 * MIB - KEPT_LOG_SIZE);
    assert_int_equal(place_with(256 * MIB, 4 * MIB, 5 * MIB), first);
    assert_int_equal(boot_add_range(&info, first + 0x3000, 0x1000, BOOT_NVS), 0);
    assert_int_equal(kept_log_choose(&info).v, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_log),      cmocka_unit_test(a_long_log),
        cmocka_unit_test(once_or_for_ever), cmocka_unit_test(other_characters),
        cmocka_unit_test(no_screen),        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
