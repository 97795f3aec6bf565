/* SPDX-License-Identifier: MIT */
/*
 * Host pages. page_alloc() returns naturally aligned blocks of 2^order pages, which are *not*
 * cleared. Every block is accessed through the direct map. The functions that are not inline are
 * supplied by arch/x86/memory.c, and by the hosted tests on top of malloc().
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define PAGE_NONE HPA(~0ull)

static inline bool page_is_none(hpa_t page)
{
    return page.v == ~0ull;
}

#define PAGE_ORDER_MAX 18u /* 1 GiB */

/* Allocates a block of 2^order pages, with an order of 0 to PAGE_ORDER_MAX. Returns PAGE_NONE if no
 * block of that size is left, or if the account from which this CPU takes pages is exhausted.
 * Supplied by arch/x86/memory.c. */
hpa_t page_alloc(unsigned order) MUST_CHECK;

/* Why page_alloc() failed and what to do about it, as the end of a message. Supplied by
 * arch/x86/memory.c. */
const char *page_shortage(void);

/* Frees a block that page_alloc() returned for the same order. Supplied by arch/x86/memory.c. */
void page_free(hpa_t page, unsigned order);

/* Gives back all but the first `count` pages of a block that page_alloc() returned for this order.
 * page_free_trimmed() then frees these `count` pages. Supplied by arch/x86/memory.c. */
void page_trim(hpa_t page, unsigned order, uint64_t count);
void page_free_trimmed(hpa_t page, uint64_t count);

/* Translation by the direct map, in both directions. The address must be RAM. The start of the map
 * is set once, before any page is used. phys_to_virt() is inline because page walks translate at
 * each level. Supplied by arch/x86/memory.c. */
extern uint64_t direct_map;

static inline void *phys_to_virt(hpa_t address)
{
    return (void *)(direct_map + address.v);
}

/* Supplied by arch/x86/memory.c. */
hpa_t virt_to_phys(const void *pointer);

/* Clears whole pages with `rep stosq`, which clears eight bytes per iteration. Supplied by
 * arch/x86/memory.c. */
void page_clear(void *pages, unsigned order);
