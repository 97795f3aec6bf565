/* SPDX-License-Identifier: MIT */
/* The private pool of a TD; see the header. Pure. */
#include "ept/private_pool.h"

#include "ept/secure_blocks.h"
#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/cpu_local.h"
#include "lib/errno.h"
#include "lib/host_tlb.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

#define BLOCK_ORDER  9u
#define FRAMES_ORDER 2u /* of the entries of a block in the map of owners */
_Static_assert(EPT_ENTRIES * sizeof(struct secure_frame) == PAGE_SIZE << FRAMES_ORDER,
               "the entries of a block fill their pages");

/* How much is done in one piece. */
#define BLOCKS_MADE      8u
#define BLOCKS_ADDED     64u
#define FRAMES_RECLAIMED 256u

/* Tables that are not for a whole piece of memory: the root and the one below it, and those at both
 * ends of each range of memory. */
#define TABLES_BESIDES 32u

/* Lists of blocks are linked by their numbers + 1; 0 ends a list. */
struct private_block {
    hpa_t base;
    hpa_t frames;                    /* the entries for the map of owners */
    uint64_t used[EPT_ENTRIES / 64]; /* a bit for each frame that is handed out */
    uint32_t next, prev;
    uint16_t free;      /* frames that are not handed out */
    uint16_t reclaimed; /* frames that private_pool_destroy() has dealt with */
};

/* The map of owners of the machine, and for each block in it, its number in its pool. Both are made
 * with the first pool, for all memory, and stay. */
static struct secure_map map;
static uint32_t *block_numbers;
static struct spinlock map_lock;

struct secure_map *private_pool_map(void)
{
    return &map;
}

static unsigned pool_order(uint64_t bytes)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < bytes)
        order++;
    return order;
}

/* Both arrays are in one block of memory. */
static bool map_make(void)
{
    uint64_t count = (page_end() + SECURE_BLOCK_SIZE - 1) / SECURE_BLOCK_SIZE;
    uint64_t bytes = count * (sizeof(*map.blocks) + sizeof(*block_numbers));
    unsigned order = pool_order(bytes);
    bool made = true;
    spin_lock(&map_lock);
    if (!map.blocks) {
        hpa_t pages = order > PAGE_ORDER_MAX ? PAGE_NONE : page_alloc_for_ever(order);
        made = !page_is_none(pages);
        if (made) {
            page_clear(phys_to_virt(pages), order);
            map = (struct secure_map){count, phys_to_virt(pages)};
            block_numbers = (uint32_t *)(map.blocks + count);
        }
    }
    spin_unlock(&map_lock);
    return made;
}

uint64_t private_pool_blocks(uint64_t frames)
{
    uint64_t tables = frames / EPT_ENTRIES + frames / (EPT_ENTRIES * EPT_ENTRIES) + TABLES_BESIDES;
    return (frames + tables + EPT_ENTRIES - 1) / EPT_ENTRIES;
}

uint64_t private_pool_pages(uint64_t blocks)
{
    return (blocks << BLOCK_ORDER) + (blocks << FRAMES_ORDER) +
           (1ull << pool_order(blocks * sizeof(struct private_block)));
}

/* ---- Lists of blocks ------------------------------------------------------------------------- */

static void block_link(struct private_pool *pool, uint32_t *list, struct private_block *block)
{
    uint32_t number = (uint32_t)(block - pool->blocks) + 1;
    block->next = *list;
    block->prev = 0;
    if (*list)
        pool->blocks[*list - 1].prev = number;
    *list = number;
}

static void block_unlink(struct private_pool *pool, uint32_t *list, struct private_block *block)
{
    if (block->next)
        pool->blocks[block->next - 1].prev = block->prev;
    if (block->prev)
        pool->blocks[block->prev - 1].next = block->next;
    else
        *list = block->next;
}

/* The list of a block with so many free frames. NULL: it has none. */
static uint32_t *list_for(struct private_pool *pool, unsigned free)
{
    return !free ? NULL : free == EPT_ENTRIES ? &pool->whole : &pool->partial;
}

/* `taken` frames more of the block are handed out, or less. */
static void pool_block_count(struct private_pool *pool, struct private_block *block, int taken)
{
    uint32_t *from = list_for(pool, block->free);
    block->free = (uint16_t)(block->free - taken);
    pool->free_frames -= (uint64_t)(int64_t)taken;
    uint32_t *to = list_for(pool, block->free);
    if (from == to)
        return;
    if (from)
        block_unlink(pool, from, block);
    if (to)
        block_link(pool, to, block);
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static hpa_t take_small(struct private_pool *pool, struct private_block *block)
{
    unsigned word = 0;
    while (!~block->used[word])
        word++;
    unsigned bit = (unsigned)__builtin_ctzll(~block->used[word]);
    block->used[word] |= BIT(bit);
    pool_block_count(pool, block, 1);
    return hpa_add(block->base, (word * 64 + bit) * PAGE_SIZE);
}

static hpa_t take_whole(struct private_pool *pool, struct private_block *block)
{
    memset(block->used, 0xff, sizeof(block->used));
    pool_block_count(pool, block, EPT_ENTRIES);
    return block->base;
}

hpa_t private_frame_get(struct private_pool *pool, unsigned level)
{
    hpa_t page = PAGE_NONE;
    BUG_ON(level != EPT_LEVEL_4K && level != EPT_LEVEL_2M);
    spin_lock(&pool->lock);
    if (level == EPT_LEVEL_2M) {
        if (pool->whole)
            page = take_whole(pool, &pool->blocks[pool->whole - 1]);
    } else {
        uint32_t number = pool->partial ? pool->partial : pool->whole;
        if (number)
            page = take_small(pool, &pool->blocks[number - 1]);
    }
    spin_unlock(&pool->lock);
    return page;
}

void private_frame_put(struct private_pool *pool, hpa_t page, unsigned level)
{
    uint64_t place = page.v / SECURE_BLOCK_SIZE, frame = page.v / PAGE_SIZE % EPT_ENTRIES;
    BUG_ON(place >= map.count || block_numbers[place] >= pool->count);
    struct private_block *block = &pool->blocks[block_numbers[place]];
    BUG_ON(block->base.v != place * SECURE_BLOCK_SIZE);
    spin_lock(&pool->lock);
    if (level == EPT_LEVEL_2M) {
        BUG_ON(frame || block->free);
        memset(block->used, 0, sizeof(block->used));
        pool_block_count(pool, block, -(int)EPT_ENTRIES);
    } else {
        BUG_ON(!(block->used[frame / 64] >> frame % 64 & 1));
        block->used[frame / 64] &= ~BIT(frame % 64);
        pool_block_count(pool, block, -1);
    }
    spin_unlock(&pool->lock);
}

/* ---- Creation -------------------------------------------------------------------------------- */

static int pool_begin(struct private_pool *pool, uint64_t blocks)
{
    unsigned order = pool_order(blocks * sizeof(*pool->blocks));
    hpa_t pages = map_make() && order <= PAGE_ORDER_MAX ? page_alloc(order) : PAGE_NONE;
    if (page_is_none(pages)) {
        log_error("a TD's private memory: no memory for the list of its %lu blocks; %s", blocks,
                  page_shortage());
        return -ENOMEM;
    }
    page_clear(phys_to_virt(pages), order);
    pool->blocks = phys_to_virt(pages);
    pool->count = blocks;
    return -EINPROGRESS;
}

/* Takes a block from the allocator, and out of the direct map. */
static int make_block(struct private_pool *pool)
{
    struct private_block *block = &pool->blocks[pool->made];
    hpa_t base = page_alloc(BLOCK_ORDER), frames = page_alloc(FRAMES_ORDER);
    bool have = !page_is_none(base) && !page_is_none(frames);
    if (have && page_hide(base)) {
        page_clear(phys_to_virt(frames), FRAMES_ORDER);
        *block = (struct private_block){.base = base, .frames = frames};
        pool->made++;
        return 0;
    }
    if (!page_is_none(base))
        page_free(base, BLOCK_ORDER);
    if (!page_is_none(frames))
        page_free(frames, FRAMES_ORDER);
    log_error("a TD's private memory: only %lu of %lu blocks of 2 MiB are free in one piece each, "
              "or no page for their records; %s",
              pool->made, pool->count, page_shortage());
    return -ENOMEM;
}

static int make_some(struct private_pool *pool)
{
    int error = 0;
    for (unsigned i = 0; !error && i < BLOCKS_MADE && pool->made < pool->count; i++)
        error = make_block(pool);
    return error ? error : -EINPROGRESS;
}

/* Every CPU has to flush its TLB. This one does so now, the others in the handler of the kick,
 * whatever they do; until then the caller may do something else. */
static int flush_everywhere(struct private_pool *pool)
{
    uint64_t debt = host_tlb_owed();
    (void)host_tlb_pay(this_cpu());
    uint64_t behind = host_tlb_behind(debt);
    if (!behind)
        return 0;
    unsigned first = (unsigned)__builtin_ctzll(behind);
    for (uint64_t left = pool->kicked == debt ? 0 : behind; left; left &= left - 1)
        cpu_kick((unsigned)__builtin_ctzll(left));
    if (pool->kicked != debt || pool->patience.other != first)
        pool->patience = (struct patience){
            .self = this_cpu(), .other = first, .what = "a flush of the hypervisor's translations"};
    pool->kicked = debt;
    return cpu_is_lost(&pool->patience, cpu_kick) ? -ETIMEDOUT : -EINPROGRESS;
}

/* Enters blocks into the map of owners. If another pool has made a new debt meanwhile, its flush is
 * waited for as well. */
static int add_some(struct private_pool *pool)
{
    for (unsigned i = 0; i < BLOCKS_ADDED && pool->added < pool->count; i++) {
        struct private_block *block = &pool->blocks[pool->added];
        uint64_t status = secure_block_add(&map, block->base, phys_to_virt(block->frames));
        if (status == TDX_TLB_TRACKING_NOT_DONE)
            return -EINPROGRESS;
        BUG_ON(status);
        spin_lock(&pool->lock);
        block_numbers[block->base.v / SECURE_BLOCK_SIZE] = (uint32_t)pool->added++;
        pool_block_count(pool, block, -(int)EPT_ENTRIES);
        spin_unlock(&pool->lock);
    }
    return pool->added < pool->count ? -EINPROGRESS : 0;
}

int private_pool_create(struct private_pool *pool, uint64_t blocks)
{
    if (!pool->blocks)
        return pool_begin(pool, blocks);
    if (pool->made < pool->count)
        return make_some(pool);
    int error = pool->added < pool->count ? flush_everywhere(pool) : 0;
    return error ? error : add_some(pool);
}

/* ---- Destruction ----------------------------------------------------------------------------- */

/* Takes back what a stopped TD still has in the block. */
static int reclaim_some(struct private_block *block, struct secure_td *td)
{
    for (unsigned i = 0; i < FRAMES_RECLAIMED; i++) {
        hpa_t page = hpa_add(block->base, block->reclaimed * PAGE_SIZE);
        uint64_t status = secure_page_reclaim(td, page);
        if (status == TDX_FLUSHVP_NOT_DONE || status == TDX_OPERAND_BUSY)
            return -EBUSY;
        BUG_ON(status && status != TDX_PAGE_METADATA_INCORRECT);
        block->reclaimed++;
    }
    return -EINPROGRESS;
}

static void free_block(struct private_pool *pool)
{
    struct private_block *block = &pool->blocks[--pool->made];
    page_show(block->base);
    page_free(block->base, BLOCK_ORDER);
    page_free(block->frames, FRAMES_ORDER);
}

/* The next piece of the work on the last block that is in the map. When it has left the map, it is
 * the hypervisor's again. */
static int remove_block(struct private_pool *pool, struct secure_td *td,
                        const struct secure_host *host)
{
    struct private_block *block = &pool->blocks[pool->added - 1];
    struct secure_frame *frames;
    if (td && block->reclaimed < EPT_ENTRIES)
        return reclaim_some(block, td);
    uint64_t status =
        secure_block_remove(&map, block->base, host, td ? td->context : NULL, &frames);
    if (status == TDX_INTERRUPTED_RESUMABLE || status == TDX_OPERAND_BUSY)
        return -EINPROGRESS;
    BUG_ON(status);
    pool->added--;
    free_block(pool);
    return -EINPROGRESS;
}

int private_pool_destroy(struct private_pool *pool, struct secure_td *td)
{
    if (!pool->blocks)
        return 0;
    for (unsigned i = 0; i < BLOCKS_MADE && pool->made > pool->added; i++)
        free_block(pool);
    if (pool->made > pool->added)
        return -EINPROGRESS;
    if (pool->added)
        return remove_block(pool, td, td ? td->host : NULL);
    page_free(virt_to_phys(pool->blocks), pool_order(pool->count * sizeof(*pool->blocks)));
    *pool = (struct private_pool){0};
    return 0;
}
