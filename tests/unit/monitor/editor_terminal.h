/* SPDX-License-Identifier: MIT */
/* A terminal that knows printable characters, backspaces and newlines: what a person sees of the
 * line that is being edited. */
#pragma once

#include "monitor/editor.h"

#include <assert.h>
#include <string.h>

struct screen {
    char row[2 * MONITOR_LINE + EDITOR_SHOWS];
    unsigned column, width; /* of the last row */
    unsigned rows;
};

/* Shows what the editor has to show, and empties it. */
static inline void screen_take(struct screen *screen, struct editor *editor)
{
    assert(editor->shows <= EDITOR_SHOWS);
    for (unsigned i = 0; i < editor->shows; i++) {
        char c = editor->shown[i];
        if (c == '\n') {
            screen->column = screen->width = 0;
            screen->rows++;
        } else if (c == '\b') {
            assert(screen->column);
            screen->column--;
        } else {
            assert(c >= ' ' && c <= '~');
            screen->row[screen->column++] = c;
            if (screen->column > screen->width)
                screen->width = screen->column;
        }
    }
    editor->shows = 0;
}

/* Whether the row is the prompt and the line, perhaps with blanks behind it, and the cursor stands
 * where it is in the line. */
static inline void screen_check(const struct screen *screen, const struct editor *editor)
{
    static const char prompt[] = "monitor> ";
    unsigned skip = sizeof(prompt) - 1;
    assert(editor->length < MONITOR_LINE && editor->cursor <= editor->length);
    assert(strlen(editor->line) == editor->length);
    assert(screen->width >= skip + editor->length && !memcmp(screen->row, prompt, skip));
    assert(!memcmp(screen->row + skip, editor->line, editor->length));
    for (unsigned i = skip + editor->length; i < screen->width; i++)
        assert(screen->row[i] == ' ');
    assert(screen->column == skip + editor->cursor);
}
