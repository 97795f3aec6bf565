/* SPDX-License-Identifier: MIT */
/* The bits of a register in words; see the header. */
#include "lib/bit_words.h"

#include "lib/bits.h"
#include "lib/string.h"

#include <stddef.h>

static const char *bit_name(uint64_t mask, const struct bit_word *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (words[i].mask == mask)
            return words[i].name;
    return NULL;
}

unsigned bit_words(uint64_t value, const struct bit_word *words, unsigned count, char *buffer,
                   unsigned size)
{
    unsigned length = 0;
    if (size)
        buffer[0] = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        char number[8];
        if (!(value & BIT(bit)))
            continue;
        const char *name = bit_name(BIT(bit), words, count);
        if (!name) {
            snprintf(number, sizeof(number), "bit %u", bit);
            name = number;
        }
        unsigned at = length < size ? length : size;
        length += (unsigned)snprintf(buffer + at, size - at, "%s%s", length ? ", " : "", name);
    }
    return length;
}
