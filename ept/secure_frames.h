/* SPDX-License-Identifier: MIT */
/*
 * The owners of host pages: one map for the machine, as the TDX module's PAMT is.
 *
 * Memory enters the map in blocks of 2 MiB, when it has left the hypervisor's direct map, and each
 * block brings an entry for each of its 4 KiB frames. In the map a frame is FREE, or it belongs to
 * exactly one TD, as a table or as one of the guest's pages. A block leaves the map when all of its
 * frames are FREE and hold nothing of a guest (ept/secure_blocks.h).
 *
 * A leaf of 2 MiB has one entry, that of its first frame, and takes its whole block, so claiming it
 * takes as long as claiming a small page. For that, each block counts its small pages. An owner is
 * only ever replaced by compare-exchange, so two CPUs that claim the same memory for different TDs,
 * which have no lock in common, cannot both get it. Private to ept/secure*.c.
 */
#pragma once

#include "ept/format.h"
#include "lib/compiler.h"

enum secure_state {
    SECURE_FREE, /* with an owner: the owner's CPU is clearing it */
    SECURE_TABLE,
    SECURE_PENDING, /* a leaf that the guest has not accepted yet: no access */
    SECURE_MAPPED,
    SECURE_BLOCKED, /* a leaf or table that is about to be removed: no access, but maybe in TLBs */
};

/* What a FREE frame holds. */
enum secure_content {
    SECURE_FOREIGN, /* what the hypervisor left there */
    SECURE_ZERO,
    SECURE_GUESTS, /* what a guest left there: it is cleared before the block leaves the map */
};

struct secure_td;

struct secure_frame {
    struct secure_td *owner;
    uint64_t gfn;      /* the first guest frame of what it maps or, as a table, covers */
    uint64_t epoch;    /* BLOCKED: that of the TD at that moment */
    uint8_t level;     /* of the entry that points to it */
    uint8_t state;     /* an enum secure_state */
    uint8_t unblocked; /* BLOCKED: the state before */
    uint8_t content;   /* FREE: an enum secure_content, for whoever claims the frame */
};

/* A place for a block. `use` is 0, or SECURE_PRESENT with SECURE_LEAF, or with the number of small
 * pages that have an owner; calls that look at an entry whose owner they don't know count as
 * well. */
#define SECURE_PRESENT BIT(31)
#define SECURE_LEAF    BIT(30) /* one owner has it all */

struct secure_block {
    struct secure_frame *frames; /* EPT_ENTRIES of them; NULL: the block is not in the map */
    uint32_t use;
};

#define SECURE_BLOCK_SIZE (EPT_ENTRIES * PAGE_SIZE)

struct secure_map {
    uint64_t count; /* blocks of 2 MiB, from address 0 */
    struct secure_block *blocks;
};

/* Makes `td` the owner of a page of `level` (4K or 2M), whose state stays FREE. Returns
 * TDX_SUCCESS; TDX_OPERAND_INVALID: not aligned; TDX_OPERAND_ADDR_RANGE_ERROR: not in the map;
 * TDX_PAGE_METADATA_INCORRECT: the page, or a part of it, has an owner already. */
uint64_t secure_claim(struct secure_map *map, struct secure_td *td, hpa_t page,
                      unsigned level) MUST_CHECK;

/* Makes a page, whose state is FREE, one without an owner. The caller is the owner, and the only
 * one who uses it. `content` is what it holds now, or SECURE_KNOWN if that is known of each of its
 * frames. */
#define SECURE_KNOWN (-1)
void secure_release(struct secure_map *map, hpa_t page, unsigned level, int content);

/* Turns a page of 2 MiB into 512 small ones, which have its owner and state. */
void secure_split(struct secure_map *map, hpa_t page);

/* Keeps the block of any page in the map, so that the page's entry can be looked at. Returns
 * TDX_SUCCESS, or why there is no page of 4 KiB at this address; see secure_claim(). */
uint64_t secure_hold(struct secure_map *map, hpa_t page) MUST_CHECK;
void secure_drop(struct secure_map *map, hpa_t page);

static inline struct secure_block *secure_block(const struct secure_map *map, hpa_t page)
{
    return &map->blocks[page.v / SECURE_BLOCK_SIZE];
}

/* The entry of the page at this address, whose block is in the map and stays there, because the
 * caller's TD owns something in it. */
static inline struct secure_frame *secure_frame(const struct secure_map *map, hpa_t page)
{
    return &secure_block(map, page)->frames[page.v / PAGE_SIZE % EPT_ENTRIES];
}

/* The rest of the entry may be read only by the owner, with its lock. */
static inline const struct secure_td *secure_owner(const struct secure_frame *frame)
{
    return __atomic_load_n(&frame->owner, __ATOMIC_ACQUIRE);
}
