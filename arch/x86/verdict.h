/* SPDX-License-Identifier: MIT */
/*
 * The verdict of a run, large at the bottom of a screen: a headline, and some lines below it. Pure:
 * it draws into the framebuffer, or the cells of text mode, that it is given.
 */
#pragma once

#include "arch/x86/pixels.h"

enum verdict {
    VERDICT_GOOD,
    VERDICT_BAD,
};

struct verdict_text {
    enum verdict verdict;
    const char *headline;
    const char *reason; /* what stands under it, on VERDICT_REASON_ROWS rows at most */
    const char *next;   /* what the machine does now */
};

/* Rows of the terminal that the verdict takes: a blank one, and its own. */
#define VERDICT_REASON_ROWS 2u
#define VERDICT_PIXEL_ROWS  (1 + 8u)
#define VERDICT_CELL_ROWS   (1 + 7u)

#define VERDICT_COLUMNS_MIN 20u /* narrower screens show none */

/* Draws a band as wide as the screen. Its last row of text, of `rows` that the screen has, is the
 * last one. */
void verdict_draw(const struct pixels *pixels, unsigned rows, const struct verdict_text *text);

/* Draws a framed block of inverse text into the last rows of a screen in text mode. */
void verdict_put(volatile uint16_t *cells, unsigned columns, unsigned rows,
                 const struct verdict_text *text);
