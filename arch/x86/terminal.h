/* SPDX-License-Identifier: MIT */
/*
 * Text that fills a grid of cells and then scrolls.
 *
 * Pure: it remembers what each cell shows and redraws only the cells that change, because a
 * screen's memory is slow to write and slower to read. It scrolls by a quarter of its rows at a
 * time, so that a line costs no more on a large screen than on a small one.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* The largest grid; only a part of a larger screen is used. */
#define TERMINAL_COLUMNS 240
#define TERMINAL_ROWS    135

#define TERMINAL_HEAD 64u /* characters of a line that decide on its colour */

enum terminal_colour {
    TERMINAL_PLAIN,
    TERMINAL_WARNING,
    TERMINAL_ERROR,
};

struct terminal {
    /* Draws `count` characters of a row, all of them printable ASCII. */
    void (*draw)(unsigned column, unsigned row, const char *text, unsigned count,
                 enum terminal_colour colour);
    unsigned columns, rows;
    unsigned column, row;        /* position of the next character */
    bool line_ended;             /* the next character begins a line; delays scrolling until then */
    bool starts;                 /* the next character is the first of a line of text */
    bool lost;                   /* a row has left the grid at its top */
    enum terminal_colour colour; /* of the line that is being written */
    char head[TERMINAL_HEAD];    /* how that line begins */
    unsigned head_length;
    unsigned draw_cost; /* cost of drawing a character, in comparisons of eight */
    struct {
        unsigned column, row; /* the part above and before this position has already moved up */
        unsigned by;          /* by so many rows; 0: the grid does not scroll at the moment */
    } scrolled;
    uint8_t colours[TERMINAL_ROWS]; /* enum terminal_colour */
    char shown[TERMINAL_ROWS][TERMINAL_COLUMNS];
};

/* Initializes a grid of at least one cell, in which every cell shows a space. `draw_cost` is the
 * time for drawing a character divided by the time for comparing eight. */
void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows, unsigned draw_cost,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count,
                                enum terminal_colour colour));

/* The number of characters, beginning with `next`, that can be written without scrolling. If it is
 * 0, the call has done a part of the scrolling, about 15,000 instructions or eight characters, and
 * the caller tries again. */
size_t terminal_room(struct terminal *terminal, char next) MUST_CHECK;

/* Writes text. Newlines begin a new line, long lines are wrapped, and a character that is not
 * printable ASCII is shown as a question mark. A line has the colour that terminal_colour() gives
 * it, also if its first words come in several pieces: what is shown of it is then drawn again. */
void terminal_write(struct terminal *terminal, const char *text, size_t length);

/* The colour of a line: that of the log's errors and warnings, of a failed test and of an EXIT line
 * with a code other than 0, all of these also if a VM reports them or a guest prints them. */
enum terminal_colour terminal_colour(const char *line, size_t length);

/* Returns the number of rows that `length` characters and a newline fill. */
unsigned terminal_rows_of(const struct terminal *terminal, size_t length);

/* Blanks the grid, and goes on at its top. */
void terminal_clear(struct terminal *terminal);

/* Takes the last `count` rows, fewer than all, out of the grid, and leaves them blank. The text in
 * them moves up first. */
void terminal_reserve(struct terminal *terminal, unsigned count);
