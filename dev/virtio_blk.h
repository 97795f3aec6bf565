/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk (virtio 1.2, section 5.2) backed by an image in memory. The image is never
 * modified: a 4 KiB block is copied before the guest's first write to it. The copies are recorded
 * in tables of 512 blocks, each of which is allocated when a block in it is first written. Writes
 * are complete once they are in memory, so a flush does nothing. A discarded block reads as zeros,
 * and its copy is freed.
 */
#pragma once

#include "dev/virtio.h"

#define VIRTIO_CONFIG_NO_LEGACY
#include <linux/virtio_blk.h>

struct virtio_blk {
    struct virtio virtio; /* at offset 0 */
    struct virtio_blk_config config;
    const uint8_t *image;
    uint64_t size; /* size of the image in bytes */

    /* The tables, each NULL or with the copy of each of its blocks, which is NULL if the block has
     * not been written, and `zeros` if it was discarded. NULL if the disk is read-only. */
    uint8_t ***tables;
    uint64_t freed; /* blocks freed so far by virtio_blk_destroy_piece() */
    char serial[VIRTIO_BLK_ID_BYTES];
};

/* Initializes a disk on an image of at least one sector; bytes beyond the last whole sector are not
 * used. The caller has set virtio's dma, line and busy, and `tables`: NULL, or the tables of an
 * earlier disk on this image, whose contents this disk then has. Returns 0, or -ENOMEM after a
 * message. */
int virtio_blk_init(struct virtio_blk *disk, const void *image, uint64_t size, bool read_only,
                    const char *serial) MUST_CHECK;

/* Frees the next few copies, at last the table. Returns true when nothing is left. */
bool virtio_blk_destroy_piece(struct virtio_blk *disk) MUST_CHECK;

/* The most pages that a disk of this size can need in addition to its image: a copy of each block,
 * and the tables of the copies. 0 if it is read-only. */
uint64_t virtio_blk_pages(uint64_t size, bool read_only);
