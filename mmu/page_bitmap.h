/* SPDX-License-Identifier: MIT */
/* A bit for each page of a slot, for the dirty log and for the sides. Inside mmu/. */
#pragma once

#include "lib/types.h"

/* Its bits are whatever the memory held, which is so many pages. NULL: no memory, or more pages
 * than one block of memory can say. */
uint64_t *page_bitmap_alloc(uint64_t pages);
uint64_t page_bitmap_size(uint64_t pages);
void page_bitmap_free(uint64_t *bitmap, uint64_t pages);
