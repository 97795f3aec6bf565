/* SPDX-License-Identifier: MIT */
#include "vm/text.h"

#include "lib/page.h"
#include "lib/string.h"

struct text_page {
    struct text_page *next;
    size_t used;
    char bytes[PAGE_SIZE - 2 * sizeof(uint64_t)];
};

static bool text_add_page(struct text *text)
{
    hpa_t page = page_alloc(0);
    if (page_is_none(page))
        return false;
    struct text_page *fresh = phys_to_virt(page);
    fresh->next = NULL;
    fresh->used = 0;
    *(text->last ? &text->last->next : &text->first) = fresh;
    text->last = fresh;
    return true;
}

static bool put_in_pages(struct text *text, const char *bytes, size_t size)
{
    size_t room = text->last ? sizeof(text->last->bytes) - text->last->used : 0;
    struct text_page *page = text->last;
    if (!text->pages || text->spare_used || (room < size && !text_add_page(text)))
        return false;
    if (room > size)
        room = size;
    if (room) {
        memcpy(page->bytes + page->used, bytes, room);
        page->used += room;
    }
    if (size > room) {
        memcpy(text->last->bytes, bytes + room, size - room);
        text->last->used = size - room;
    }
    return true;
}

static bool put_in_spare(struct text *text, const char *bytes, size_t size)
{
    if (size > TEXT_SPARE - text->spare_used)
        return false;
    memcpy(text->spare + text->spare_used, bytes, size);
    text->spare_used += size;
    return true;
}

bool text_put(struct text *text, const char *bytes, size_t size, bool spare)
{
    bool kept = put_in_pages(text, bytes, size) || (spare && put_in_spare(text, bytes, size));
    if (kept)
        __atomic_store_n(&text->size, text->size + size, __ATOMIC_SEQ_CST);
    return kept;
}

/* Frees the first page if it has been taken and nothing can be added to it any more. */
static void text_drop_page(struct text *text)
{
    struct text_page *page = text->first;
    if (!page || text->read < page->used ||
        (page == text->last && !text->complete && !text->spare_used))
        return;
    text->first = page->next;
    text->last = text->first ? text->last : NULL;
    text->read = 0;
    page_free(virt_to_phys(page), 0);
}

static bool is_in_page(const struct text *text)
{
    return text->first && text->read < text->first->used;
}

const char *text_peek(struct text *text, size_t *size)
{
    text_drop_page(text);
    if (is_in_page(text)) {
        *size = text->first->used - text->read;
        return text->first->bytes + text->read;
    }
    *size = text->spare_used - text->spare_read;
    return text->spare + text->spare_read;
}

void text_take(struct text *text, size_t size)
{
    *(is_in_page(text) ? &text->read : &text->spare_read) += size;
    text_drop_page(text);
    if (!text->pages && text->spare_read == text->spare_used)
        text->spare_read = text->spare_used = 0;
    __atomic_store_n(&text->size, text->size - size, __ATOMIC_SEQ_CST);
}

void text_complete(struct text *text)
{
    text->complete = true;
    text_drop_page(text);
}
