/* SPDX-License-Identifier: MIT */
/* Names for a line of bounded length, of which none is cut: those that do not fit are counted. A
 * list that is all zeros is empty. */
#pragma once

#include <stddef.h>

#define NAME_LIST_MAX 80

struct name_list {
    char text[NAME_LIST_MAX];
    unsigned left_out;
};

void name_list_add(struct name_list *list, const char *name);

/* Writes the list as in "one, two, and 3 more". */
void name_list_print(const struct name_list *list, char *text, size_t size);
