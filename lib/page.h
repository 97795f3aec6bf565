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

/* Allocates a block for the hypervisor itself that is never freed, and that is not reported as
 * such. Supplied by arch/x86/memory.c. */
hpa_t page_alloc_for_ever(unsigned order) MUST_CHECK;

/* All pages that page_alloc() returns lie below this address. Supplied by arch/x86/memory.c. */
uint64_t page_end(void);

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

/* ---- Memory that is private to a TD ---------------------------------------------------------- */

/* Takes a block of 2 MiB (order 9) that page_alloc() returned out of the direct map. Returns the
 * debt that each CPU has to pay before the block is used (lib/host_tlb.h), or 0 if no page is left
 * for a page table; then nothing has changed. page_show() maps the block again. Supplied by
 * arch/x86/paging.c. */
uint64_t page_hide(hpa_t block) MUST_CHECK;
void page_show(hpa_t block);

/* Is the page in a block that page_hide() has taken out of the direct map? Supplied by
 * arch/x86/paging.c. */
bool page_is_hidden(hpa_t page);

/* This CPU's window onto a page of 4 KiB that is not in the direct map. It is valid until this
 * CPU's next call but one. Only the secure side calls it. Supplied by arch/x86/window.c. */
void *page_window(hpa_t frame);
