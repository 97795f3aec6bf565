/* SPDX-License-Identifier: MIT */
/* The host pages behind a slot; see the header. */
#include "mmu/backing.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/spinlock.h"
#include "mmu/mmu.h"

#define PIECE_ORDER       9u
#define GIANT_ORDER       18u
#define GIANT_PIECES      512u
#define DIRECTORY_ENTRIES (PAGE_SIZE / sizeof(uint64_t))

static unsigned directory_order(uint64_t pieces)
{
    unsigned order = 0;
    while (DIRECTORY_ENTRIES << order < pieces)
        order++;
    return order;
}

static uint64_t piece_count(gfn_t base, uint64_t pages)
{
    return (base.v % PIECE_FRAMES + pages + PIECE_FRAMES - 1) / PIECE_FRAMES;
}

int backing_init(struct backing *backing, gfn_t base, uint64_t pages)
{
    uint64_t pieces = piece_count(base, pages);
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

/* Frees pages of a piece, the last one first. Returns the directory entry, or 0 when the piece is
 * empty and its page of entries has been freed, too. */
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

/* Reading all entries of a piece takes as long as freeing this number of pages. */
#define SCAN_PAGES 16u

/* Frees pages of the last piece, or the block of 1 GiB to which it belongs. */
static void free_last_piece(struct backing *backing, unsigned *left)
{
    uint64_t *piece = &backing->directory[backing->pieces - 1];
    unsigned cost = *piece & BACKING_PAGES ? SCAN_PAGES : 1;
    *left -= *left < cost ? *left : cost;
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
    return 1ull << directory_order(piece_count(GFN(backing->phase), backing->pages));
}

void backing_discard(struct backing *backing)
{
    page_free(virt_to_phys(backing->directory),
              directory_order(piece_count(GFN(backing->phase), backing->pages)));
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

/* ---- Blocks that are being cleared ----------------------------------------------------------- */

#define CLEAR_QWORDS 16384u /* cleared in one piece of work */

/* The element for the directory entry `place`, or a free element; else one that no pCPU is working
 * on, whose block is taken away from its entry. NULL if another pCPU is working on the element, or
 * other pCPUs are working on all of them. */
static struct clearing_block *clearing_choose(struct clearing *c, const uint64_t *place,
                                              unsigned order)
{
    struct clearing_block *empty = NULL, *idle = NULL;
    for (unsigned i = 0; i < CLEARING_MAX; i++) {
        struct clearing_block *b = &c->blocks[i];
        if (b->place == place && b->order == order) /* a GiB and its first 2 MiB share an entry */
            return b->busy ? NULL : b;
        if (!b->place)
            empty = b;
        else if (!b->busy)
            idle = b;
    }
    return empty ? empty : idle;
}

static void clearing_forget(struct clearing *c, struct clearing_block *b)
{
    __atomic_store_n(&c->used, c->used - 1, __ATOMIC_RELAXED);
    *b = (struct clearing_block){0};
}

/* Makes the element that clearing_choose() returns this pCPU's own, with a block of this order.
 * Its block is PAGE_NONE if there is no memory. NULL if there is no element. */
static struct clearing_block *clearing_hold(struct clearing *c, const uint64_t *place,
                                            unsigned order)
{
    spin_lock(&c->lock);
    struct clearing_block *b = clearing_choose(c, place, order);
    if (b && b->place && b->order != order) { /* it was for another entry */
        page_free(b->block, b->order);
        clearing_forget(c, b);
    }
    if (b && !b->place) {
        *b = (struct clearing_block){.block = page_alloc(order), .order = order};
        __atomic_store_n(&c->used, c->used + 1, __ATOMIC_RELAXED);
    }
    if (b) {
        b->place = place;
        b->busy = true;
    }
    spin_unlock(&c->lock);
    return b;
}

/* Returns a cleared block for the directory entry `place`; or PAGE_NONE: with *paused, because it
 * is not ready yet, else because there is no memory. */
static hpa_t clearing_take_block(struct clearing *c, const uint64_t *place, unsigned order,
                                 bool *paused)
{
    struct clearing_block *b = clearing_hold(c, place, order);
    *paused = !b;
    if (!b)
        return PAGE_NONE;
    hpa_t block = b->block;
    uint64_t all = 512ull << order;
    while (!page_is_none(block) && b->qwords < all) {
        uint64_t qwords = CLEAR_QWORDS;
        uint64_t *at = (uint64_t *)phys_to_virt(block) + b->qwords;
        __asm__ volatile("rep stosq" : "+D"(at), "+c"(qwords) : "a"(0) : "memory");
        b->qwords += CLEAR_QWORDS;
        if (b->qwords < all && mmu_pauses()) {
            *paused = true;
            break;
        }
    }
    spin_lock(&c->lock);
    b->busy = false;
    if (!*paused)
        clearing_forget(c, b);
    spin_unlock(&c->lock);
    return *paused ? PAGE_NONE : block;
}

void clearing_end(struct clearing *c)
{
    for (unsigned i = 0; i < CLEARING_MAX; i++)
        if (c->blocks[i].place)
            page_free(c->blocks[i].block, c->blocks[i].order);
    *c = (struct clearing){0};
}

static hpa_t cleared_page(void)
{
    hpa_t page = page_alloc(0);
    if (!page_is_none(page))
        page_clear(phys_to_virt(page), 0);
    return page;
}

/* May `count` pieces be one block: are all of their frames inside the slot? */
static bool is_whole(const struct backing *backing, uint64_t piece, uint64_t count)
{
    uint64_t first = piece * PIECE_FRAMES;
    return !backing->pages_only && first >= backing->phase &&
           first + count * PIECE_FRAMES <= backing->phase + backing->pages;
}

/* Held while one directory entry, or 512 of them, change from 0 to something. */
static struct spinlock directory_lock;

/* Stores the block in the entries if all of them are still 0; else frees it. */
static void backing_offer(uint64_t *entries, unsigned count, hpa_t block, unsigned order,
                          uint64_t kind)
{
    bool empty = true;
    spin_lock(&directory_lock);
    for (unsigned i = 0; i < count; i++)
        empty = empty && !entries[i];
    for (unsigned i = 0; empty && i < count; i++)
        __atomic_store_n(&entries[i], (block.v + i * PIECE_FRAMES * PAGE_SIZE) | kind,
                         __ATOMIC_RELEASE);
    spin_unlock(&directory_lock);
    if (!empty)
        page_free(block, order);
}

/* Gives an aligned GiB of the guest that lies wholly in the slot and has never been touched one
 * block, if one is free. Returns true if that block is not ready yet. */
static bool backing_populate_giant(const struct backing *backing, struct clearing *clearing,
                                   uint64_t index)
{
    uint64_t inside = (index + backing->giant_phase) % GIANT_PIECES, first = index - inside;
    if (inside > index || !is_whole(backing, first, GIANT_PIECES))
        return false;
    for (unsigned i = 0; i < GIANT_PIECES; i++) {
        if (__atomic_load_n(&backing->directory[first + i], __ATOMIC_RELAXED))
            return false;
    }
    bool paused;
    uint64_t *entries = &backing->directory[first];
    hpa_t block = clearing_take_block(clearing, entries, GIANT_ORDER, &paused);
    if (!page_is_none(block))
        backing_offer(entries, GIANT_PIECES, block, GIANT_ORDER, BACKING_BLOCK | BACKING_GIANT);
    return paused;
}

/* Allocates memory for a piece and returns its directory entry; or 0: with *paused, because it is
 * not ready yet, else because there is no memory. */
static uint64_t backing_populate_piece(const struct backing *backing, struct clearing *clearing,
                                       uint64_t index, unsigned level, bool *paused)
{
    uint64_t *piece = &backing->directory[index];
    *paused = level >= EPT_LEVEL_1G && backing_populate_giant(backing, clearing, index);
    if (!*paused && !__atomic_load_n(piece, __ATOMIC_ACQUIRE) && level >= EPT_LEVEL_2M &&
        is_whole(backing, index, 1)) {
        hpa_t block = clearing_take_block(clearing, piece, PIECE_ORDER, paused);
        if (!page_is_none(block))
            backing_offer(piece, 1, block, PIECE_ORDER, BACKING_BLOCK);
    }
    if (!*paused && !__atomic_load_n(piece, __ATOMIC_ACQUIRE)) {
        hpa_t entries = cleared_page();
        if (!page_is_none(entries))
            backing_offer(piece, 1, entries, 0, BACKING_PAGES);
    }
    return *paused ? 0 : __atomic_load_n(piece, __ATOMIC_ACQUIRE);
}

static uint64_t *page_entry(uint64_t piece, uint64_t place)
{
    uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
    return &pages[place % PIECE_FRAMES];
}

int backing_populate(const struct backing *backing, struct clearing *clearing, uint64_t offset,
                     unsigned level)
{
    uint64_t place = backing->phase + offset, nothing = 0;
    bool paused;
    uint64_t piece =
        backing_populate_piece(backing, clearing, place / PIECE_FRAMES, level, &paused);
    if (piece & BACKING_BLOCK)
        return 0;
    if (!piece)
        return paused ? -EINPROGRESS : -ENOMEM;
    uint64_t *entry = page_entry(piece, place);
    if (__atomic_load_n(entry, __ATOMIC_ACQUIRE))
        return 0;
    hpa_t page = cleared_page();
    if (page_is_none(page))
        return -ENOMEM;
    if (!__atomic_compare_exchange_n(entry, &nothing, page.v | BACKING_PAGE, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        page_free(page, 0);
    return 0;
}

void backing_drop(const struct backing *backing, uint64_t offset)
{
    uint64_t place = backing->phase + offset;
    uint64_t piece = __atomic_load_n(&backing->directory[place / PIECE_FRAMES], __ATOMIC_ACQUIRE);
    BUG_ON(piece & BACKING_BLOCK);
    if (!piece)
        return;
    uint64_t page = __atomic_exchange_n(page_entry(piece, place), 0, __ATOMIC_ACQ_REL);
    if (page)
        page_free(HPA(page & BACKING_ADDRESS), 0);
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
        __atomic_store_n(page_entry(*piece, place), block.v | BACKING_PAGE, __ATOMIC_RELEASE);
    }
}

uint64_t backing_count(const struct backing *backing)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < backing->pieces; i++) {
        uint64_t piece = backing->directory[i];
        const uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
        if (piece & BACKING_BLOCK)
            count += PIECE_FRAMES;
        else if (piece)
            for (unsigned frame = 0; frame < PIECE_FRAMES; frame++)
                count += pages[frame] != 0;
    }
    return count;
}
