/*
 * Host pages. page_alloc() hands out naturally aligned blocks of 2^order pages, *not* cleared.
 * Every block is reached through the direct map. The functions that are
 * not inline are supplied by arch/x86/memory.c, and by the hosted tests over malloc().
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

/* A block of 2^order pages, order 0 to PAGE_ORDER_MAX; PAGE_NONE when none of that size is left.
 * Supplied by arch/x86/memory.c. */
hpa_t page_alloc(unsigned order) MUST_CHECK;

/* Why there was none, and what to do: the end of a sentence. Supplied by arch/x86/memory.c. */
const char *page_shortage(void);

/* Gives back a block got from page_alloc() with the same order. Supplied by arch/x86/memory.c. */
void page_free(hpa_t page, unsigned order);

/* The direct map, both ways. The address must be RAM. Where the map begins is set once, before any
 * page is used; walks of tables translate at each level, so the way there is inline.
 * Supplied by arch/x86/memory.c. */
extern uint64_t direct_map;

static inline void *phys_to_virt(hpa_t address)
{
    return (void *)(direct_map + address.v);
}

/* Supplied by arch/x86/memory.c. */
hpa_t virt_to_phys(const void *pointer);

/* Clears whole pages with `rep stosq`, one emulated instruction for eight bytes. Supplied by
 * arch/x86/memory.c. */
void page_clear(void *pages, unsigned order);
