/* SPDX-License-Identifier: MIT */
/* A scrolling grid of characters; see the header. Pure. */
#include "arch/x86/terminal.h"

#include "lib/string.h"

static void terminal_put(struct terminal *t, unsigned column, unsigned row, char c)
{
    if (t->shown[row][column] == c)
        return;
    t->shown[row][column] = c;
    t->draw(column, row, c);
}

static void terminal_new_line(struct terminal *t)
{
    t->line_ended = false;
    t->column = 0;
    if (t->row < t->rows - 1) {
        t->row++;
        return;
    }
    for (unsigned row = 0; row < t->rows; row++)
        for (unsigned column = 0; column < t->columns; column++)
            terminal_put(t, column, row, row < t->rows - 1 ? t->shown[row + 1][column] : ' ');
}

void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows,
                   void (*draw)(unsigned column, unsigned row, char c))
{
    terminal->draw = draw;
    terminal->columns = columns < TERMINAL_COLUMNS ? columns : TERMINAL_COLUMNS;
    terminal->rows = rows < TERMINAL_ROWS ? rows : TERMINAL_ROWS;
    terminal->column = terminal->row = 0;
    terminal->line_ended = false;
    memset(terminal->shown, ' ', sizeof(terminal->shown));
}

void terminal_write(struct terminal *terminal, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (terminal->line_ended || (c != '\n' && terminal->column == terminal->columns))
            terminal_new_line(terminal);
        if (c == '\n')
            terminal->line_ended = true;
        else
            terminal_put(terminal, terminal->column++, terminal->row,
                         c >= ' ' && c <= '~' ? c : '?');
    }
}
