/* SPDX-License-Identifier: MIT */
/*
 * The line editor: it turns the keys of a terminal into lines, and says what the terminal is to
 * show. It uses printable characters, backspaces and newlines only, so it works on any terminal and
 * on the hypervisor's own screen. A line that is wider than the terminal can still be typed, but
 * only its last row can be corrected on the screen.
 *
 *   ^H, Delete       removes the character before the cursor
 *   ^D, Delete key   removes the one under it; ^D in an empty line ends the dialogue
 *   ^U ^K ^W         remove what is before the cursor, what is behind it, or a word
 *   ^A ^E ^B ^F      and Home, End and the arrows move the cursor (^A is often the escape key)
 *   ^P ^N            and the arrows choose a line of the history
 *   Tab              completes a word
 *   ^L ^R            show the line again
 *   ^C               drops the line
 *
 * Pure. One CPU at a time uses an editor.
 */
#pragma once

#include "lib/types.h"

#define MONITOR_LINE   160u /* bytes of a typed line, with the terminating zero */
#define EDITOR_HISTORY 16u  /* lines */

/* The most bytes that one key makes the terminal show: four times a line, or for Tab, the words
 * that it lists, of which only so many are shown, the prompt and twice a line. */
#define EDITOR_SHOWS 800u

enum editor_event {
    EDITOR_NOTHING,
    EDITOR_LINE, /* Return: the line is in `line` until the next key or prompt */
    EDITOR_END,  /* ^D in an empty line */
    EDITOR_TAB,  /* the caller completes the word, by editor_complete() */
};

struct editor {
    char line[MONITOR_LINE]; /* with a terminating zero */
    unsigned length, cursor;
    bool taken;      /* the line has been returned: the next key begins a new one */
    uint8_t escaped; /* what has come of an escape sequence: 0, ESC, '[' or a digit */
    char history[EDITOR_HISTORY][MONITOR_LINE];
    unsigned kept; /* lines in the history, also those that have been forgotten */
    unsigned back; /* the line that is shown is this far back; 0: the one that is typed */
    char typed[MONITOR_LINE]; /* that one, while another one is shown */

    char shown[EDITOR_SHOWS]; /* for the terminal; the caller empties it before each key */
    unsigned shows;
};

/* Shows the prompt, and what has been typed so far. */
void editor_prompt(struct editor *editor);

/* Handles a key's byte. */
enum editor_event editor_key(struct editor *editor, uint8_t byte);

/* Completes the word before the cursor. `candidate` returns the words that are possible there by
 * their index, and NULL behind the last one; those that do not begin as the word are ignored. If
 * one is left, it is inserted, with a space; of several ones, what they have in common; and if that
 * is nothing, they are listed. */
void editor_complete(struct editor *editor, const char *(*candidate)(void *context, unsigned index),
                     void *context);

/* The number of the word in which the cursor is, from 0 on. */
unsigned editor_word(const struct editor *editor);
