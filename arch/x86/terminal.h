/*
 * Text that runs down a grid of cells and then scrolls.
 *
 * Pure: it keeps what each cell shows and has only those drawn that change, because a screen's
 * memory is slow to write and slower to read.
 */
#pragma once

#include "lib/types.h"

/* What is kept; a larger screen is used in part. */
#define TERMINAL_COLUMNS 240
#define TERMINAL_ROWS    135

struct terminal {
    /* So many characters of a row, each printable ASCII. */
    void (*draw)(unsigned column, unsigned row, const char *text, unsigned count);
    unsigned columns, rows;
    unsigned column, row; /* of the next character */
    bool line_ended;      /* the next character begins a line; scrolls no sooner than it must */
    char shown[TERMINAL_ROWS][TERMINAL_COLUMNS];
};

/* Starts with an empty grid, of one cell at least, whose every cell shows a space. */
void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count));

/* Newlines are obeyed, lines that are too long are wrapped, and what is not printable ASCII shows
 * as a question mark. */
void terminal_write(struct terminal *terminal, const char *text, size_t length);
