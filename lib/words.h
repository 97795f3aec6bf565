/*
 * Configuration words: `name` or `name=value`, separated by spaces, as on the command line and in
 * the string of a module. A table says which words exist and where each value goes. Strict: an
 * unknown word, a word given twice or a bad value is refused by a sentence that lists what is
 * allowed.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

enum word_kind {
    WORD_FLAG,   /* no value; 1 is stored */
    WORD_NUMBER, /* decimal or 0x…, min..max */
    WORD_SIZE,   /* bytes, with K, M or G; min..max */
    WORD_CHOICE, /* one of `choices`; its index is stored */
    WORD_TEXT,   /* 1 to WORD_TEXT_MAX - 1 characters */
};

#define WORD_TEXT_MAX 64

struct word {
    const char *name;
    enum word_kind kind;
    size_t offset; /* in the target: a uint64_t, or char[WORD_TEXT_MAX] for WORD_TEXT */
    uint64_t min, max;
    const char *const *choices; /* ends with NULL */
};

/* Parses `line` up to its end or a lone `--` into `target`, which holds the defaults. `where`
 * begins each sentence ("command line", "module x"). At most 64 words in a table. Returns the
 * offset of what follows `--` (or of the end), or -EINVAL after one log_error(). */
int words_parse(const char *line, const struct word *table, size_t words, void *target,
                const char *where) MUST_CHECK;
