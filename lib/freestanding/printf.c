/* SPDX-License-Identifier: MIT */
/* Formatted output into a buffer: the subset of printf that lib/string.h lists. */
#include "lib/string.h"

#include <stdbool.h>
#include <stdint.h>

struct sink {
    char *buffer;
    size_t size;
    size_t length; /* the length of the complete output, as snprintf() returns it */
};

struct spec {
    bool left, zero, alternate;
    char sign; /* printed before a non-negative number: 0 (nothing), '+' or ' ' */
    int width;
    int precision; /* -1: none given */
    int longs;     /* 0 int, 1 or 2 long, -1 short, -2 char */
};

static void sink_put(struct sink *sink, char c)
{
    if (sink->length + 1 < sink->size)
        sink->buffer[sink->length] = c;
    sink->length++;
}

static void sink_put_padded(struct sink *sink, const struct spec *spec, const char *text,
                            size_t length)
{
    size_t width = spec->width > 0 ? (size_t)spec->width : 0;
    size_t padding = width > length ? width - length : 0;
    for (size_t i = 0; !spec->left && i < padding; i++)
        sink_put(sink, ' ');
    for (size_t i = 0; i < length; i++)
        sink_put(sink, text[i]);
    for (size_t i = 0; spec->left && i < padding; i++)
        sink_put(sink, ' ');
}

static void sink_put_number(struct sink *sink, struct spec *spec, uint64_t value,
                            const char *prefix, unsigned base, bool upper)
{
    char text[80];
    size_t end = sizeof(text), at = end;
    do {
        unsigned digit = (unsigned)(value % base);
        text[--at] = (char)(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
        value /= base;
    } while (value);

    size_t prefix_length = strlen(prefix);
    int digits = spec->precision;
    if (digits < 0 && spec->zero && !spec->left)
        digits = spec->width - (int)prefix_length;
    while ((int)(end - at) < digits && at > prefix_length)
        text[--at] = '0';
    for (size_t i = prefix_length; i--;)
        text[--at] = prefix[i];
    sink_put_padded(sink, spec, text + at, end - at);
}

static int64_t next_signed(const struct spec *spec, va_list *arguments)
{
    if (spec->longs > 0)
        return va_arg(*arguments, int64_t);
    int value = va_arg(*arguments, int);
    return spec->longs == -2 ? (signed char)value : spec->longs == -1 ? (short)value : value;
}

static uint64_t next_unsigned(const struct spec *spec, va_list *arguments)
{
    if (spec->longs > 0)
        return va_arg(*arguments, uint64_t);
    unsigned value = va_arg(*arguments, unsigned);
    return spec->longs == -2   ? (unsigned char)value
           : spec->longs == -1 ? (unsigned short)value
                               : value;
}

static const char *parse_number(const char *at, int *value, va_list *arguments)
{
    *value = 0;
    if (*at == '*') {
        *value = va_arg(*arguments, int);
        return at + 1;
    }
    for (; *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (*at - '0');
    return at;
}

static const char *parse_spec(const char *at, struct spec *spec, va_list *arguments)
{
    *spec = (struct spec){.precision = -1};
    for (;; at++) {
        if (*at == '-')
            spec->left = true;
        else if (*at == '0')
            spec->zero = true;
        else if (*at == '#')
            spec->alternate = true;
        else if (*at == '+' || *at == ' ')
            spec->sign = *at;
        else
            break;
    }
    at = parse_number(at, &spec->width, arguments);
    if (spec->width < 0) {
        spec->left = true;
        spec->width = -spec->width;
    }
    if (*at == '.')
        at = parse_number(at + 1, &spec->precision, arguments);
    for (;; at++) {
        if (*at == 'l' || *at == 'z')
            spec->longs++;
        else if (*at == 'h')
            spec->longs--;
        else
            return at;
    }
}

/* Formats the argument of one conversion. An unknown conversion is printed as it stands. */
static void sink_put_conversion(struct sink *sink, struct spec *spec, char conversion,
                                va_list *arguments)
{
    switch (conversion) {
    case 'd':
    case 'i': {
        int64_t value = next_signed(spec, arguments);
        char sign[2] = {value < 0 ? '-' : spec->sign, 0};
        sink_put_number(sink, spec, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, sign, 10,
                        false);
        break;
    }
    case 'u':
        sink_put_number(sink, spec, next_unsigned(spec, arguments), "", 10, false);
        break;
    case 'x':
    case 'X': {
        uint64_t value = next_unsigned(spec, arguments);
        const char *prefix = conversion == 'X' ? "0X" : "0x";
        sink_put_number(sink, spec, value, spec->alternate && value ? prefix : "", 16,
                        conversion == 'X');
        break;
    }
    case 'p':
        sink_put_number(sink, spec, (uintptr_t)va_arg(*arguments, void *), "0x", 16, false);
        break;
    case 'c': {
        char c = (char)va_arg(*arguments, int);
        sink_put_padded(sink, spec, &c, 1);
        break;
    }
    case 's': {
        const char *text = va_arg(*arguments, const char *);
        if (!text)
            text = "(null)";
        sink_put_padded(sink, spec, text,
                        strnlen(text, spec->precision < 0 ? SIZE_MAX : (size_t)spec->precision));
        break;
    }
    case '%':
        sink_put(sink, '%');
        break;
    default:
        sink_put(sink, '%');
        sink_put(sink, conversion);
        break;
    }
}

int vsnprintf(char *buffer, size_t size, const char *format, va_list original)
{
    struct sink sink = {.buffer = buffer, .size = size};
    va_list arguments;
    va_copy(arguments, original);

    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            sink_put(&sink, *at);
            continue;
        }
        struct spec spec;
        at = parse_spec(at + 1, &spec, &arguments);
        sink_put_conversion(&sink, &spec, *at, &arguments);
        if (!*at)
            break;
    }
    va_end(arguments);
    if (size)
        buffer[sink.length < size ? sink.length : size - 1] = 0;
    return (int)sink.length;
}

int snprintf(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}
