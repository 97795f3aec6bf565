/* SPDX-License-Identifier: MIT */
/*
 * A virtio entropy device (virtio 1.2, section 5.4): it fills the driver's buffers with random
 * bytes. A buffer may be returned with fewer bytes than it has room for, so a request gets no more
 * than VIRTIO_RNG_MOST.
 */
#pragma once

#include "dev/virtio.h"

#define VIRTIO_RNG_BYTES 48u /* that the source makes at a time */

/* Linux asks for 64 bytes. If it gets fewer, 6.1.192 can lose count and wait for ever. */
#define VIRTIO_RNG_MOST (2 * VIRTIO_RNG_BYTES)

struct virtio_rng {
    struct virtio virtio; /* at offset 0 */

    void (*source)(struct virtio_rng *rng, uint8_t bytes[VIRTIO_RNG_BYTES]);
};

/* Initializes the device. The caller has set virtio's dma, line and busy, and `source`. */
void virtio_rng_init(struct virtio_rng *rng);
