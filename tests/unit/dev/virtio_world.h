/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk with its transport, a guest's RAM, and a driver (virtio_driver.h). Include it in
 * one file.
 */
#pragma once

#include "tests/unit/dev/virtio_driver.h"

#include "dev/virtio_blk.h"

/* ---- The device ------------------------------------------------------------------------------ */

#define IMAGE_BLOCKS 40u
#define IMAGE_SIZE   (IMAGE_BLOCKS * 4096u - 1536u) /* the last block is not whole */

static uint8_t image[IMAGE_SIZE];
static struct virtio_blk disk;

static inline void make_disk(bool read_only)
{
    static bool filled;
    for (unsigned i = 0; !filled && i < IMAGE_SIZE; i++)
        image[i] = (uint8_t)(i * 7 + i / 512 * 13 + 1);
    filled = true;
    memset(&disk, 0, sizeof(disk));
    prepare(&disk.virtio);
    assert_int_equal(virtio_blk_init(&disk, image, IMAGE_SIZE, read_only, "a-serial"), 0);
    connect(&disk.virtio);
}

static inline void destroy_disk(void)
{
    while (!virtio_blk_destroy_piece(&disk))
        ;
}

/* ---- The driver ------------------------------------------------------------------------------ */

#define HEADER (RAM_BASE + 0x4000)
#define STATUS (RAM_BASE + 0x4100)

static inline void header(uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr h = {.type = type, .sector = sector};
    memcpy(ram(HEADER), &h, sizeof(h));
    *(uint8_t *)ram(STATUS) = 0xee;
}

/* Makes one request with `count` consecutive buffers of `length` bytes each. Returns its status;
 * `request_written` is set to the number of bytes that the device reports as written. */
static uint32_t request_written;
static inline uint8_t request(uint32_t type, uint64_t sector, unsigned count, uint32_t length)
{
    unsigned write =
        type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID ? VRING_DESC_F_WRITE : 0;
    header(type, sector);
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 1; i <= count; i++)
        describe(descriptor(i), BUFFERS + (i - 1) * length, length, VRING_DESC_F_NEXT | write,
                 i + 1);
    describe(descriptor(count + 1), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
    notify();
    struct vring_used_elem element = take_used();
    assert_int_equal(element.id, 0);
    request_written = element.len;
    return *(uint8_t *)ram(STATUS);
}

/* ---- For tests that have one disk ------------------------------------------------------------ */

static inline int setup_disk(void **state)
{
    (void)state;
    support_reset();
    make_disk(false);
    return 0;
}

static inline int teardown_disk(void **state)
{
    (void)state;
    destroy_disk();
    return support_pages_in_use() != 0;
}
