/* SPDX-License-Identifier: MIT */
/*
 * Lists of what is allowed, in messages about errors. No item is cut or left out: what does not fit
 * in one line continues in the next one, after two spaces.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/log.h"

/* What log_error() and the name of a VM in front of a line leave of it. */
#define LOG_LIST_ROOM (LOG_LINE_MAX - 48)

struct log_list {
    char line[LOG_LIST_ROOM];
    size_t used;
};

void log_list_begin(struct log_list *list, const char *format, ...) PRINTF(2, 3);

/* Adds an item, after `separator` if it is not the first one of its line. */
void log_list_add(struct log_list *list, const char *separator, const char *item);

/* Prints what has not been printed yet. */
void log_list_end(struct log_list *list);
