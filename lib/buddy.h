/* SPDX-License-Identifier: MIT */
/*
 * A buddy allocator over any set of page ranges.
 *
 * A free block of 2^order pages is naturally aligned, and its first page holds the links of its
 * free list. One state byte for each page says what begins at that page: a free block, a block that
 * was handed out, or nothing. The state bytes turn a double free, or a free with the wrong order,
 * into a BUG immediately.
 *
 * The state bytes are kept by section, which is the span of the largest block. A section without
 * pages has no state bytes, and the bytes of a section that is one whole block are not touched
 * until that block is split. The initialization therefore costs the same for each GiB of RAM,
 * whatever the number of its pages.
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
    uint32_t *users; /* the section's part of buddy.users; NULL: the section has no pages */
    uint8_t *bytes;  /* the section's part of buddy.state; NULL: not in use yet */
    uint64_t whole;  /* while `bytes` is NULL: the state of the section's first page */
    uint64_t unused; /* makes the size a power of two */
};

struct buddy {
    struct buddy_link lists[BUDDY_ORDERS];
    struct buddy_section *sections;
    uint8_t *state;     /* a byte for each page of the sections that have pages */
    uint32_t *users;    /* a number for each of these pages: the user of the block there */
    uint64_t end;       /* end of the span in page frames; the span begins at 0 */
    unsigned populated; /* sections that have pages */
    bool noting;        /* while set, blocks handed out are marked for buddy_next_noted() */
    uint64_t free_pages;
    uint64_t total_pages;
};

/* The number of sections of the page frames 0..end-1. */
static inline uint64_t buddy_sections(uint64_t end)
{
    return (end + BUDDY_SECTION_PAGES - 1) / BUDDY_SECTION_PAGES;
}

/* Prepares `buddy` for the page frames 0..end-1. `sections` has buddy_sections(end) elements.
 * `state` and `users` have BUDDY_SECTION_PAGES elements for each section to which pages are added;
 * the part of the last section may end at `end`. None of the three arrays needs to be cleared. */
void buddy_init(struct buddy *buddy, struct buddy_section *sections, uint8_t *state,
                uint32_t *users, uint64_t end);

/* Adds the page frames first..end-1 as free. They must lie above all frames that were added
 * before. */
void buddy_add(struct buddy *buddy, uint64_t first, uint64_t end);

/* Allocates a block for `user`, which is any number that buddy_user() shall return later. Returns
 * PAGE_NONE if no block is large enough. */
hpa_t buddy_alloc(struct buddy *buddy, unsigned order, uint32_t user) MUST_CHECK;
void buddy_free(struct buddy *buddy, hpa_t block, unsigned order);

/* Divides a block in use into blocks of the same user, which cover its first `count` pages, the
 * largest first, and frees its other pages. The block at page n of these has the order
 * buddy_part(count - n). */
void buddy_trim(struct buddy *buddy, hpa_t block, unsigned order, uint64_t count);

static inline unsigned buddy_part(uint64_t count)
{
    return 63 - (unsigned)__builtin_clzll(count);
}

/* Returns the first frame at or above `frame` at which a block begins that was handed out while
 * `noting` was set and is still in use, or the end of the span if there is none. */
uint64_t buddy_next_noted(const struct buddy *buddy, uint64_t frame);

/* The order of the block in use that begins at this frame (a BUG if there is none), and the place
 * of its user's number. */
unsigned buddy_order(const struct buddy *buddy, uint64_t frame);
uint32_t *buddy_user(const struct buddy *buddy, uint64_t frame);
