/* SPDX-License-Identifier: MIT */
/* The bits of a register in words. */
#pragma once

#include <stdint.h>

struct bit_word {
    uint64_t mask; /* a single bit */
    const char *name;
};

/* Writes the names of the bits that are set in `value`, separated by ", "; a bit without a name as
 * "bit N". Returns the length of the complete text, which may have been cut. */
unsigned bit_words(uint64_t value, const struct bit_word *words, unsigned count, char *buffer,
                   unsigned size);
