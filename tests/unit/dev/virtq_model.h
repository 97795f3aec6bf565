/* SPDX-License-Identifier: MIT */
/*
 * A model of a virtio disk that handles a notification. It knows how the driver has set the queue
 * up, and has a copy of the guest's RAM, on which it does what sections 2.7 and 5.2 of the
 * specification demand, byte by byte; the disk is an array of bytes. It has no pieces, copies or
 * tables. Include it in one file, after virtio_world.h.
 */
#pragma once

static uint8_t model_ram[RAM_SIZE], model_disk[IMAGE_SIZE];
static bool model_broken;

static struct {
    uint32_t count, readable;
    uint64_t out, in; /* bytes that the device reads, and that it writes */
    struct vring_desc d[VIRTQ_SIZE_MAX];
} model_chain;

/* Copies from or to the RAM. What is not RAM breaks the queue. */
static inline void model_copy(uint64_t address, void *bytes, size_t size, bool write)
{
    for (size_t i = 0; i < size && !model_broken; i++) {
        uint64_t at = address + i;
        if (at < RAM_BASE || at >= RAM_BASE + RAM_SIZE)
            model_broken = true;
        else if (write)
            model_ram[at - RAM_BASE] = ((const uint8_t *)bytes)[i];
        else
            ((uint8_t *)bytes)[i] = model_ram[at - RAM_BASE];
    }
}

static inline uint16_t model_word(uint64_t address)
{
    uint16_t word = 0;
    model_copy(address, &word, sizeof(word), false);
    return word;
}

/* ---- Chains ---------------------------------------------------------------------------------- */

static inline void model_add(const struct vring_desc *d)
{
    bool write = d->flags & VRING_DESC_F_WRITE;
    if (!write && model_chain.in + (model_chain.count - model_chain.readable))
        model_broken = true; /* what is read comes first */
    model_chain.d[model_chain.count++] = *d;
    model_chain.readable += !write;
    *(write ? &model_chain.in : &model_chain.out) += d->len;
    if (model_chain.in + model_chain.out > 1ull << 32)
        model_broken = true;
}

/* Follows a chain in a table. An indirect descriptor ends it, and is returned. */
static inline struct vring_desc model_follow(uint64_t table, uint32_t size, uint32_t limit,
                                             uint16_t at)
{
    struct vring_desc d = {.flags = VRING_DESC_F_NEXT, .next = at};
    while (d.flags & VRING_DESC_F_NEXT && !model_broken) {
        model_broken = d.next >= size || model_chain.count >= limit;
        model_copy(table + d.next * 16ull, &d, sizeof(d), false);
        if (model_broken || d.flags & VRING_DESC_F_INDIRECT)
            break;
        model_add(&d);
    }
    return d;
}

static inline void model_walk(const struct virtq *q, uint16_t head)
{
    model_chain.count = model_chain.readable = 0;
    model_chain.in = model_chain.out = 0;
    struct vring_desc d = model_follow(q->descriptors, q->size, q->size, head);
    if (model_broken || !(d.flags & VRING_DESC_F_INDIRECT))
        return;
    model_broken = !q->indirect || d.flags & VRING_DESC_F_NEXT || !d.len || d.len % 16 ||
                   d.len > 16 * VIRTQ_SIZE_MAX;
    if (!model_broken)
        d = model_follow(d.addr, d.len / 16, VIRTQ_SIZE_MAX, 0);
    model_broken |= (d.flags & VRING_DESC_F_INDIRECT) != 0;
}

/* Copies `size` bytes that begin `offset` bytes into the descriptors that the device reads, or into
 * those that it writes. */
static inline void model_move(uint64_t offset, void *bytes, uint64_t size, bool write)
{
    uint32_t from = write ? model_chain.readable : 0;
    uint32_t to = write ? model_chain.count : model_chain.readable;
    uint64_t begin = 0;
    for (uint32_t i = from; i < to; begin += model_chain.d[i++].len) {
        uint64_t end = begin + model_chain.d[i].len;
        uint64_t first = offset > begin ? offset : begin;
        uint64_t last = offset + size < end ? offset + size : end;
        if (first < last)
            model_copy(model_chain.d[i].addr + (first - begin), (uint8_t *)bytes + (first - offset),
                       last - first, write);
    }
}

/* ---- Requests -------------------------------------------------------------------------------- */

static inline bool model_fits(uint64_t sector, uint64_t bytes)
{
    return bytes % 512 == 0 && sector <= IMAGE_SIZE / 512 &&
           sector * 512 + bytes <= IMAGE_SIZE / 512 * 512;
}

/* A transfer moves at most 64 KiB, and 640 bytes less for each descriptor beyond the 18th. */
static inline uint8_t model_transfer(uint64_t sector, uint64_t bytes, bool write, bool read_only)
{
    uint64_t extra = model_chain.count > 18 ? model_chain.count - 18 : 0;
    if (bytes + extra * 640 > 0x10000 || !model_fits(sector, bytes) || (write && read_only))
        return VIRTIO_BLK_S_IOERR;
    model_move(write ? 16 : 0, model_disk + sector * 512, bytes, !write);
    return VIRTIO_BLK_S_OK;
}

/* The whole blocks of a range that is discarded are zeros, the others are as before. */
static inline uint8_t model_clear(uint64_t bytes, bool discard, bool read_only)
{
    struct virtio_blk_discard_write_zeroes range;
    if (read_only || bytes != 16)
        return VIRTIO_BLK_S_IOERR;
    model_move(16, &range, sizeof(range), false);
    if (model_broken)
        return VIRTIO_BLK_S_IOERR;
    if (range.flags & (discard ? ~0u : ~1u))
        return VIRTIO_BLK_S_UNSUPP;
    if (range.num_sectors > 1024 || !model_fits(range.sector, range.num_sectors * 512ull))
        return VIRTIO_BLK_S_IOERR;
    uint64_t begin = range.sector * 512, end = begin + range.num_sectors * 512ull;
    for (uint64_t at = begin; at < end; at++) {
        uint64_t block = at / 4096 * 4096;
        if (!discard || (block >= begin && block + 4096 <= end))
            model_disk[at] = 0;
    }
    return VIRTIO_BLK_S_OK;
}

/* Returns the number of bytes written. */
static inline uint32_t model_request(bool read_only)
{
    struct virtio_blk_outhdr header;
    char id[20] = "a-serial";
    if (model_chain.out < 16 || !model_chain.in)
        model_broken = true;
    model_move(0, &header, sizeof(header), false);
    if (model_broken)
        return 0;
    uint64_t out = model_chain.out - 16, in = model_chain.in - 1;
    uint32_t written = 0;
    uint8_t status = VIRTIO_BLK_S_OK;
    if (header.type == VIRTIO_BLK_T_IN) {
        status = model_transfer(header.sector, in, false, read_only);
        written = status ? 0 : (uint32_t)in;
    } else if (header.type == VIRTIO_BLK_T_OUT) {
        status = model_transfer(header.sector, out, true, read_only);
    } else if (header.type == VIRTIO_BLK_T_DISCARD || header.type == VIRTIO_BLK_T_WRITE_ZEROES) {
        status = model_clear(out, header.type == VIRTIO_BLK_T_DISCARD, read_only);
    } else if (header.type == VIRTIO_BLK_T_GET_ID) {
        written = in < 20 ? (uint32_t)in : 20;
        model_move(0, id, written, true);
    } else if (header.type != VIRTIO_BLK_T_FLUSH) {
        status = VIRTIO_BLK_S_UNSUPP;
    }
    model_move(in, &status, 1, true);
    return written + 1;
}

/* ---- A notification -------------------------------------------------------------------------- */

/* Handles all chains that are available. Returns their number, or what came before the one that
 * breaks the queue. The queue is as it was before the notification. */
static inline uint16_t model_notify(const struct virtq *q, bool read_only)
{
    uint16_t taken = q->taken, returned = q->returned, before = returned;
    memcpy(model_ram, guest_ram, RAM_SIZE);
    model_broken = false;
    for (;;) {
        uint16_t waiting = (uint16_t)(model_word(q->available + 2) - taken);
        if (!waiting && q->event_index) {
            model_copy(q->used + 4 + 8ull * q->size, &taken, sizeof(taken), true);
            waiting = (uint16_t)(model_word(q->available + 2) - taken);
        }
        model_broken |= waiting > q->size;
        if (!waiting || model_broken)
            break;
        uint16_t head = model_word(q->available + 4 + 2ull * (taken++ % q->size));
        if (!model_broken)
            model_walk(q, head);
        struct vring_used_elem element = {head, model_broken ? 0 : model_request(read_only)};
        model_copy(q->used + 4 + 8ull * (returned % q->size), &element, sizeof(element), true);
        if (model_broken)
            break;
        returned++;
        model_copy(q->used + 2, &returned, sizeof(returned), true);
    }
    return (uint16_t)(returned - before);
}

/* ---- The comparison -------------------------------------------------------------------------- */

/* Called after make_disk(). */
static inline void model_reset(void)
{
    memcpy(model_disk, image, IMAGE_SIZE);
}

/* What the disk holds. */
static inline void read_disk(uint8_t *bytes)
{
    memcpy(bytes, image, IMAGE_SIZE);
    for (uint64_t at = 0; disk.tables && at < IMAGE_SIZE; at++) {
        uint8_t **table = disk.tables[at / 4096 / 512];
        const uint8_t *copy = table ? table[at / 4096 % 512] : NULL;
        if (copy)
            bytes[at] = copy[at % 4096];
    }
}

/* Whether the device can read when the driver wants an interrupt. If not, its queue breaks at the
 * end of a piece, which the model does not know. */
static inline bool knows_interrupts(const struct virtq *q)
{
    uint64_t at = q->available + (q->event_index ? 4 + 2ull * q->size : 0);
    return in_ram(at, 2);
}

/* Notifies the device and lets it do all its work, and compares what it did with the model. */
static inline void notify_beside_the_model(void)
{
    static uint8_t found[IMAGE_SIZE];
    struct virtq before = disk.virtio.queues[0];
    bool live = (reg(VIRTIO_MMIO_STATUS) & (VIRTIO_CONFIG_S_DRIVER_OK | 0x40)) == 4 && before.ready;
    uint16_t handled = live ? model_notify(&before, !disk.tables) : 0;
    notify();
    while (virtio_go_on(&disk.virtio))
        ;
    read_disk(found);
    bool knows = live && (!handled || knows_interrupts(&before));
    if (knows) {
        uint16_t returned = disk.virtio.queues[0].returned;
        assert_int_equal(needs_reset(), model_broken);
        assert_int_equal((uint16_t)(returned - before.returned), handled);
    }
    if (knows && !model_broken)
        assert_memory_equal(guest_ram, model_ram, RAM_SIZE);
    else
        memcpy(model_disk, found, IMAGE_SIZE); /* how much of the last request was done is open */
    assert_memory_equal(found, model_disk, IMAGE_SIZE);
}
