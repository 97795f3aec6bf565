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

#include <stddef.h>

enum log_level {
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
};

#define LOG_LINE_MAX  256
#define LOG_RING_SIZE 0x10000

/* Prints one line; the newline is added. What exceeds LOG_LINE_MAX - 2 characters is cut. */
void log_line(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Adds a console and gives it what the ring holds already. At most LOG_CONSOLES. */
#define LOG_CONSOLES 4
void log_add_console(void (*write)(const char *text, size_t length));

/* Lines of LOG_WARN so far. */
unsigned log_warnings(void);
