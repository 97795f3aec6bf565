/* SPDX-License-Identifier: MIT */
/*
 * Makes foreign text printable: text from a guest or a boot loader must not move the cursor of the
 * reader's terminal, nor begin a line that looks like one of the hypervisor's.
 */
#pragma once

#include <stddef.h>

/* The longest form of one character, `\x1b`. */
#define VISIBLE_MAX 4

/* Writes the printable form of `c` without a terminating zero and returns its length. The form of a
 * printable ASCII character is itself; that of any other is a backslash, an x and two hexadecimal
 * digits. */
size_t visible(char shown[VISIBLE_MAX], char c);

/* Writes the printable form of a whole string. `size`, truncation and the result are as for
 * snprintf(), except that the form of one character is never split. */
size_t visible_text(char *to, size_t size, const char *from);
