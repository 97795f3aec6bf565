/* SPDX-License-Identifier: MIT */
/* Makes foreign text printable; see the header. Pure. */
#include "lib/visible.h"

#include "lib/string.h"

#include <stdbool.h>

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

size_t visible(char shown[VISIBLE_MAX], char c)
{
    static const char digits[] = "0123456789abcdef";
    if (is_printable(c)) {
        shown[0] = c;
        return 1;
    }
    shown[0] = '\\';
    shown[1] = 'x';
    shown[2] = digits[(unsigned char)c >> 4];
    shown[3] = digits[c & 15];
    return VISIBLE_MAX;
}

size_t visible_text(char *to, size_t size, const char *from)
{
    size_t length = 0, end = 0;
    for (; is_printable(*from) && end + 1 < size; from++) /* common case: everything is printable */
        to[end++] = *from;
    for (length = end; *from; from++) {
        char shown[VISIBLE_MAX];
        size_t one = visible(shown, *from);
        if (end == length && length + one < size) {
            memcpy(to + length, shown, one);
            end += one;
        }
        length += one;
    }
    if (size)
        to[end] = 0;
    return length;
}
