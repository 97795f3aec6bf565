/*
 * What the hypervisor says. Lines go to every console and into the log ring. The hosted tests
 * supply log_line() themselves and look at the text.
 *
 *   log_info   facts of the boot and results
 *   log_warn   something is wrong but goes on; makes the run fail (`EXIT 19 warned`)
 *   log_error  a sentence that says what failed, with which value, and what to do
 */
#pragma once

#include "lib/compiler.h"

enum log_level {
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
};

/* Prints one line; the newline is added. At most 255 characters, the rest is cut. */
void log_line(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
