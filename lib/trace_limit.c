/* SPDX-License-Identifier: MIT */
/* Records only the events of a range of addresses; see trace_limit(). */
#include "lib/page.h"
#include "lib/string.h"
#include "lib/trace_ring.h"

#define LEVEL_BITS 9u /* of an address, for each level of a page table */
#define NOWHERE    TRACE_VALUES

bool trace_has_limit;
static uint64_t limit_first, limit_last;

/* Which of an event's values are its address and its size. An event without an address has none of
 * them, and an event without a size is about one byte, or one page. */
struct place {
    uint8_t address; /* in bytes: `gpa`, `addr` */
    uint8_t frame;   /* in pages: `gfn` */
    uint8_t bytes, level, pages;
};
static struct place places[TRACE_EVENT_COUNT];

/* Returns the number of the value with this name, or NOWHERE. */
static uint8_t value_called(enum trace_event event, const char *name)
{
    const char *at = trace_values(event);
    for (uint8_t i = 0; *at; i++) {
        const char *end = strchr(at, ':');
        if (!strncmp(at, name, (size_t)(end - at)) && !name[end - at])
            return i;
        at = end + (end[2] == ' ' ? 3 : 2);
    }
    return NOWHERE;
}

void trace_limit(uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++) {
        enum trace_event event = (enum trace_event)i;
        uint8_t gpa = value_called(event, "gpa");
        places[i] = (struct place){.address = gpa < NOWHERE ? gpa : value_called(event, "addr"),
                                   .frame = value_called(event, "gfn"),
                                   .bytes = value_called(event, "len"),
                                   .level = value_called(event, "level"),
                                   .pages = value_called(event, "pages")};
    }
    limit_first = first;
    limit_last = last;
    trace_has_limit = first || last != UINT64_MAX;
}

/* The number of bytes that the event is about; values of guests may be anything. */
static uint64_t size_of(const struct place *place, const uint64_t *values)
{
    uint64_t size = place->address < NOWHERE ? 1 : PAGE_SIZE;
    if (place->bytes < NOWHERE)
        size = values[place->bytes];
    if (place->level < NOWHERE && values[place->level] - 1 < 5)
        size = PAGE_SIZE << LEVEL_BITS * (values[place->level] - 1);
    if (place->pages < NOWHERE)
        size = values[place->pages] * PAGE_SIZE;
    return size ? size : 1;
}

bool trace_within_limit(const struct trace_record *record)
{
    const struct place *place = &places[record->event];
    const uint64_t *values = record->values;
    uint64_t first = place->address < NOWHERE ? values[place->address]
                     : place->frame < NOWHERE ? values[place->frame] * PAGE_SIZE
                                              : TRACE_NO_ADDRESS;
    if (first == TRACE_NO_ADDRESS)
        return true;
    uint64_t last = first + size_of(place, values) - 1;
    return first <= limit_last && (last >= limit_first || last < first);
}
