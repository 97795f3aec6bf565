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
 * or DISCARD_MAX fails with VIRTIO_BLK_S_IOERR. */
#define SEGMENTS    16u
#define BYTES       (SEGMENTS * BLOCK)
#define DISCARD_MAX 1024u /* sectors */

#define FREED_AT_ONCE 128u /* blocks */

#define DISCARD_WORK 64u /* approximate cost of discarding a block, in bytes of work */

/* The copy of every discarded block. */
static uint8_t zeros[BLOCK];

/* ---- Blocks ---------------------------------------------------------------------------------- */

static uint64_t block_count(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK;
}

static unsigned table_order(uint64_t size)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < block_count(size) * sizeof(uint8_t *))
        order++;
    return order;
}

uint64_t virtio_blk_pages(uint64_t size, bool read_only)
{
    return read_only ? 0 : block_count(size) + BIT(table_order(size));
}

/* The address from which a block is read. The last block may be shorter in the image, but
 * in_range() refuses requests beyond the end of the disk. */
static const uint8_t *block_to_read(const struct virtio_blk *disk, uint64_t block)
{
    const uint8_t *copy = disk->copies ? disk->copies[block] : NULL;
    return copy ? copy : disk->image + block * BLOCK;
}

/* The block's own copy, which is made if there is none; NULL after a message if memory is short. */
static uint8_t *block_to_write(struct virtio_blk *disk, uint64_t block)
{
    uint8_t *old = disk->copies[block];
    if (old && old != zeros)
        return old;
    hpa_t page = page_alloc(0);
    if (page_is_none(page)) {
        log_error("virtio disk: no page left for a block that is written; %s", page_shortage());
        return NULL;
    }
    uint64_t rest = disk->size - block * BLOCK;
    uint8_t *copy = phys_to_virt(page);
    if (old || rest < BLOCK)
        memset(copy, 0, BLOCK);
    if (!old)
        memcpy(copy, disk->image + block * BLOCK, rest < BLOCK ? rest : BLOCK);
    disk->copies[block] = copy;
    return copy;
}

static void block_discard(struct virtio_blk *disk, uint64_t block)
{
    uint8_t *old = disk->copies[block];
    if (old && old != zeros)
        page_free(virt_to_phys(old), 0);
    disk->copies[block] = zeros;
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
    if (bytes > BYTES || !in_range(disk, r->header.sector, bytes) || (write && !disk->copies))
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

/* Discards the blocks that lie completely in the range. A driver that respects
 * discard_sector_alignment of the configuration space passes whole blocks only. */
static uint8_t discard(struct request *r)
{
    struct virtio_blk *disk = r->disk;
    struct virtio_blk_discard_write_zeroes range;
    if (!disk->copies)
        return VIRTIO_BLK_S_IOERR;
    if (r->out != sizeof(range) ||
        !virtq_read(r->queue, r->chain, sizeof(r->header), &range, sizeof(range)))
        return VIRTIO_BLK_S_IOERR;
    if (range.flags)
        return VIRTIO_BLK_S_UNSUPP;
    if (range.num_sectors > DISCARD_MAX ||
        !in_range(disk, range.sector, (uint64_t)range.num_sectors * SECTOR))
        return VIRTIO_BLK_S_IOERR;
    uint64_t first = (range.sector + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
    uint64_t end = (range.sector + range.num_sectors) / BLOCK_SECTORS;
    for (uint64_t block = first; block < end; block++) {
        block_discard(disk, block);
        disk->virtio.work += DISCARD_WORK;
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
        return discard(r);
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
                                              .max_discard_sectors = DISCARD_MAX,
                                              .max_discard_seg = 1,
                                              .discard_sector_alignment = BLOCK_SECTORS};
    memset(disk->serial, 0, sizeof(disk->serial));
    memcpy(disk->serial, serial, strnlen(serial, sizeof(disk->serial)));
    disk->copies = NULL;
    disk->freed = 0;
    v->ops = &blk_ops;
    v->config = &disk->config;
    v->config_size = sizeof(disk->config);
    v->features = BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
                  BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
                  BIT(read_only ? VIRTIO_BLK_F_RO : VIRTIO_BLK_F_DISCARD);
    virtio_init(v);
    if (read_only)
        return 0;
    hpa_t table = page_alloc(table_order(size));
    if (page_is_none(table)) {
        log_error("virtio disk: no memory for the table of its blocks; %s", page_shortage());
        return -ENOMEM;
    }
    disk->copies = phys_to_virt(table);
    page_clear(disk->copies, table_order(size));
    return 0;
}

bool virtio_blk_destroy_piece(struct virtio_blk *disk)
{
    uint64_t count = block_count(disk->size), end = disk->freed + FREED_AT_ONCE;
    if (!disk->copies)
        return true;
    for (; disk->freed < count && disk->freed < end; disk->freed++)
        block_discard(disk, disk->freed);
    if (disk->freed < count)
        return false;
    page_free(virt_to_phys(disk->copies), table_order(disk->size));
    disk->copies = NULL;
    return true;
}
