/* SPDX-License-Identifier: MIT */
/*
 * An array with one element for each page of a slot: a bit for the dirty log and for the sides, a
 * counter for write tracking. Private to mmu/.
 */
#pragma once

#include "lib/types.h"

/* The width of an element in bits. */
#define PAGE_ARRAY_BITS   1u
#define PAGE_ARRAY_COUNTS 16u

/* Allocates an array, whose contents are undefined. Returns NULL if there is no memory or the array
 * would exceed the largest block of memory. */
void *page_array_alloc(uint64_t pages, unsigned width);

/* The size of the array in pages of memory. */
uint64_t page_array_size(uint64_t pages, unsigned width);

/* Frees an array; `array` may be NULL. */
void page_array_free(void *array, uint64_t pages, unsigned width);
