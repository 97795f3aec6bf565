/* SPDX-License-Identifier: MIT */
/*
 * How memory enters the map of owners and leaves it, and how it is cleared: once between two users.
 * A frame is cleared before it is a guest's, and what a guest leaves in a frame is cleared before
 * the frame is used again, or before its block leaves the map. In between only the secure side can
 * reach it.
 *
 * Clearing a large page takes long, so a call clears a part of it and says how far it is: each
 * frame knows whether it is zero.
 */
#pragma once

#include "ept/secure_frames.h"

struct secure_host;

/* The most frames that one call clears: some 35,000 instructions. */
#define SECURE_PIECE 64u

/* Enters a block of 2 MiB into the map. `frames` are EPT_ENTRIES zeroed entries, which belong to
 * the map until the block leaves it. TDX_OPERAND_INVALID: not aligned.
 * TDX_OPERAND_ADDR_RANGE_ERROR: the map ends before it. TDX_PAGE_METADATA_INCORRECT: it is in the
 * map already, or in the direct map. TDX_TLB_TRACKING_NOT_DONE: a CPU may have a translation from
 * when it was in the direct map (rule X16). */
uint64_t secure_block_add(struct secure_map *map, hpa_t block,
                          struct secure_frame *frames) MUST_CHECK;

/* Takes a block out of the map. What guests have left in it is scrubbed first:
 * TDX_INTERRUPTED_RESUMABLE, if a part of that is left to do. TDX_PAGE_METADATA_INCORRECT: a TD
 * owns something in it. TDX_OPERAND_ADDR_RANGE_ERROR: it is not in the map. TDX_OPERAND_BUSY:
 * another CPU looks at one of its entries. *frames is set to the entries of secure_block_add(). */
uint64_t secure_block_remove(struct secure_map *map, hpa_t block, const struct secure_host *host,
                             void *context, struct secure_frame **frames) MUST_CHECK;

/* Clears the frames of a page that are not known to be zero, at most SECURE_PIECE of them; with
 * `scrub`, only those that hold something of a guest. Returns whether none is left. The caller has
 * claimed the page. */
bool secure_clear(struct secure_map *map, hpa_t page, unsigned level,
                  const struct secure_host *host, void *context, bool scrub) MUST_CHECK;
