/* SPDX-License-Identifier: MIT */
/* A bit for each page of a slot; see the header. Pure. */
#include "mmu/page_bitmap.h"

#include "lib/page.h"

static unsigned bitmap_order(uint64_t pages)
{
    unsigned order = 0;
    while ((PAGE_SIZE * 8) << order < pages)
        order++;
    return order;
}

uint64_t *page_bitmap_alloc(uint64_t pages)
{
    unsigned order = bitmap_order(pages);
    hpa_t bitmap = order > PAGE_ORDER_MAX ? PAGE_NONE : page_alloc(order);
    return page_is_none(bitmap) ? NULL : phys_to_virt(bitmap);
}

uint64_t page_bitmap_size(uint64_t pages)
{
    return 1ull << bitmap_order(pages);
}

void page_bitmap_free(uint64_t *bitmap, uint64_t pages)
{
    if (bitmap)
        page_free(virt_to_phys(bitmap), bitmap_order(pages));
}
