/* SPDX-License-Identifier: MIT */
/* A scrolling grid of characters; see the header. Pure. */
#include "arch/x86/terminal.h"

#include "lib/bits.h"
#include "lib/string.h"

static void terminal_put(struct terminal *t, unsigned column, unsigned row, char c)
{
    t->colours[row] = (uint8_t)t->colour;
    if (t->shown[row][column] == c)
        return;
    t->shown[row][column] = c;
    t->draw(column, row, &c, 1, t->colour);
}

/* Eight characters, compared at once. */
typedef uint64_t __attribute__((may_alias, aligned(1))) eight;

static const char blank[TERMINAL_COLUMNS] = {[0 ... TERMINAL_COLUMNS - 1] = ' '};

/* What a row becomes. */
struct new_row {
    const char *text;
    enum terminal_colour colour;
    bool recolour; /* its colour differs from what the row has now */
};

/* Puts up to eight characters. Those that differ from what is shown are drawn in as few runs as
 * possible. Returns the number of characters that were drawn. */
static unsigned put_some(struct terminal *t, unsigned column, unsigned row,
                         const struct new_row *new, unsigned count)
{
    char *shown = &t->shown[row][column];
    const char *text = &new->text[column];
    unsigned drawn = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned from = i;
        for (; i < count && (shown[i] != text[i] || (new->recolour &&text[i] != ' ')); i++)
            shown[i] = text[i];
        if (i > from)
            t->draw(column + from, row, &shown[from], i - from, new->colour);
        drawn += i - from;
    }
    return drawn;
}

static bool is_as_shown(const struct terminal *t, unsigned column, unsigned row,
                        const struct new_row *new)
{
    eight text = *(const eight *)&new->text[column];
    return text == *(const eight *)&t->shown[row][column] &&
           (!new->recolour || text == *(const eight *)blank);
}

#define SCROLL_PIECE 1000u /* work in one piece, in comparisons of eight characters */

/* Scrolls up. Most of a screen is blank before and after that, and eight blank characters cost one
 * comparison. Continues where the last call stopped, and stops when the work has cost `left`.
 * Returns true when all rows have moved. */
static bool terminal_scroll(struct terminal *t, uint64_t left)
{
    for (; t->scrolled.row < t->rows; t->scrolled.row++, t->scrolled.column = 0) {
        unsigned row = t->scrolled.row, below = row + t->scrolled.by;
        bool none = below >= t->rows;
        struct new_row new = {none ? blank : t->shown[below],
                              none ? TERMINAL_PLAIN : (enum terminal_colour)t->colours[below],
                              .recolour = false};
        new.recolour = t->colours[row] != new.colour;
        for (; t->scrolled.column < t->columns; t->scrolled.column += 8) {
            unsigned column = t->scrolled.column, rest = t->columns - column;
            uint64_t cost = 1;
            if (!left)
                return false;
            if (!is_as_shown(t, column, row, &new))
                cost += t->draw_cost * put_some(t, column, row, &new, rest < 8 ? rest : 8);
            left -= left < cost ? left : cost;
        }
        t->colours[row] = (uint8_t) new.colour;
    }
    t->lost = true;
    t->scrolled.row = t->scrolled.column = t->scrolled.by = 0;
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
    if (t->row == t->rows - 1 && !t->scrolled.by)
        t->scrolled.by = t->rows < 8 ? 1 : t->rows / 4;
    unsigned by = t->scrolled.by;
    if (by && !terminal_scroll(t, most))
        return false;
    t->row = t->row + 1 - by;
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
                   void (*draw)(unsigned column, unsigned row, const char *text, unsigned count,
                                enum terminal_colour colour))
{
    memset(terminal, 0, sizeof(*terminal));
    terminal->draw = draw;
    terminal->columns = columns < TERMINAL_COLUMNS ? columns : TERMINAL_COLUMNS;
    terminal->rows = rows < TERMINAL_ROWS ? rows : TERMINAL_ROWS;
    terminal->draw_cost = draw_cost;
    terminal->starts = true;
    memset(terminal->shown, ' ', sizeof(terminal->shown));
}

/* Finds the colour of a line that came in pieces. If it has changed, draws again what is shown of
 * the line. */
static void recolour_line(struct terminal *t)
{
    enum terminal_colour colour = terminal_colour(t->head, t->head_length);
    unsigned above = t->head_length ? (t->head_length - 1) / t->columns : 0;
    if (colour == t->colour)
        return;
    t->colour = colour;
    for (unsigned row = above < t->row ? t->row - above : 0; row <= t->row; row++) {
        t->colours[row] = (uint8_t)colour;
        t->draw(0, row, t->shown[row], row < t->row ? t->columns : t->column, colour);
    }
}

void terminal_write(struct terminal *terminal, const char *text, size_t length)
{
    bool goes_on = !terminal->starts && terminal->head_length < TERMINAL_HEAD;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\b') { /* the person who types corrects a line */
            terminal->column -= terminal->column != 0;
            terminal->head_length = TERMINAL_HEAD;
            goes_on = false;
            continue;
        }
        if (terminal->starts) {
            terminal->colour = terminal_colour(text + i, length - i);
            terminal->head_length = 0;
        }
        terminal->starts = c == '\n';
        if (c == '\n' && goes_on) {
            recolour_line(terminal);
            goes_on = false;
        }
        if (begins_line(terminal, c))
            (void)new_line(terminal, UINT64_MAX);
        if (c == '\n') {
            terminal->line_ended = true;
            continue;
        }
        if (terminal->head_length < TERMINAL_HEAD)
            terminal->head[terminal->head_length++] = c;
        terminal_put(terminal, terminal->column++, terminal->row, c >= ' ' && c <= '~' ? c : '?');
    }
    if (goes_on)
        recolour_line(terminal);
}

static bool begins_with(const char *text, size_t length, const char *word)
{
    size_t size = strlen(word);
    return length >= size && !memcmp(text, word, size);
}

/* The length of what stands before the first word: spaces, and the name of the VM that reports. */
static size_t length_of_prefix(const char *line, size_t length)
{
    size_t at = 0;
    while (at < length && line[at] == ' ')
        at++;
    if (!begins_with(line + at, length - at, "# "))
        return at;
    for (size_t end = at + 2; end + 1 < length && line[end] != ' ' && line[end] != '\n'; end++)
        if (line[end] == ':' && line[end + 1] == ' ')
            return end + 2;
    return at;
}

enum terminal_colour terminal_colour(const char *line, size_t length)
{
    static const struct {
        const char *words;
        enum terminal_colour colour;
    } beginnings[] = {
        {"error: ", TERMINAL_ERROR}, {"not ok", TERMINAL_ERROR},    {"WARN: ", TERMINAL_WARNING},
        {"EXIT 0 ", TERMINAL_PLAIN}, {"EXIT 3 ", TERMINAL_WARNING}, {"EXIT ", TERMINAL_ERROR},
    };
    size_t at = length_of_prefix(line, length);
    for (unsigned i = 0; i < ARRAY_SIZE(beginnings); i++)
        if (begins_with(line + at, length - at, beginnings[i].words))
            return beginnings[i].colour;
    return TERMINAL_PLAIN;
}

unsigned terminal_rows_of(const struct terminal *terminal, size_t length)
{
    return length ? (unsigned)((length - 1) / terminal->columns) + 1 : 1;
}

/* Scrolls by some rows at once. */
static void scroll_now(struct terminal *t, unsigned by)
{
    t->scrolled.by = by;
    (void)terminal_scroll(t, UINT64_MAX);
    t->row = by < t->row ? t->row - by : 0;
}

static void end_scroll(struct terminal *t)
{
    if (t->scrolled.by)
        (void)new_line(t, UINT64_MAX);
}

void terminal_clear(struct terminal *terminal)
{
    end_scroll(terminal);
    scroll_now(terminal, terminal->rows);
    terminal->column = 0;
    terminal->line_ended = false;
    terminal->starts = true;
}

void terminal_reserve(struct terminal *terminal, unsigned count)
{
    unsigned rows = terminal->rows - count;
    end_scroll(terminal);
    if (terminal->row >= rows)
        scroll_now(terminal, terminal->row - rows + 1);
    terminal->rows = rows;
}
