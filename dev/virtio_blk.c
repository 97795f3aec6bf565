/* SPDX-License-Identifier: MIT */
/* See the header. Called by dev/virtio.c. Pure. */
#include "dev/virtio_blk.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

#include <linux/virtio_ids.h>

#define SECTOR        512u
#define BLOCK         4096u
#define BLOCK_SECTORS (BLOCK / SECTOR)

/* The limits of one request, which the configuration space reports. A request for more than BYTES
 * or CLEAR_MAX fails with VIRTIO_BLK_S_IOERR. */
#define SEGMENTS  16u
#define BYTES     (SEGMENTS * BLOCK)
#define CLEAR_MAX 1024u /* sectors */

#define FREED_AT_ONCE 128u /* blocks */

#define CLEAR_WORK 64u /* approximate cost of clearing a block, in bytes of work */

/* The copy of every block that was discarded or cleared. */
static uint8_t zeros[BLOCK];

/* ---- Blocks ---------------------------------------------------------------------------------- */

#define TABLE_BLOCKS (PAGE_SIZE / sizeof(uint8_t *))

static uint64_t virtio_blk_count(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK;
}

static uint64_t table_count(uint64_t size)
{
    return (virtio_blk_count(size) + TABLE_BLOCKS - 1) / TABLE_BLOCKS;
}

static unsigned tables_order(uint64_t size)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < table_count(size) * sizeof(uint8_t **))
        order++;
    return order;
}

uint64_t virtio_blk_pages(uint64_t size, bool read_only)
{
    return read_only ? 0 : virtio_blk_count(size) + table_count(size) + BIT(tables_order(size));
}

/* Returns a page whose contents are undefined, or NULL after a message. */
static void *virtio_blk_take_page(void)
{
    hpa_t page = page_alloc(0);
    if (!page_is_none(page))
        return phys_to_virt(page);
    log_error("virtio disk: no page left for a block that is written; %s", page_shortage());
    return NULL;
}

/* Returns where the copy of a block is recorded, and makes the table for it if there is none. NULL
 * after a message if memory is short. */
static uint8_t **block_entry(struct virtio_blk *disk, uint64_t block)
{
    uint8_t ***table = &disk->tables[block / TABLE_BLOCKS];
    if (!*table) {
        *table = virtio_blk_take_page();
        if (!*table)
            return NULL;
        page_clear(*table, 0);
    }
    return &(*table)[block % TABLE_BLOCKS];
}

/* The address from which a block is read. The last block may be shorter in the image, but
 * in_range() refuses requests beyond the end of the disk. */
static const uint8_t *block_to_read(const struct virtio_blk *disk, uint64_t block)
{
    uint8_t **table = disk->tables ? disk->tables[block / TABLE_BLOCKS] : NULL;
    const uint8_t *copy = table ? table[block % TABLE_BLOCKS] : NULL;
    return copy ? copy : disk->image + block * BLOCK;
}

/* The block's own copy, which is made if there is none; NULL after a message if memory is short. */
static uint8_t *block_to_write(struct virtio_blk *disk, uint64_t block)
{
    uint8_t **entry = block_entry(disk, block), *old = entry ? *entry : NULL;
    if (old && old != zeros)
        return old;
    uint8_t *copy = entry ? virtio_blk_take_page() : NULL;
    if (!copy)
        return NULL;
    uint64_t rest = disk->size - block * BLOCK;
    if (old || rest < BLOCK)
        memset(copy, 0, BLOCK);
    if (!old)
        memcpy(copy, disk->image + block * BLOCK, rest < BLOCK ? rest : BLOCK);
    *entry = copy;
    return copy;
}

static void copy_free(uint8_t *copy)
{
    if (copy && copy != zeros)
        page_free(virt_to_phys(copy), 0);
}

/* Makes a block zeros and frees its copy. Returns false after a message if memory is short. */
static bool block_clear(struct virtio_blk *disk, uint64_t block)
{
    uint8_t **entry = block_entry(disk, block);
    if (!entry)
        return false;
    copy_free(*entry);
    *entry = zeros;
    return true;
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* A request: a chain that consists of the header, data to be written to the disk or room for data
 * to be read from it, and room for the status. */
struct request {
    struct virtio_blk *disk;
    struct virtq *queue;
    const struct virtq_chain *chain;
    struct virtio_blk_outhdr header;
    uint64_t out, in; /* bytes of data from the driver, and to the driver */
};

/* Whether a request takes longer than a piece of work may. A driver that respects seg_max has at
 * most SEGMENTS descriptors beside those of the header and the status. Each further one takes as
 * long as VIRTIO_DESCRIPTOR bytes. */
static bool is_too_long(const struct request *r, uint64_t bytes)
{
    unsigned usual = SEGMENTS + 2, count = r->chain->count;
    return bytes + (count > usual ? count - usual : 0) * VIRTIO_DESCRIPTOR > BYTES;
}

/* Whether a request for this many bytes is valid: whole sectors, all within the capacity. */
static bool in_range(const struct virtio_blk *disk, uint64_t sector, uint64_t bytes)
{
    uint64_t sectors = disk->config.capacity, count = bytes / SECTOR;
    return bytes % SECTOR == 0 && sector <= sectors && count <= sectors - sector;
}

static uint8_t transfer(struct request *r, bool write)
{
    struct virtio_blk *disk = r->disk;
    uint64_t bytes = write ? r->out : r->in, place = r->header.sector * SECTOR;
    if (is_too_long(r, bytes) || !in_range(disk, r->header.sector, bytes) ||
        (write && !disk->tables))
        return VIRTIO_BLK_S_IOERR;
    for (uint64_t done = 0, part; done < bytes; done += part, place += part) {
        uint64_t block = place / BLOCK, offset = place % BLOCK, room = BLOCK - offset;
        part = bytes - done < room ? bytes - done : room;
        uint8_t *to = write ? block_to_write(disk, block) : NULL;
        if (write && !to)
            return VIRTIO_BLK_S_IOERR;
        if (write
                ? !virtq_read(r->queue, r->chain, sizeof(r->header) + done, to + offset, part)
                : !virtq_write(r->queue, r->chain, done, block_to_read(disk, block) + offset, part))
            return VIRTIO_BLK_S_IOERR;
    }
    disk->virtio.work += (uint32_t)bytes;
    return VIRTIO_BLK_S_OK;
}

/* Clears part of a block. Returns false after a message if memory is short. */
static bool block_clear_part(struct virtio_blk *disk, uint64_t block, uint64_t offset,
                             uint64_t bytes)
{
    uint8_t *copy = block_to_write(disk, block);
    if (copy)
        memset(copy + offset, 0, bytes);
    return copy;
}

/* Discards a range or fills it with zeros. Whole blocks become zeros without a copy of their own:
 * the page that the next write to such a block takes stays reserved for the VM, so UNMAP makes no
 * difference. The rest of a range that is discarded is left as it was. A driver that respects
 * discard_sector_alignment of the configuration space discards whole blocks only. */
static uint8_t clear_range(struct request *r, uint32_t allowed_flags, bool discard)
{
    struct virtio_blk *disk = r->disk;
    struct virtio_blk_discard_write_zeroes range;
    if (!disk->tables)
        return VIRTIO_BLK_S_IOERR;
    if (r->out != sizeof(range) ||
        !virtq_read(r->queue, r->chain, sizeof(r->header), &range, sizeof(range)))
        return VIRTIO_BLK_S_IOERR;
    if (range.flags & ~allowed_flags)
        return VIRTIO_BLK_S_UNSUPP;
    uint64_t left = (uint64_t)range.num_sectors * SECTOR;
    if (range.num_sectors > CLEAR_MAX || !in_range(disk, range.sector, left))
        return VIRTIO_BLK_S_IOERR;
    for (uint64_t place = range.sector * SECTOR, part; left; left -= part, place += part) {
        uint64_t block = place / BLOCK, offset = place % BLOCK, room = BLOCK - offset;
        part = left < room ? left : room;
        if (part == BLOCK ? !block_clear(disk, block)
                          : !discard && !block_clear_part(disk, block, offset, part))
            return VIRTIO_BLK_S_IOERR;
        disk->virtio.work += CLEAR_WORK;
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t tell_serial(struct request *r, uint32_t *written)
{
    size_t size = r->in < VIRTIO_BLK_ID_BYTES ? r->in : VIRTIO_BLK_ID_BYTES;
    if (!virtq_write(r->queue, r->chain, 0, r->disk->serial, size))
        return VIRTIO_BLK_S_IOERR;
    *written = (uint32_t)size;
    return VIRTIO_BLK_S_OK;
}

static uint8_t request_do(struct request *r, uint32_t *written)
{
    uint8_t status;
    switch (r->header.type) {
    case VIRTIO_BLK_T_IN:
        status = transfer(r, false);
        *written = status == VIRTIO_BLK_S_OK ? (uint32_t)r->in : 0;
        return status;
    case VIRTIO_BLK_T_OUT:
        return transfer(r, true);
    case VIRTIO_BLK_T_FLUSH:
        return VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_GET_ID:
        return tell_serial(r, written);
    case VIRTIO_BLK_T_DISCARD:
        return clear_range(r, 0, true);
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return clear_range(r, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, false);
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

/* Handles a request. Its status is the last byte that the device writes. */
static uint32_t blk_handle(struct virtio *virtio, struct virtq *queue,
                           const struct virtq_chain *chain)
{
    struct request r = {.disk = (struct virtio_blk *)virtio, .queue = queue, .chain = chain};
    uint32_t written = 0;
    if (chain->bytes_to_read < sizeof(r.header) || !chain->bytes_to_write) {
        virtq_break(queue, "a request of %lu bytes to be read and %lu to be written",
                    chain->bytes_to_read, chain->bytes_to_write);
        return 0;
    }
    r.out = chain->bytes_to_read - sizeof(r.header);
    r.in = chain->bytes_to_write - 1;
    if (!virtq_read(queue, chain, 0, &r.header, sizeof(r.header)))
        return 0;
    uint8_t status = request_do(&r, &written);
    if (queue->why[0] || !virtq_write(queue, chain, r.in, &status, sizeof(status)))
        return 0;
    return written + 1;
}

static const struct virtio_ops blk_ops = {
    .name = "virtio disk", .id = VIRTIO_ID_BLOCK, .queues = 1, .handle = blk_handle};

/* ---- The disk -------------------------------------------------------------------------------- */

int virtio_blk_init(struct virtio_blk *disk, const void *image, uint64_t size, bool read_only,
                    const char *serial)
{
    struct virtio *v = &disk->virtio;
    disk->image = image;
    disk->size = size;
    disk->config = (struct virtio_blk_config){.capacity = size / SECTOR,
                                              .size_max = BLOCK,
                                              .seg_max = SEGMENTS,
                                              .blk_size = SECTOR,
                                              .max_discard_sectors = CLEAR_MAX,
                                              .max_discard_seg = 1,
                                              .discard_sector_alignment = BLOCK_SECTORS,
                                              .max_write_zeroes_sectors = CLEAR_MAX,
                                              .max_write_zeroes_seg = 1,
                                              .write_zeroes_may_unmap = 1};
    memset(disk->serial, 0, sizeof(disk->serial));
    memcpy(disk->serial, serial, strnlen(serial, sizeof(disk->serial)));
    disk->freed = 0;
    v->ops = &blk_ops;
    v->config = &disk->config;
    v->config_size = sizeof(disk->config);
    v->features = BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
                  BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
                  (read_only ? BIT(VIRTIO_BLK_F_RO)
                             : BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES));
    virtio_init(v);
    if (read_only || disk->tables)
        return 0;
    hpa_t tables = page_alloc(tables_order(size));
    if (page_is_none(tables)) {
        log_error("virtio disk: no memory for the table of its blocks; %s", page_shortage());
        return -ENOMEM;
    }
    disk->tables = phys_to_virt(tables);
    page_clear(disk->tables, tables_order(size));
    return 0;
}

bool virtio_blk_destroy_piece(struct virtio_blk *disk)
{
    uint64_t count = virtio_blk_count(disk->size), at = disk->freed;
    for (unsigned steps = 0; disk->tables && at < count && steps < FREED_AT_ONCE; steps++) {
        uint8_t ***table = &disk->tables[at / TABLE_BLOCKS];
        uint64_t end = (at / TABLE_BLOCKS + 1) * TABLE_BLOCKS;
        if (*table)
            copy_free((*table)[at++ % TABLE_BLOCKS]);
        else
            at = end;
        if (*table && (at == end || at == count)) {
            page_free(virt_to_phys(*table), 0);
            *table = NULL;
        }
    }
    disk->freed = at;
    if (!disk->tables)
        return true;
    if (at < count)
        return false;
    page_free(virt_to_phys(disk->tables), tables_order(disk->size));
    disk->tables = NULL;
    return true;
}
