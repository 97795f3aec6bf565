/* SPDX-License-Identifier: MIT */
/*
 * Text that fills a grid of cells and then scrolls.
 *
 * Pure: it remembers what each cell shows and redraws only the cells that change, because a
 * screen's memory is slow to write and slower to read.
 */
#pragma once

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
    char shown[TERMINAL_ROWS][TERMINAL_COLUMNS];
};

/* Initializes a grid of at least one cell, in which every cell shows a space. */
void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count));

/* Writes text. Newlines are obeyed, long lines are wrapped, and a character that is not printable
 * ASCII is shown as a question mark. */
void terminal_write(struct terminal *terminal, const char *text, size_t length);
