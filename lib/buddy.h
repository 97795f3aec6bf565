/*
 * A buddy allocator over any set of page ranges.
 *
 * A free block of 2^order pages is naturally aligned; its first page holds the links of its free
 * list. One byte for each page of the span says what begins there: a free block, a block that was
 * handed out, or nothing. With it, a double free or a free with the wrong order is a BUG at once.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define BUDDY_ORDERS 19 /* up to 1 GiB */

struct buddy_link {
    struct buddy_link *next, *prev;
};

struct buddy {
    struct buddy_link lists[BUDDY_ORDERS];
    uint8_t *state;      /* one byte per page of the span */
    uint64_t first, end; /* the span, in page frames */
    uint64_t free_pages;
    uint64_t total_pages;
};

/* Prepares for page frames first..end-1; `state` has a byte for each and need not be cleared. */
void buddy_init(struct buddy *buddy, uint8_t *state, uint64_t first, uint64_t end);

/* Adds the frames first..end-1 as free. They must lie in the span and not be there already. */
void buddy_add(struct buddy *buddy, uint64_t first, uint64_t end);

hpa_t buddy_alloc(struct buddy *buddy, unsigned order) MUST_CHECK;
void buddy_free(struct buddy *buddy, hpa_t block, unsigned order);

/* Of the block in use that begins at this frame. */
unsigned buddy_order(struct buddy *buddy, uint64_t frame);
