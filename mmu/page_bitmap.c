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
    if (page_is_none(bitmap))
        return NULL;
    page_clear(phys_to_virt(bitmap), order);
    return phys_to_virt(bitmap);
}

void page_bitmap_free(uint64_t *bitmap, uint64_t pages)
{
    if (bitmap)
        page_free(virt_to_phys(bitmap), bitmap_order(pages));
}
