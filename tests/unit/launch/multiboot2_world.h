/* SPDX-License-Identifier: MIT */
/* A multiboot2 program for the tests of its loader, whose header each test spoils. */
#pragma once

#include "tests/unit/launch/linux_world.h"

#define HEADER   0x200u /* of the file */
#define TAGS     (HEADER + 16)
#define TEXT     0x1000u
#define BASE     0x200000u
#define SIZE     0x3000u /* in memory; half of it is in the file */
#define ENTRY    (BASE + 0x10)
#define OPTIONAL 1u

extern uint64_t next_tag; /* offset in the file of what follows the end tag */

/* Make the file a program with a header without tags: as an ELF32 file of one segment, and as an
 * ELF64 file with the same header, which is linked to the upper half, as its entry point is. */
void make_32(void);
void make_64(void);

/* Writes the header's fields; its length includes the tags that have been put so far. */
void finish_header(uint32_t architecture);

/* Puts a tag with these 32-bit values before the end tag. */
void put_tag(uint32_t type, uint32_t flags, uint32_t words, const uint32_t *word);
#define PUT_TAG(type, flags, ...)                         \
    do {                                                  \
        const uint32_t words_[] = {__VA_ARGS__};          \
        put_tag(type, flags, ARRAY_SIZE(words_), words_); \
    } while (0)
