/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "lib/log_list.h"

#include "lib/string.h"

void log_list_begin(struct log_list *list, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(list->line, sizeof(list->line), format, arguments);
    va_end(arguments);
    list->used = strlen(list->line);
}

void log_list_add(struct log_list *list, const char *separator, const char *item)
{
    if (list->used + strlen(separator) + strlen(item) >= sizeof(list->line)) {
        log_error("%s", list->line);
        snprintf(list->line, sizeof(list->line), "  ");
        list->used = strlen(list->line);
        separator = "";
    }
    snprintf(list->line + list->used, sizeof(list->line) - list->used, "%s%s", separator, item);
    list->used = strlen(list->line);
}

void log_list_end(struct log_list *list)
{
    log_error("%s", list->line);
}
