/* SPDX-License-Identifier: MIT */
/* The line editor; see the header. */
#include "monitor/editor.h"

#include "lib/string.h"

#define PROMPT "monitor> "

#define CTRL(letter) ((letter) - '@')
#define KEY_ESCAPE   0x1b
#define KEY_DELETE   0x7f

/* ---- What the terminal shows ----------------------------------------------------------------- */

static void show(struct editor *e, const char *text, unsigned length)
{
    unsigned room = EDITOR_SHOWS - e->shows;
    if (length > room)
        length = room;
    memcpy(e->shown + e->shows, text, length);
    e->shows += length;
}

static void show_back(struct editor *e, unsigned count)
{
    while (count--)
        show(e, "\b", 1);
}

static void show_blanks(struct editor *e, unsigned count)
{
    while (count--)
        show(e, " ", 1);
}

/* Shows the line from the cursor on, of which `gone` characters more were shown before, and goes
 * back to the cursor. */
static void show_rest(struct editor *e, unsigned gone)
{
    unsigned rest = e->length - e->cursor;
    show(e, e->line + e->cursor, rest);
    show_blanks(e, gone);
    show_back(e, rest + gone);
}

/* Begins an empty line, on a new row of the terminal. */
static void begin_line(struct editor *e)
{
    e->line[0] = 0;
    e->length = e->cursor = e->back = 0;
    e->taken = false;
}

void editor_prompt(struct editor *e)
{
    if (e->taken)
        begin_line(e);
    show(e, PROMPT, sizeof(PROMPT) - 1);
    show(e, e->line, e->length);
    show_back(e, e->length - e->cursor);
}

/* ---- Editing --------------------------------------------------------------------------------- */

static void move_to(struct editor *e, unsigned cursor)
{
    if (cursor < e->cursor)
        show_back(e, e->cursor - cursor);
    else
        show(e, e->line + e->cursor, cursor - e->cursor);
    e->cursor = cursor;
}

/* Inserts as much of the text as the line has room for. */
static void insert(struct editor *e, const char *text, unsigned length)
{
    unsigned room = MONITOR_LINE - 1 - e->length, rest = e->length - e->cursor;
    if (length > room)
        length = room;
    memmove(e->line + e->cursor + length, e->line + e->cursor, rest + 1);
    memcpy(e->line + e->cursor, text, length);
    e->length += length;
    show(e, text, length);
    e->cursor += length;
    if (rest && length)
        show_rest(e, 0);
}

/* Removes the characters from `from` up to `to`, and leaves the cursor there. */
static void cut(struct editor *e, unsigned from, unsigned to)
{
    move_to(e, from);
    memmove(e->line + from, e->line + to, e->length - to + 1);
    e->length -= to - from;
    if (to > from)
        show_rest(e, to - from);
}

static void replace(struct editor *e, const char *line)
{
    cut(e, 0, e->length);
    insert(e, line, (unsigned)strlen(line));
}

static unsigned word_start(const struct editor *e)
{
    unsigned at = e->cursor;
    while (at && e->line[at - 1] == ' ')
        at--;
    while (at && e->line[at - 1] != ' ')
        at--;
    return at;
}

/* ---- The history ----------------------------------------------------------------------------- */

static char *remembered(struct editor *e, unsigned back)
{
    return e->history[(e->kept - back) % EDITOR_HISTORY];
}

static void recall(struct editor *e, unsigned back)
{
    if (back > e->kept || back > EDITOR_HISTORY)
        return;
    if (!e->back)
        memcpy(e->typed, e->line, sizeof(e->typed));
    e->back = back;
    replace(e, back ? remembered(e, back) : e->typed);
}

/* Keeps a line that is not empty and not the same as the last one. */
static void remember(struct editor *e)
{
    if (e->length && !(e->kept && !strcmp(remembered(e, 1), e->line))) {
        e->kept++;
        memcpy(remembered(e, 1), e->line, sizeof(e->line));
    }
}

/* ---- Keys ------------------------------------------------------------------------------------ */

/* Handles the byte that ends an escape sequence such as ESC [ A or ESC [ 3 ~. */
static void editor_sequence(struct editor *e, uint8_t last)
{
    uint8_t key = last == '~' ? e->escaped : last;
    switch (key) {
    case 'A':
        recall(e, e->back + 1);
        break;
    case 'B':
        if (e->back)
            recall(e, e->back - 1);
        break;
    case 'C':
        move_to(e, e->cursor < e->length ? e->cursor + 1 : e->length);
        break;
    case 'D':
        move_to(e, e->cursor ? e->cursor - 1 : 0);
        break;
    case 'H':
    case '1':
    case '7':
        move_to(e, 0);
        break;
    case 'F':
    case '4':
    case '8':
        move_to(e, e->length);
        break;
    case '3':
        cut(e, e->cursor, e->cursor < e->length ? e->cursor + 1 : e->length);
        break;
    default:
        break;
    }
}

/* Takes a byte of an escape sequence. Returns false if the byte is not part of one. */
static bool editor_escapes(struct editor *e, uint8_t byte)
{
    if (byte == KEY_ESCAPE) {
        e->escaped = KEY_ESCAPE;
        return true;
    }
    if (!e->escaped)
        return false;
    if (e->escaped == KEY_ESCAPE && (byte == '[' || byte == 'O')) {
        e->escaped = '[';
        return true;
    }
    if (e->escaped != KEY_ESCAPE && ((byte >= '0' && byte <= '9') || byte == ';')) {
        e->escaped = byte; /* of ESC [ 1 ; 5 C, only the last byte counts */
        return true;
    }
    if (e->escaped != KEY_ESCAPE && byte >= '@' && byte <= '~')
        editor_sequence(e, byte);
    e->escaped = 0;
    return byte >= ' ';
}

static void editor_drop(struct editor *e)
{
    show(e, "^C\n", 3);
    begin_line(e);
    editor_prompt(e);
}

/* Handles a control character that does not end the line. */
static void editor_control(struct editor *e, uint8_t key)
{
    switch (key) {
    case CTRL('A'):
        move_to(e, 0);
        break;
    case CTRL('B'):
        editor_sequence(e, 'D');
        break;
    case CTRL('C'):
        editor_drop(e);
        break;
    case CTRL('D'):
        editor_sequence(e, '3');
        break;
    case CTRL('E'):
        move_to(e, e->length);
        break;
    case CTRL('F'):
        editor_sequence(e, 'C');
        break;
    case CTRL('H'):
    case KEY_DELETE:
        if (e->cursor)
            cut(e, e->cursor - 1, e->cursor);
        break;
    case CTRL('K'):
        cut(e, e->cursor, e->length);
        break;
    case CTRL('L'):
    case CTRL('R'):
        show(e, "\n", 1);
        editor_prompt(e);
        break;
    case CTRL('N'):
        editor_sequence(e, 'B');
        break;
    case CTRL('P'):
        editor_sequence(e, 'A');
        break;
    case CTRL('U'):
        cut(e, 0, e->cursor);
        break;
    case CTRL('W'):
        cut(e, word_start(e), e->cursor);
        break;
    default:
        break;
    }
}

enum editor_event editor_key(struct editor *e, uint8_t byte)
{
    if (e->taken)
        begin_line(e);
    if (editor_escapes(e, byte))
        return EDITOR_NOTHING;
    if (byte == '\t')
        return EDITOR_TAB;
    if (byte == CTRL('D') && !e->length) {
        show(e, "\n", 1);
        e->taken = true;
        return EDITOR_END;
    }
    if (byte == '\r' || byte == '\n') {
        show(e, "\n", 1);
        remember(e);
        e->taken = true;
        return EDITOR_LINE;
    }
    if (byte >= ' ' && byte < KEY_DELETE)
        insert(e, (const char *)&byte, 1);
    else
        editor_control(e, byte);
    return EDITOR_NOTHING;
}

/* ---- Completion ------------------------------------------------------------------------------ */

unsigned editor_word(const struct editor *e)
{
    unsigned words = 0;
    for (unsigned i = 1; i < e->cursor; i++)
        words += e->line[i] == ' ' && e->line[i - 1] != ' ';
    return words;
}

static unsigned common(const char *a, const char *b, unsigned most)
{
    unsigned i = 0;
    while (i < most && a[i] && a[i] == b[i])
        i++;
    return i;
}

static void list_candidates(struct editor *e, const char *word, unsigned length,
                            const char *(*candidate)(void *context, unsigned index), void *context)
{
    const char *text;
    for (unsigned i = 0; (text = candidate(context, i)); i++) {
        unsigned size = (unsigned)strlen(text);
        if (strncmp(text, word, length))
            continue;
        if (e->shows + size + 8 + sizeof(PROMPT) + 2 * MONITOR_LINE > EDITOR_SHOWS) {
            show(e, " ...", 4);
            break;
        }
        show(e, e->shows ? " " : "\n", 1);
        show(e, text, size);
    }
    show(e, "\n", 1);
    editor_prompt(e);
}

void editor_complete(struct editor *e, const char *(*candidate)(void *context, unsigned index),
                     void *context)
{
    unsigned start = e->cursor, found = 0, same = 0;
    char word[MONITOR_LINE], longest[MONITOR_LINE] = "";
    const char *text;
    while (start && e->line[start - 1] != ' ')
        start--;
    unsigned length = e->cursor - start;
    memcpy(word, e->line + start, length);
    word[length] = 0;
    for (unsigned i = 0; (text = candidate(context, i)); i++) {
        if (strncmp(text, word, length))
            continue;
        if (!found++) {
            snprintf(longest, sizeof(longest) - 1, "%s", text);
            same = (unsigned)strlen(longest);
        }
        same = common(longest, text, same);
    }
    if (found == 1)
        longest[same++] = ' ';
    if (same > length)
        insert(e, longest + length, same - length);
    else if (found > 1)
        list_candidates(e, word, length, candidate, context);
}
