/* SPDX-License-Identifier: MIT */
/*
 * The part of <string.h> and <stdio.h> that the tree uses. Freestanding builds take it from
 * lib/freestanding/, and hosted builds take it from the C library; both have these prototypes.
 */
#pragma once

#include "lib/compiler.h"

#include <stdarg.h>
#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t size);
void *memmove(void *dst, const void *src, size_t size);
void *memset(void *dst, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memchr(const void *data, int byte, size_t size);
size_t strlen(const char *string);
size_t strnlen(const char *string, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);
char *strchr(const char *string, int c);

/* Conversions: %c %s %d %i %u %x %X %p %% with l, ll, z, h and hh; the flags - 0 # + and space;
 * width and precision, each also as *. */
int snprintf(char *buffer, size_t size, const char *format, ...) PRINTF(3, 4);
int vsnprintf(char *buffer, size_t size, const char *format, va_list arguments);
