/* SPDX-License-Identifier: MIT */
/* Freestanding memory and string functions; the compiler calls some of them on its own. Copies move
 * eight bytes at a time, because an iteration of a string instruction costs the same for one byte
 * as for eight. */
#include "lib/string.h"

#include <stdint.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t size)
{
    void *to = dst;
    size_t quads = size / 8, bytes = size % 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(src), "+c"(quads) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(bytes) : : "memory");
    return dst;
}

void *memmove(void *dst, const void *src, size_t size)
{
    if ((uintptr_t)dst - (uintptr_t)src >= size)
        return memcpy(dst, src, size);
    unsigned char *to = dst;
    const unsigned char *from = src;
    while (size--)
        to[size] = from[size];
    return dst;
}

void *memset(void *dst, int byte, size_t size)
{
    void *to = dst;
    uint64_t pattern = (uint8_t)byte * 0x0101010101010101ull;
    size_t quads = size / 8, bytes = size % 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(quads) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(pattern) : "memory");
    return dst;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *x = a, *y = b;
    for (; size; x++, y++, size--)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *data, int byte, size_t size)
{
    for (const unsigned char *at = data; size; at++, size--)
        if (*at == (unsigned char)byte)
            return (void *)(uintptr_t)at;
    return NULL;
}

size_t strnlen(const char *string, size_t max)
{
    size_t length = 0;
    while (length < max && string[length])
        length++;
    return length;
}

size_t strlen(const char *string)
{
    return strnlen(string, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max)
{
    for (; max && *a && *a == *b; max--)
        a++, b++;
    return max ? (unsigned char)*a - (unsigned char)*b : 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *string, int c)
{
    return memchr(string, c, strlen(string) + 1);
}
