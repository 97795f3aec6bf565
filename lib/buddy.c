/* SPDX-License-Identifier: MIT */
/* The buddy allocator; see the header. */
#include "lib/buddy.h"

#include "lib/assert.h"
#include "lib/page.h"
#include "lib/string.h"

/* The state byte of a page: 0 if no block begins there, else one of these flags and the block's
 * order. */
#define STATE_FREE  0x20
#define STATE_USED  0x40
#define STATE_NOTED 0x80 /* handed out while `noting` was set; only with STATE_USED */
#define STATE_ORDER 0x1f

static struct buddy_section *section_of(const struct buddy *buddy, uint64_t frame)
{
    return &buddy->sections[frame / BUDDY_SECTION_PAGES];
}

static uint64_t state_of(const struct buddy *buddy, uint64_t frame)
{
    const struct buddy_section *section = section_of(buddy, frame);
    if (likely(section->bytes))
        return section->bytes[frame % BUDDY_SECTION_PAGES];
    return frame % BUDDY_SECTION_PAGES ? 0 : section->whole;
}

/* Sets a state in a section whose bytes are not in use. While the section is one whole block, or no
 * block begins in it, `whole` is enough. Any other state puts the bytes into use, cleared. `whole`
 * need not be copied into them: buddy_alloc() gives a block that it splits its new state after it
 * has given the upper halves theirs. */
static __attribute__((noinline)) void set_first_state(struct buddy *buddy, uint64_t frame,
                                                      uint8_t state)
{
    struct buddy_section *section = section_of(buddy, frame);
    uint64_t start = align_down(frame, BUDDY_SECTION_PAGES), pages = buddy->end - start;
    if (frame == start && (!state || (state & STATE_ORDER) == BUDDY_ORDERS - 1)) {
        section->whole = state;
        return;
    }
    section->bytes = buddy->state + (section->users - buddy->users);
    memset(section->bytes, 0, pages < BUDDY_SECTION_PAGES ? pages : BUDDY_SECTION_PAGES);
    section->bytes[frame - start] = state;
}

static void set_state(struct buddy *buddy, uint64_t frame, uint8_t state)
{
    const struct buddy_section *section = section_of(buddy, frame);
    if (likely(section->bytes))
        section->bytes[frame % BUDDY_SECTION_PAGES] = state;
    else
        set_first_state(buddy, frame, state);
}

static struct buddy_link *link_of(uint64_t frame)
{
    return phys_to_virt(HPA(frame << PAGE_SHIFT));
}

static void buddy_insert(struct buddy *buddy, uint64_t frame, unsigned order)
{
    struct buddy_link *head = &buddy->lists[order], *link = link_of(frame);
    *link = (struct buddy_link){.next = head->next, .prev = head};
    head->next->prev = link;
    head->next = link;
    set_state(buddy, frame, (uint8_t)(STATE_FREE | order));
}

/* Takes a free block off its list. The caller changes its state. */
static void buddy_unlink(uint64_t frame)
{
    struct buddy_link *link = link_of(frame);
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

/* Merges a block with its buddy as long as the buddy is a free block of the same order, and puts
 * the result on its list. */
static void buddy_insert_merged(struct buddy *buddy, uint64_t frame, unsigned order)
{
    for (; order + 1 < BUDDY_ORDERS; order++) {
        uint64_t other = frame ^ (1ull << order);
        if (other >= buddy->end || state_of(buddy, other) != (STATE_FREE | order))
            break;
        buddy_unlink(other);
        set_state(buddy, other, 0);
        frame &= ~(1ull << order);
    }
    buddy_insert(buddy, frame, order);
}

void buddy_init(struct buddy *buddy, struct buddy_section *sections, uint8_t *state,
                uint32_t *users, uint64_t end)
{
    *buddy = (struct buddy){.sections = sections, .state = state, .users = users, .end = end};
    for (unsigned i = 0; i < BUDDY_ORDERS; i++)
        buddy->lists[i].next = buddy->lists[i].prev = &buddy->lists[i];
    memset(sections, 0, buddy_sections(end) * sizeof(*sections));
}

void buddy_add(struct buddy *buddy, uint64_t first, uint64_t end)
{
    while (first < end) {
        unsigned order = BUDDY_ORDERS - 1;
        while (first & ((1ull << order) - 1) || first + (1ull << order) > end)
            order--;
        struct buddy_section *section = section_of(buddy, first);
        if (!section->users)
            section->users = buddy->users + buddy->populated++ * BUDDY_SECTION_PAGES;
        buddy_insert_merged(buddy, first, order);
        buddy->free_pages += 1ull << order;
        buddy->total_pages += 1ull << order;
        first += 1ull << order;
    }
}

hpa_t buddy_alloc(struct buddy *buddy, unsigned order, uint32_t user)
{
    unsigned have = order;
    while (have < BUDDY_ORDERS && buddy->lists[have].next == &buddy->lists[have])
        have++;
    if (have >= BUDDY_ORDERS)
        return PAGE_NONE;

    uint64_t frame = virt_to_phys(buddy->lists[have].next).v >> PAGE_SHIFT;
    buddy_unlink(frame);
    while (have > order) {
        have--;
        buddy_insert(buddy, frame + (1ull << have), have);
    }
    set_state(buddy, frame, (uint8_t)(STATE_USED | order | (buddy->noting ? STATE_NOTED : 0)));
    *buddy_user(buddy, frame) = user;
    buddy->free_pages -= 1ull << order;
    return HPA(frame << PAGE_SHIFT);
}

void buddy_free(struct buddy *buddy, hpa_t block, unsigned order)
{
    uint64_t frame = block.v >> PAGE_SHIFT;
    BUG_ON(page_offset(block.v));
    BUG_ON(buddy_order(buddy, frame) != order);
    set_state(buddy, frame, 0);
    buddy->free_pages += 1ull << order;
    buddy_insert_merged(buddy, frame, order);
}

void buddy_trim(struct buddy *buddy, hpa_t block, unsigned order, uint64_t count)
{
    uint64_t frame = block.v >> PAGE_SHIFT, pages = 1ull << order;
    BUG_ON(buddy_order(buddy, frame) != order || !count || count > pages);
    uint8_t flags = (uint8_t)(state_of(buddy, frame) & (STATE_USED | STATE_NOTED));
    uint32_t user = *buddy_user(buddy, frame);
    for (uint64_t at = 0, part; at < count; at += 1ull << part) {
        part = buddy_part(count - at);
        set_state(buddy, frame + at, (uint8_t)(flags | part));
        *buddy_user(buddy, frame + at) = user;
    }
    for (uint64_t at = count; at < pages; at += at & -at)
        buddy_insert(buddy, frame + at, (unsigned)__builtin_ctzll(at));
    buddy->free_pages += pages - count;
}

unsigned buddy_order(const struct buddy *buddy, uint64_t frame)
{
    BUG_ON(frame >= buddy->end);
    uint64_t state = state_of(buddy, frame);
    BUG_ON(!(state & STATE_USED));
    return (unsigned)(state & STATE_ORDER);
}

uint32_t *buddy_user(const struct buddy *buddy, uint64_t frame)
{
    return &section_of(buddy, frame)->users[frame % BUDDY_SECTION_PAGES];
}

uint64_t buddy_next_noted(const struct buddy *buddy, uint64_t frame)
{
    while (frame < buddy->end && !(state_of(buddy, frame) & STATE_NOTED))
        frame =
            section_of(buddy, frame)->bytes ? frame + 1 : align_up(frame + 1, BUDDY_SECTION_PAGES);
    return frame < buddy->end ? frame : buddy->end;
}
