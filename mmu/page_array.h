/* SPDX-License-Identifier: MIT */
/*
 * An array with one element for each page of a slot: a bit for the dirty log and for the sides, a
 * count for write tracking. Inside mmu/.
 */
#pragma once

#include "lib/types.h"

/* The width of an element in bits. */
#define PAGE_ARRAY_BITS   1u
#define PAGE_ARRAY_COUNTS 16u

/* Its elements are whatever the memory held. NULL: no memory, or the array would be larger than the
 * largest block of memory. */
void *page_array_alloc(uint64_t pages, unsigned width);

/* The size of the array in pages of memory. */
uint64_t page_array_size(uint64_t pages, unsigned width);

/* `array` may be NULL. */
void page_array_free(void *array, uint64_t pages, unsigned width);
