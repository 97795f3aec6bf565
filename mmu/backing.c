/* Host pages of a slot; see the header. */
#include "mmu/backing.h"

#include "lib/errno.h"
#include "lib/spinlock.h"

#define PIECE_ORDER     9u
#define GIANT_ORDER     18u
#define GIANT_PIECES    512u
#define DIRECTORY_WORDS (PAGE_SIZE / sizeof(uint64_t))

static unsigned directory_order(uint64_t pieces)
{
    unsigned order = 0;
    while (DIRECTORY_WORDS << order < pieces)
        order++;
    return order;
}

static uint64_t pieces_of(gfn_t base, uint64_t pages)
{
    return (base.v % PIECE_FRAMES + pages + PIECE_FRAMES - 1) / PIECE_FRAMES;
}

int backing_init(struct backing *backing, gfn_t base, uint64_t pages)
{
    uint64_t pieces = pieces_of(base, pages);
    unsigned order = directory_order(pieces);
    hpa_t directory = order > PAGE_ORDER_MAX ? PAGE_NONE : page_alloc(order);
    if (page_is_none(directory))
        return -ENOMEM;
    *backing = (struct backing){
        .directory = phys_to_virt(directory),
        .pages = pages,
        .pieces = (uint32_t)pieces,
        .phase = (uint16_t)(base.v % PIECE_FRAMES),
        .giant_phase = (uint16_t)(base.v / PIECE_FRAMES % GIANT_PIECES),
    };
    return 0;
}

/* The pages of a piece, the last first; 0: it is empty, and its page of words is freed, too. */
static uint64_t free_pages_of_piece(uint64_t piece, unsigned *left)
{
    uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
    for (unsigned i = PIECE_FRAMES; i--;) {
        if (!pages[i])
            continue;
        if (!*left)
            return piece;
        page_free(HPA(pages[i] & BACKING_ADDRESS), 0);
        pages[i] = 0;
        --*left;
    }
    page_free(HPA(piece & BACKING_ADDRESS), 0);
    return 0;
}

/* The last piece; where a block of 1 GiB ends, all of those that it is. */
static void free_last_piece(struct backing *backing, unsigned *left)
{
    uint64_t *piece = &backing->directory[backing->pieces - 1];
    --*left;
    if (*piece & BACKING_GIANT) {
        backing->pieces -= GIANT_PIECES;
        page_free(HPA(backing->directory[backing->pieces] & BACKING_ADDRESS), GIANT_ORDER);
        return;
    }
    if (*piece & BACKING_BLOCK)
        page_free(HPA(*piece & BACKING_ADDRESS), PIECE_ORDER);
    else if (*piece && (*piece = free_pages_of_piece(*piece, left)))
        return;
    backing->pieces--;
}

uint64_t backing_directory_size(const struct backing *backing)
{
    return 1ull << directory_order(pieces_of(GFN(backing->phase), backing->pages));
}

void backing_discard(struct backing *backing)
{
    page_free(virt_to_phys(backing->directory),
              directory_order(pieces_of(GFN(backing->phase), backing->pages)));
    backing->directory = NULL;
}

bool backing_free_some(struct backing *backing, unsigned pages)
{
    while (backing->pieces && pages)
        free_last_piece(backing, &pages);
    if (backing->pieces)
        return false;
    backing_discard(backing);
    return true;
}

void backing_free(struct backing *backing)
{
    while (!backing_free_some(backing, ~0u))
        ;
}

static hpa_t cleared_block(unsigned order)
{
    hpa_t block = page_alloc(order);
    if (!page_is_none(block))
        page_clear(phys_to_virt(block), order);
    return block;
}

/* Are all frames of `count` pieces inside the slot? */
static bool is_whole(const struct backing *backing, uint64_t piece, uint64_t count)
{
    uint64_t first = piece * PIECE_FRAMES;
    return first >= backing->phase &&
           first + count * PIECE_FRAMES <= backing->phase + backing->pages;
}

/* Directory words change from nothing to something under this lock, one or 512 at a time. */
static struct spinlock directory_lock;

/* Puts a block where nothing stands yet; else gives it back. */
static void offer(uint64_t *words, unsigned count, hpa_t block, unsigned order, uint64_t kind)
{
    bool empty = true;
    spin_lock(&directory_lock);
    for (unsigned i = 0; i < count; i++)
        empty = empty && !words[i];
    for (unsigned i = 0; empty && i < count; i++)
        __atomic_store_n(&words[i], (block.v + i * PIECE_FRAMES * PAGE_SIZE) | kind,
                         __ATOMIC_RELEASE);
    spin_unlock(&directory_lock);
    if (!empty)
        page_free(block, order);
}

/* A GiB of the guest's that is aligned, whole and untouched gets one block, if there is one. */
static void populate_giant(const struct backing *backing, uint64_t index)
{
    uint64_t inside = (index + backing->giant_phase) % GIANT_PIECES, first = index - inside;
    if (inside > index || !is_whole(backing, first, GIANT_PIECES))
        return;
    for (unsigned i = 0; i < GIANT_PIECES; i++) {
        if (__atomic_load_n(&backing->directory[first + i], __ATOMIC_RELAXED))
            return;
    }
    hpa_t block = cleared_block(GIANT_ORDER);
    if (!page_is_none(block))
        offer(&backing->directory[first], GIANT_PIECES, block, GIANT_ORDER,
              BACKING_BLOCK | BACKING_GIANT);
}

static uint64_t populate_piece(const struct backing *backing, uint64_t index, unsigned level)
{
    uint64_t *piece = &backing->directory[index];
    if (level >= EPT_LEVEL_1G)
        populate_giant(backing, index);
    if (!__atomic_load_n(piece, __ATOMIC_ACQUIRE) && level >= EPT_LEVEL_2M &&
        is_whole(backing, index, 1)) {
        hpa_t block = cleared_block(PIECE_ORDER);
        if (!page_is_none(block))
            offer(piece, 1, block, PIECE_ORDER, BACKING_BLOCK);
    }
    if (!__atomic_load_n(piece, __ATOMIC_ACQUIRE)) {
        hpa_t words = cleared_block(0);
        if (!page_is_none(words))
            offer(piece, 1, words, 0, BACKING_PAGES);
    }
    return __atomic_load_n(piece, __ATOMIC_ACQUIRE);
}

static uint64_t *page_word(uint64_t piece, uint64_t place)
{
    uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
    return &pages[place % PIECE_FRAMES];
}

int backing_populate(const struct backing *backing, uint64_t offset, unsigned level)
{
    uint64_t place = backing->phase + offset, nothing = 0;
    uint64_t piece = populate_piece(backing, place / PIECE_FRAMES, level);
    if (piece & BACKING_BLOCK)
        return 0;
    if (!piece)
        return -ENOMEM;
    uint64_t *word = page_word(piece, place);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE))
        return 0;
    hpa_t page = cleared_block(0);
    if (page_is_none(page))
        return -ENOMEM;
    if (!__atomic_compare_exchange_n(word, &nothing, page.v | BACKING_PAGE, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        page_free(page, 0);
    return 0;
}

void backing_replace(const struct backing *backing, uint64_t offset, hpa_t block)
{
    uint64_t place = backing->phase + offset, index = place / PIECE_FRAMES;
    uint64_t *piece = &backing->directory[index];
    if (*piece & BACKING_GIANT) {
        uint64_t first = index - (index + backing->giant_phase) % GIANT_PIECES;
        for (unsigned i = 0; i < GIANT_PIECES; i++)
            __atomic_store_n(&backing->directory[first + i],
                             (block.v + i * PIECE_FRAMES * PAGE_SIZE) | BACKING_BLOCK |
                                 BACKING_GIANT,
                             __ATOMIC_RELEASE);
    } else if (*piece & BACKING_BLOCK) {
        __atomic_store_n(piece, block.v | BACKING_BLOCK, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(page_word(*piece, place), block.v | BACKING_PAGE, __ATOMIC_RELEASE);
    }
}
