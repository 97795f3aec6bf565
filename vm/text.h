/* SPDX-License-Identifier: MIT */
/*
 * Text that is kept until it is printed, in pages and, if no page is free, in a few spare bytes.
 *
 * The caller serialises the calls for one text, except that text_size() may be called at any time.
 * Pure.
 */
#pragma once

#include "lib/types.h"

/* Bytes for the last lines, so that a VM's result is kept even if no page is free. */
#define TEXT_SPARE 1024u

struct text_page;

struct text {
    uint64_t size; /* bytes that are kept */
    struct text_page *first, *last;
    size_t read;   /* bytes of the first page that have been taken */
    bool complete; /* nothing is added any more */
    bool pages; /* without them, the spare bytes are used again once all of them have been taken */
    size_t spare_read, spare_used;
    char spare[TEXT_SPARE];
};

static inline uint64_t text_size(const struct text *text)
{
    return __atomic_load_n(&text->size, __ATOMIC_SEQ_CST);
}

/* Adds all bytes and returns true, or adds nothing and returns false. The bytes are added to the
 * pages, unless no page is free or the spare bytes are in use already, because the order would
 * change. In these two cases they are added to the spare bytes if `spare` is set. */
bool text_put(struct text *text, const char *bytes, size_t size, bool spare);

/* Returns the bytes that are to be taken next, and their number, which is 0 if nothing is kept. */
const char *text_peek(struct text *text, size_t *size);

/* Removes `size` of the bytes that text_peek() returns. */
void text_take(struct text *text, size_t size);

/* Says that nothing will be added. Then no page is left when all text has been taken. */
void text_complete(struct text *text);
