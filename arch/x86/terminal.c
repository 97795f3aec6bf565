/* SPDX-License-Identifier: MIT */
/* A scrolling grid of characters; see the header. Pure. */
#include "arch/x86/terminal.h"

#include "lib/string.h"

static void terminal_put(struct terminal *t, unsigned column, unsigned row, char c)
{
    if (t->shown[row][column] == c)
        return;
    t->shown[row][column] = c;
    t->draw(column, row, &c, 1);
}

/* Up to eight characters, those that change drawn in as few runs as can be. */
static void put_some(struct terminal *t, unsigned column, unsigned row, const char *text,
                     unsigned count)
{
    char *shown = &t->shown[row][column];
    for (unsigned i = 0; i < count; i++) {
        unsigned from = i;
        for (; i < count && shown[i] != text[i]; i++)
            shown[i] = text[i];
        if (i > from)
            t->draw(column + from, row, &shown[from], i - from);
    }
}

/* Eight characters at once. */
typedef uint64_t __attribute__((may_alias, aligned(1))) eight;

/* Most of what scrolls is blank before and afterwards: eight such characters are one comparison. */
static void put_row(struct terminal *t, unsigned row, const char *text)
{
    for (unsigned column = 0; column < t->columns; column += 8) {
        if (*(const eight *)&t->shown[row][column] != *(const eight *)&text[column])
            put_some(t, column, row, &text[column],
                     column + 8 < t->columns ? 8 : t->columns - column);
    }
}

static void terminal_new_line(struct terminal *t)
{
    t->line_ended = false;
    t->column = 0;
    if (t->row < t->rows - 1) {
        t->row++;
        return;
    }
    static const char blank[TERMINAL_COLUMNS] = {[0 ... TERMINAL_COLUMNS - 1] = ' '};
    for (unsigned row = 0; row < t->rows; row++)
        put_row(t, row, row < t->rows - 1 ? t->shown[row + 1] : blank);
}

void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count))
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
