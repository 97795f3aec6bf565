/*
 * Text of somebody else's, made visible: what a guest or a boot loader wrote must not move the
 * cursor of our reader's terminal, nor begin a line that looks like one of ours.
 */
#pragma once

#include <stddef.h>

/* The longest form of one character, `\x1b`. */
#define VISIBLE_MAX 4

/* Writes how `c` is shown, without a terminating zero, and returns the length: itself where it is
 * printable ASCII, else a backslash, an x and two hexadecimal digits. */
size_t visible(char shown[VISIBLE_MAX], char c);

/* The same of a whole string, as snprintf() counts and cuts; a form is never cut in two. */
size_t visible_text(char *to, size_t size, const char *from);
