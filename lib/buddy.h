/*
 * A buddy allocator over any set of page ranges.
 *
 * A free block of 2^order pages is naturally aligned; its first page holds the links of its free
 * list. One byte for each page says what begins there: a free block, a block that was handed out,
 * or nothing. With it, a double free or a free with the wrong order is a BUG at once.
 *
 * The bytes are kept by section, the span of the largest block. A section in which there are no
 * pages has none, and those of a section that is one whole block are not touched before it is
 * split. So to begin costs the same for a GiB of any machine, whatever the number of its pages.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define BUDDY_ORDERS        19 /* up to 1 GiB */
#define BUDDY_SECTION_PAGES (1ull << (BUDDY_ORDERS - 1))

struct buddy_link {
    struct buddy_link *next, *prev;
};

struct buddy_section {
    uint32_t *users; /* its part of the words below; NULL: it has no pages */
    uint8_t *bytes;  /* its part of the bytes; NULL: they are not in use yet */
    uint64_t whole;  /* until then, the byte of its first page */
    uint64_t unused; /* to make its size a power of two */
};

struct buddy {
    struct buddy_link lists[BUDDY_ORDERS];
    struct buddy_section *sections;
    uint8_t *state;     /* a byte for each page of the sections that have pages */
    uint32_t *users;    /* and a word: who got the block that begins there */
    uint64_t end;       /* of the span, in page frames; it begins at 0 */
    unsigned populated; /* sections that have pages */
    bool noting;        /* set it, and buddy_next_noted() finds what is handed out from then on */
    uint64_t free_pages;
    uint64_t total_pages;
};

/* How many sections page frames 0..end-1 have. */
static inline uint64_t buddy_sections(uint64_t end)
{
    return (end + BUDDY_SECTION_PAGES - 1) / BUDDY_SECTION_PAGES;
}

/* Prepares for page frames 0..end-1. `sections` has buddy_sections(end) elements; `state` and
 * `users` have BUDDY_SECTION_PAGES elements for each section in which pages are added, the last of
 * all may be cut off at `end`. Neither need be cleared. */
void buddy_init(struct buddy *buddy, struct buddy_section *sections, uint8_t *state,
                uint32_t *users, uint64_t end);

/* Adds the frames first..end-1 as free. They lie above all that were added before. */
void buddy_add(struct buddy *buddy, uint64_t first, uint64_t end);

/* A block for `user`, any number that says later who that was. PAGE_NONE: there is none. */
hpa_t buddy_alloc(struct buddy *buddy, unsigned order, uint32_t user) MUST_CHECK;
void buddy_free(struct buddy *buddy, hpa_t block, unsigned order);

/* The first frame from `frame` on where a block begins that was handed out while `noting` was set;
 * the end of the span: there is none. */
uint64_t buddy_next_noted(const struct buddy *buddy, uint64_t frame);

/* Of the block in use that begins at this frame: its order, and the word for who has it. */
unsigned buddy_order(const struct buddy *buddy, uint64_t frame);
uint32_t *buddy_user(const struct buddy *buddy, uint64_t frame);
