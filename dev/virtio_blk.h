/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk (virtio 1.2, section 5.2) on an image in memory, which it never changes: a block of
 * 4 KiB that the guest writes is copied first. What is written is in memory, and so a flush has
 * nothing to do. A block that is discarded reads zeros and gives its copy back.
 */
#pragma once

#include "dev/virtio.h"

#define VIRTIO_CONFIG_NO_LEGACY
#include <linux/virtio_blk.h>

struct virtio_blk {
    struct virtio virtio; /* at offset 0 */
    struct virtio_blk_config config;
    const uint8_t *image;
    uint64_t size;    /* of the image, in bytes */
    uint8_t **copies; /* of each block: its copy, NULL, or `zeros`; NULL: the disk is read-only */
    uint64_t freed;   /* blocks, while it is taken apart */
    char serial[VIRTIO_BLK_ID_BYTES];
};

/* Makes a disk of an image of at least one sector; bytes beyond the last whole sector are not used.
 * The caller has set virtio's dma, line and busy. Returns 0, or -ENOMEM after a message. */
int virtio_blk_init(struct virtio_blk *disk, const void *image, uint64_t size, bool read_only,
                    const char *serial) MUST_CHECK;

/* Frees a piece of the copies, which is short. Returns whether nothing is left. */
bool virtio_blk_destroy_piece(struct virtio_blk *disk) MUST_CHECK;

/* The pages that a disk can come to need beside its image: a copy of each block, and their
 * table. */
uint64_t virtio_blk_pages(uint64_t size, bool read_only);
