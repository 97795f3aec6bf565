/* SPDX-License-Identifier: MIT */
/*
 * Text that fills a grid of cells and then scrolls.
 *
 * Pure: it remembers what each cell shows and redraws only the cells that change, because a
 * screen's memory is slow to write and slower to read.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* The largest grid; only a part of a larger screen is used. */
#define TERMINAL_COLUMNS 240
#define TERMINAL_ROWS    135

struct terminal {
    /* Draws `count` characters of a row, all of them printable ASCII. */
    void (*draw)(unsigned column, unsigned row, const char *text, unsigned count);
    unsigned columns, rows;
    unsigned column, row; /* position of the next character */
    bool line_ended;      /* the next character begins a line; delays scrolling until then */
    unsigned draw_cost;   /* cost of drawing a character, in comparisons of eight */
    struct {
        unsigned column, row; /* the part above and before this position has already moved up */
    } scrolled;
    char shown[TERMINAL_ROWS][TERMINAL_COLUMNS];
};

/* Initializes a grid of at least one cell, in which every cell shows a space. `draw_cost` is the
 * time for drawing a character divided by the time for comparing eight. */
void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows, unsigned draw_cost,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count));

/* The number of characters, beginning with `next`, that can be written without scrolling. If it is
 * 0, the call has done a part of the scrolling, about 15,000 instructions, and the caller tries
 * again. */
size_t terminal_room(struct terminal *terminal, char next) MUST_CHECK;

/* Writes text. Newlines begin a new line, long lines are wrapped, and a character that is not
 * printable ASCII is shown as a question mark. */
void terminal_write(struct terminal *terminal, const char *text, size_t length);
