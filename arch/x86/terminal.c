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

/* Puts up to eight characters. Those that differ from what is shown are drawn in as few runs as
 * possible. Returns the number of characters that were drawn. */
static unsigned put_some(struct terminal *t, unsigned column, unsigned row, const char *text,
                         unsigned count)
{
    char *shown = &t->shown[row][column];
    unsigned drawn = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned from = i;
        for (; i < count && shown[i] != text[i]; i++)
            shown[i] = text[i];
        if (i > from)
            t->draw(column + from, row, &shown[from], i - from);
        drawn += i - from;
    }
    return drawn;
}

/* Eight characters, compared and copied at once. */
typedef uint64_t __attribute__((may_alias, aligned(1))) eight;

#define SCROLL_PIECE 1000u /* work in one piece, in comparisons of eight characters */

/* Scrolls up by one row. Most of a screen is blank before and after that, and eight blank
 * characters cost one comparison. Continues where the last call stopped, and stops when the work
 * has cost `left`. Returns true when all rows have moved. */
static bool terminal_scroll(struct terminal *t, uint64_t left)
{
    static const char blank[TERMINAL_COLUMNS] = {[0 ... TERMINAL_COLUMNS - 1] = ' '};
    for (; t->scrolled.row < t->rows; t->scrolled.row++, t->scrolled.column = 0) {
        unsigned row = t->scrolled.row;
        const char *text = row < t->rows - 1 ? t->shown[row + 1] : blank;
        for (; t->scrolled.column < t->columns; t->scrolled.column += 8) {
            unsigned column = t->scrolled.column, rest = t->columns - column;
            uint64_t cost = 1;
            if (!left)
                return false;
            if (*(const eight *)&t->shown[row][column] != *(const eight *)&text[column])
                cost += t->draw_cost * put_some(t, column, row, &text[column], rest < 8 ? rest : 8);
            left -= left < cost ? left : cost;
        }
    }
    t->scrolled.row = t->scrolled.column = 0;
    return true;
}

static bool begins_line(const struct terminal *t, char c)
{
    return t->line_ended || (c != '\n' && t->column == t->columns);
}

/* Begins the next line, and spends at most `most` on scrolling. Returns false if this was not
 * enough. */
static bool new_line(struct terminal *t, uint64_t most)
{
    if (t->row == t->rows - 1 && !terminal_scroll(t, most))
        return false;
    t->row += t->row < t->rows - 1;
    t->line_ended = false;
    t->column = 0;
    return true;
}

size_t terminal_room(struct terminal *terminal, char next)
{
    if (begins_line(terminal, next) && !new_line(terminal, SCROLL_PIECE))
        return 0;
    size_t room = terminal->columns - terminal->column;
    return room ? room : 1; /* a newline needs no room */
}

void terminal_init(struct terminal *terminal, unsigned columns, unsigned rows, unsigned draw_cost,
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count))
{
    terminal->draw = draw;
    terminal->columns = columns < TERMINAL_COLUMNS ? columns : TERMINAL_COLUMNS;
    terminal->rows = rows < TERMINAL_ROWS ? rows : TERMINAL_ROWS;
    terminal->column = terminal->row = 0;
    terminal->scrolled.column = terminal->scrolled.row = 0;
    terminal->line_ended = false;
    terminal->draw_cost = draw_cost;
    memset(terminal->shown, ' ', sizeof(terminal->shown));
}

void terminal_write(struct terminal *terminal, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\b') { /* the person who types corrects a line */
            terminal->column -= terminal->column != 0;
            continue;
        }
        if (begins_line(terminal, c))
            (void)new_line(terminal, UINT64_MAX);
        if (c == '\n')
            terminal->line_ended = true;
        else
            terminal_put(terminal, terminal->column++, terminal->row,
                         c >= ' ' && c <= '~' ? c : '?');
    }
}
