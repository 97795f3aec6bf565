/*
 * What the hypervisor says. A line goes to every console and into the log ring, where a debugger
 * or a later reader finds the last 64 KiB even if no console was there. The hosted tests supply
 * log_line() themselves and look at the text.
 *
 *   log_info   facts of the boot and results
 *   log_warn   something is wrong but goes on; makes the run end with `EXIT 3 warned`
 *   log_error  a sentence that says what failed, with which value, and what to do
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

#define LOG_LINE_MAX  256
#define LOG_RING_SIZE 0x10000

/* Prints one line; the newline is added. What exceeds LOG_LINE_MAX - 2 characters is cut, and what
 * is not printable is shown as lib/visible.h says. */
void log_line(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* From now on `divert` is asked first: where it returns true, it has taken the line, which has its
 * level's prefix, and nothing is printed. NULL: the machine is about to stop; then it is called a
 * last time, with no line, to print what it has taken, and from then on all is printed. */
void log_divert(bool (*divert)(enum log_level level, const char *line));

/* Prints text as it is: a piece of lines that somebody kept, newlines included. Another line that
 * comes while the last one is not finished begins on a line of its own. */
void log_text(const char *text, size_t length);

/* Adds a console and gives it what the ring holds already. At most LOG_CONSOLES. */
#define LOG_CONSOLES 4
void log_add_console(void (*write)(const char *text, size_t length));

/* Lines of LOG_WARN so far. */
unsigned log_warnings(void);
