#include "lib/buddy.h"

#include "lib/assert.h"
#include "lib/page.h"
#include "lib/string.h"

/* What a page's state byte says: 0, or one of these plus the order of the block that begins there.
 */
#define STATE_FREE 0x20
#define STATE_USED 0x40

static uint8_t *state_of(struct buddy *buddy, uint64_t frame)
{
    BUG_ON(frame < buddy->first || frame >= buddy->end);
    return &buddy->state[frame - buddy->first];
}

static struct buddy_link *link_of(uint64_t frame)
{
    return phys_to_virt(HPA(frame << PAGE_SHIFT));
}

static void insert(struct buddy *buddy, uint64_t frame, unsigned order)
{
    struct buddy_link *head = &buddy->lists[order], *link = link_of(frame);
    *link = (struct buddy_link){.next = head->next, .prev = head};
    head->next->prev = link;
    head->next = link;
    *state_of(buddy, frame) = (uint8_t)(STATE_FREE | order);
}

static void remove(struct buddy *buddy, uint64_t frame)
{
    struct buddy_link *link = link_of(frame);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    *state_of(buddy, frame) = 0;
}

/* Puts a block on its list, merged with its buddy as long as that is free and whole. */
static void insert_merged(struct buddy *buddy, uint64_t frame, unsigned order)
{
    for (; order + 1 < BUDDY_ORDERS; order++) {
        uint64_t other = frame ^ (1ull << order);
        if (other < buddy->first || other >= buddy->end ||
            *state_of(buddy, other) != (STATE_FREE | order))
            break;
        remove(buddy, other);
        frame &= ~(1ull << order);
    }
    insert(buddy, frame, order);
}

void buddy_init(struct buddy *buddy, uint8_t *state, uint64_t first, uint64_t end)
{
    *buddy = (struct buddy){.state = state, .first = first, .end = end};
    for (unsigned i = 0; i < BUDDY_ORDERS; i++)
        buddy->lists[i].next = buddy->lists[i].prev = &buddy->lists[i];
    memset(state, 0, end - first);
}

void buddy_add(struct buddy *buddy, uint64_t first, uint64_t end)
{
    while (first < end) {
        unsigned order = BUDDY_ORDERS - 1;
        while (first & ((1ull << order) - 1) || first + (1ull << order) > end)
            order--;
        insert_merged(buddy, first, order);
        buddy->free_pages += 1ull << order;
        buddy->total_pages += 1ull << order;
        first += 1ull << order;
    }
}

hpa_t buddy_alloc(struct buddy *buddy, unsigned order)
{
    unsigned have = order;
    while (have < BUDDY_ORDERS && buddy->lists[have].next == &buddy->lists[have])
        have++;
    if (have >= BUDDY_ORDERS)
        return PAGE_NONE;

    uint64_t frame = virt_to_phys(buddy->lists[have].next).v >> PAGE_SHIFT;
    remove(buddy, frame);
    while (have > order) {
        have--;
        insert(buddy, frame + (1ull << have), have);
    }
    *state_of(buddy, frame) = (uint8_t)(STATE_USED | order);
    buddy->free_pages -= 1ull << order;
    return HPA(frame << PAGE_SHIFT);
}

void buddy_free(struct buddy *buddy, hpa_t block, unsigned order)
{
    uint64_t frame = block.v >> PAGE_SHIFT;
    BUG_ON(page_offset(block.v));
    BUG_ON(*state_of(buddy, frame) != (STATE_USED | order)); /* not handed out, or not so */
    *state_of(buddy, frame) = 0;
    buddy->free_pages += 1ull << order;
    insert_merged(buddy, frame, order);
}

unsigned buddy_order(struct buddy *buddy, uint64_t frame)
{
    BUG_ON(!(*state_of(buddy, frame) & STATE_USED));
    return *state_of(buddy, frame) & (STATE_FREE - 1);
}
