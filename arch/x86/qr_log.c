/* SPDX-License-Identifier: MIT */
/* The log's end as QR codes; see the header. */
#include "arch/x86/qr_log.h"

#include "arch/x86/screen.h"
#include "lib/log.h"
#include "lib/qr.h"
#include "lib/string.h"
#include "lib/visible.h"

#define SYMBOLS_MAX ((QR_LOG_SIZE + QR_LOG_PIECE - 1) / QR_LOG_PIECE)
#define HEADER_MAX  16u
#define SIDE_MAX    3u /* symbols in a row, and rows of them: all fit */
#define SCALE_MIN   3u /* pixels of a module that a telephone can tell apart */

_Static_assert(SIDE_MAX *SIDE_MAX >= SYMBOLS_MAX, "one page can hold all symbols");
_Static_assert(PIXELS_QUIET == QR_QUIET, "a page has the quiet zone of its symbols");

static bool chosen;
static char tail[QR_LOG_SIZE];
static size_t tail_length;
static struct qr symbols[SYMBOLS_MAX];
static unsigned count, first, side; /* of all symbols; the first one of this page; in its rows */
static unsigned cell;               /* the modules from one symbol of a row to the next */

/* The modules in a row of n symbols, with quiet zones between them. */
static unsigned page_size(unsigned n)
{
    return n * cell - QR_QUIET;
}

static void choose_version(unsigned version)
{
    cell = QR_SIZE(version) + QR_QUIET;
}

void qr_log_choose(bool wanted)
{
    choose_version(QR_LOG_VERSION);
    chosen = wanted && screen_image_scale(page_size(1));
    if (wanted && !chosen)
        log_info("qr=1: the log will not be shown as QR codes: the boot loader has passed no "
                 "framebuffer, or one of fewer than %u lines; boot this machine by UEFI",
                 page_size(1) + 2 * QR_QUIET);
}

/* Keeps the last characters of the text. A line that is not complete is left out. */
static void tail_add(const char *text, size_t length)
{
    if (length > sizeof(tail)) {
        text += length - sizeof(tail);
        length = sizeof(tail);
    }
    size_t rest = sizeof(tail) - length < tail_length ? sizeof(tail) - length : tail_length;
    memmove(tail, tail + tail_length - rest, rest);
    memcpy(tail + rest, text, length);
    tail_length = rest + length;
}

static void tail_make(void)
{
    tail_length = 0;
    log_replay(tail_add);
    const char *line = memchr(tail, '\n', tail_length);
    if (tail_length == sizeof(tail) && line) {
        tail_length -= (size_t)(line + 1 - tail);
        memmove(tail, line + 1, tail_length);
    }
    for (size_t i = 0; i < tail_length; i++) { /* telephones guess at other characters */
        char shown[VISIBLE_MAX];
        if (tail[i] != '\n' && visible(shown, tail[i]) > 1)
            tail[i] = '?';
    }
}

static void make_symbols(void)
{
    unsigned version = 1;
    tail_make();
    count = (unsigned)((tail_length + QR_LOG_PIECE - 1) / QR_LOG_PIECE);
    for (unsigned i = 0; i < count; i++) {
        char text[HEADER_MAX + QR_LOG_PIECE];
        size_t start = (size_t)i * QR_LOG_PIECE;
        size_t piece = tail_length - start < QR_LOG_PIECE ? tail_length - start : QR_LOG_PIECE;
        int header = snprintf(text, HEADER_MAX, "eptvisor %u/%u\n", i + 1, count);
        memcpy(text + header, tail + start, piece);
        while (qr_capacity(version) < (size_t)header + piece) /* all are as large as the first */
            version++;
        qr_encode(&symbols[i], version, text, (size_t)header + piece);
    }
    choose_version(version);
}

static bool page_dark(unsigned x, unsigned y)
{
    unsigned number = first + y / cell * side + x / cell;
    unsigned in_x = x % cell, in_y = y % cell;
    return number < count && in_x < symbols[number].size && in_y < symbols[number].size &&
           qr_dark(&symbols[number], in_x, in_y);
}

bool qr_log_show(void (*wait)(void), bool for_ever)
{
    if (!chosen)
        return false;
    chosen = false;
    make_symbols();
    for (side = 1; side * side < count && screen_image_scale(page_size(side + 1)) >= SCALE_MIN;)
        side++;
    do {
        for (first = 0; first < count; first += side * side)
            if (screen_image(page_size(side), page_dark))
                wait();
    } while (for_ever && count);
    return true;
}
