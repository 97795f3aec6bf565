/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's messages. A line goes to every console and into the log ring, which keeps the
 * last 64 KiB for a debugger or a later reader, even if there was no console. The hosted tests
 * supply log_line() themselves and check the text.
 *
 *   log_info   facts of the boot, and results
 *   log_warn   something is wrong but goes on; makes the run end with `EXIT 3 warned`
 *   log_error  says what failed, with which value, and what to do about it
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
};

/* Ends a message about what no guest can cause; what to send with the report follows it. */
#define PLEASE_REPORT "a mistake of the hypervisor, not of the guest; please report it with "

#define LOG_LINE_MAX  256
#define LOG_RING_SIZE 0x10000

/* Prints one line and adds the newline. A line is cut after LOG_LINE_MAX - 2 characters, and
 * characters that are not printable are shown as lib/visible.h says. */
void log_line(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Offers every later line to `divert` before it is printed. If `divert` returns true, it has kept
 * the line, which includes the prefix of its level, and the line is not printed. log_divert(NULL)
 * is for a machine that is about to stop: it calls the previous `divert` once more, with NULL as
 * the line, so that it prints the lines that it has kept; all later lines are printed. */
void log_divert(bool (*divert)(enum log_level level, const char *line));

/* Prints text as it is: a piece of lines that were kept, newlines included. If the text does not
 * end with a newline, the next line still begins on a line of its own. */
void log_text(const char *text, size_t length);

/* Returns how many characters, beginning with `next`, log_text() can print without scrolling a
 * screen. If a screen has to scroll first, a piece of that is done, and the result is 0: the caller
 * calls again. */
size_t log_room(char next) MUST_CHECK;

/* Adds a console and prints on it what the ring already holds. `room` is its part of log_room();
 * NULL: it never takes long. A console that is added again gets the ring's text again. More than
 * LOG_CONSOLES are a bug: none is left out silently. */
#define LOG_CONSOLES 8
void log_add_console(void (*write)(const char *text, size_t length), size_t (*room)(char next));

/* Calls `write` with what the ring holds, in one or two pieces. Its first line may lack its
 * beginning. */
void log_replay(void (*write)(const char *text, size_t length));

/* The first one of the last LOG_ERROR lines that followed each other, without its prefix, or "".
 * For a machine that is about to stop. */
const char *log_last_error(void);

/* The number of LOG_WARN lines so far. */
unsigned log_warnings(void);
