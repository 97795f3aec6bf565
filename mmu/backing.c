/* Host pages of a slot; see the header. */
#include "mmu/backing.h"

#include "lib/errno.h"

#define PIECE_ORDER     9u
#define DIRECTORY_WORDS (PAGE_SIZE / sizeof(uint64_t))
#define ORDER_MAX       18u

int backing_init(struct backing *backing, gfn_t base, uint64_t pages)
{
    uint16_t phase = (uint16_t)(base.v % PIECE_FRAMES);
    uint64_t pieces = (phase + pages + PIECE_FRAMES - 1) / PIECE_FRAMES;
    unsigned order = 0;
    while (DIRECTORY_WORDS << order < pieces) {
        if (++order > ORDER_MAX)
            return -ENOMEM;
    }

    hpa_t directory = page_alloc(order);
    if (page_is_none(directory))
        return -ENOMEM;
    *backing = (struct backing){
        .directory = phys_to_virt(directory),
        .pages = pages,
        .pieces = (uint32_t)pieces,
        .phase = phase,
        .order = (uint16_t)order,
    };
    page_clear(backing->directory, order);
    return 0;
}

static void free_pages_of_piece(uint64_t piece)
{
    uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
    for (unsigned i = 0; i < PIECE_FRAMES; i++) {
        if (pages[i])
            page_free(HPA(pages[i] & BACKING_ADDRESS), 0);
    }
    page_free(HPA(piece & BACKING_ADDRESS), 0);
}

void backing_free(struct backing *backing)
{
    for (uint32_t i = 0; i < backing->pieces; i++) {
        uint64_t piece = backing->directory[i];
        if (piece & BACKING_BLOCK)
            page_free(HPA(piece & BACKING_ADDRESS), PIECE_ORDER);
        else if (piece)
            free_pages_of_piece(piece);
    }
    page_free(virt_to_phys(backing->directory), backing->order);
    backing->directory = NULL;
}

static hpa_t cleared_block(unsigned order)
{
    hpa_t block = page_alloc(order);
    if (!page_is_none(block))
        page_clear(phys_to_virt(block), order);
    return block;
}

/* Is all of the piece inside the slot? */
static bool piece_is_whole(const struct backing *backing, uint64_t index)
{
    uint64_t first = index * PIECE_FRAMES;
    return first >= backing->phase &&
           first + PIECE_FRAMES <= (uint64_t)backing->phase + backing->pages;
}

int backing_populate(const struct backing *backing, uint64_t offset, bool huge)
{
    uint64_t place = backing->phase + offset;
    uint64_t index = place / PIECE_FRAMES;
    uint64_t *piece = &backing->directory[index];

    if (!*piece && huge && piece_is_whole(backing, index)) {
        hpa_t block = cleared_block(PIECE_ORDER);
        if (!page_is_none(block))
            *piece = block.v | BACKING_BLOCK;
    }
    if (*piece & BACKING_BLOCK)
        return 0;
    if (!*piece) {
        hpa_t words = cleared_block(0);
        if (page_is_none(words))
            return -ENOMEM;
        *piece = words.v | BACKING_PAGES;
    }
    uint64_t *pages = phys_to_virt(HPA(*piece & BACKING_ADDRESS));
    uint64_t *word = &pages[place % PIECE_FRAMES];
    if (!*word) {
        hpa_t page = cleared_block(0);
        if (page_is_none(page))
            return -ENOMEM;
        *word = page.v | BACKING_PAGE;
    }
    return 0;
}
