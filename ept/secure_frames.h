/* SPDX-License-Identifier: MIT */
/*
 * The owners of host pages. The map has an entry for each 4 KiB frame of the memory that TDs can
 * have. A frame is FREE, and then the hypervisor may do with it what it likes, or it belongs to
 * exactly one TD, as a table or as one of the guest's pages. Private to ept/secure*.c.
 *
 * A leaf of 2 MiB has one entry, that of its first frame, and takes its whole aligned piece of
 * 2 MiB, so claiming it takes as long as claiming a small page. For that, each piece counts its
 * small pages. An owner is only ever replaced by compare-exchange, so two CPUs that claim the same
 * memory for different TDs, which have no lock in common, cannot both get it.
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

struct secure_td;

struct secure_frame {
    struct secure_td *owner;
    uint64_t gfn;      /* the first guest frame of what it maps or, as a table, covers */
    uint64_t epoch;    /* BLOCKED: that of the TD at that moment */
    uint8_t level;     /* of the entry that points to it */
    uint8_t state;     /* an enum secure_state */
    uint8_t unblocked; /* BLOCKED: the state before */
};

struct secure_map {
    hpa_t base;                  /* aligned to 2 MiB */
    uint64_t count;              /* frames */
    struct secure_frame *frames; /* `count` of them, zeroed */
    uint32_t *pieces;            /* for each 2 MiB, also the last, incomplete one; zeroed */
};

/* Makes `td` the owner of a page of `level` (4K or 2M), whose state stays FREE. Returns
 * TDX_SUCCESS; TDX_OPERAND_INVALID: not aligned; TDX_OPERAND_ADDR_RANGE_ERROR: not in the pool;
 * TDX_PAGE_METADATA_INCORRECT: the page, or a part of it, has an owner already. */
uint64_t secure_claim(struct secure_map *map, struct secure_td *td, hpa_t page,
                      unsigned level) MUST_CHECK;

/* Makes a page FREE, without an owner. The caller has cleared it, and is the only one who uses it.
 */
void secure_release(struct secure_map *map, hpa_t page, unsigned level);

/* Turns a page of 2 MiB into 512 small ones, which have its owner and state. */
void secure_split(struct secure_map *map, hpa_t page);

/* The entry of the page at this address, which lies in the pool. */
static inline struct secure_frame *secure_frame(const struct secure_map *map, hpa_t page)
{
    return &map->frames[(page.v - map->base.v) >> PAGE_SHIFT];
}

/* The rest of the entry may be read only by the owner, with its lock. */
static inline const struct secure_td *secure_owner(const struct secure_frame *frame)
{
    return __atomic_load_n(&frame->owner, __ATOMIC_ACQUIRE);
}

/* TDX_SUCCESS, or why there is no page of `level` at this address; see secure_claim(). */
uint64_t secure_check_page(const struct secure_map *map, hpa_t page, unsigned level) MUST_CHECK;
