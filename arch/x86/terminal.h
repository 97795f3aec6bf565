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
    /* So many characters of a row, each printable ASCII. */
    void (*draw)(unsigned column, unsigned row, const char *text, unsigned count);
    unsigned columns, rows;
    unsigned column, row; /* position of the next character */
    bool line_ended;      /* the next character begins a new line; delays scrolling until then */
    unsigned draw_cost;   /* of a character, in comparisons of eight */
    struct {
        unsigned column, row; /* what is shown above and before this has moved up already */
    } scrolled;
    char shown[TERMINAL_ROWS][TERMINAL_COLUMNS];
};

/* Initializes a grid of at least one cell, in which every cell shows a space. `draw_cost`: how much
 * longer it takes to draw a character than to compare eight. */
void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows, unsigned draw_cost,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count));

/* How many characters, of which `next` is the first, can be written without scrolling. If none can,
 * some of the scrolling is done, about 15,000 instructions: the caller comes again. */
size_t terminal_room(struct terminal *terminal, char next) MUST_CHECK;

/* Writes text. Newlines are obeyed, long lines are wrapped, and a character that is not printable
 * ASCII is shown as a question mark. */
void terminal_write(struct terminal *terminal, const char *text, size_t length);
