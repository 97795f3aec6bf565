/* SPDX-License-Identifier: MIT */
/* An element for each page of a slot; see the header. Pure. */
#include "mmu/page_array.h"

#include "lib/page.h"

static unsigned page_array_order(uint64_t pages, unsigned width)
{
    unsigned order = 0;
    while ((PAGE_SIZE * 8) << order < pages * width)
        order++;
    return order;
}

void *page_array_alloc(uint64_t pages, unsigned width)
{
    unsigned order = page_array_order(pages, width);
    hpa_t array = order > PAGE_ORDER_MAX ? PAGE_NONE : page_alloc(order);
    return page_is_none(array) ? NULL : phys_to_virt(array);
}

uint64_t page_array_size(uint64_t pages, unsigned width)
{
    return 1ull << page_array_order(pages, width);
}

void page_array_free(void *array, uint64_t pages, unsigned width)
{
    if (array)
        page_free(virt_to_phys(array), page_array_order(pages, width));
}
