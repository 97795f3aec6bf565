/* SPDX-License-Identifier: MIT */
/*
 * Configuration words: `name` or `name=value`, separated by spaces, as on the command line and in
 * the string of a module. A table says which words exist and where the value of each is stored. An
 * unknown word, a word that is given twice, or a bad value is refused by a message that lists what
 * is allowed.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

enum word_kind {
    WORD_FLAG,   /* no value; 1 is stored */
    WORD_NUMBER, /* decimal or 0x…, min..max */
    WORD_SIZE,   /* bytes, with K, M or G; min..max */
    WORD_CHOICE, /* one of `choices`; its index plus `min` is stored. If the first is "", no value
                  * means it */
    WORD_TEXT,   /* 1 to WORD_TEXT_MAX - 1 characters */
};

#define WORD_TEXT_MAX 64

struct word {
    const char *name;
    enum word_kind kind;
    size_t offset; /* in the target, of a uint64_t, or of a char[WORD_TEXT_MAX] for WORD_TEXT */
    uint64_t min, max;
    const char *const *choices; /* ends with NULL */
};

/* Reads a number, decimal or 0x…, of `length` characters. Returns false if it is none, or does not
 * fit. */
bool word_number(const char *text, int length, uint64_t *value) MUST_CHECK;

/* Parses `line` up to its end or to a lone `--` into `target`, which holds the defaults. `where`
 * begins each message ("command line", "module x"). A table has at most 64 words. Returns the
 * offset of the text after `--` (or of the end), or -EINVAL after a message. */
int words_parse(const char *line, const struct word *table, size_t words, void *target,
                const char *where) MUST_CHECK;
