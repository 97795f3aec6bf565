/* SPDX-License-Identifier: MIT */
/* See the header. Called by dev/virtio.c. Pure. */
#include "dev/virtio_rng.h"

#include "lib/string.h"

#include <linux/virtio_ids.h>

/* The approximate cost of a request in bytes of work: the source computes digests of several
 * blocks, so a piece of work is one request. */
#define REQUEST_WORK VIRTIO_PIECE

static uint32_t rng_handle(struct virtio *virtio, struct virtq *queue,
                           const struct virtq_chain *chain)
{
    struct virtio_rng *rng = (struct virtio_rng *)virtio;
    uint8_t bytes[VIRTIO_RNG_MOST];
    if (chain->bytes_to_read) {
        virtq_break(queue, "a request for random bytes with %lu bytes to be read",
                    chain->bytes_to_read);
        return 0;
    }
    bool whole = chain->bytes_to_write >= sizeof(bytes);
    uint32_t count = whole ? sizeof(bytes) : (uint32_t)chain->bytes_to_write;
    for (uint32_t made = 0; made < count; made += VIRTIO_RNG_BYTES)
        rng->source(rng, bytes + made);
    virtio->work += REQUEST_WORK;
    bool written = virtq_write(queue, chain, 0, bytes, count);
    memset(bytes, 0, sizeof(bytes)); /* nobody else is to know them */
    return written ? count : 0;
}

static const struct virtio_ops rng_ops = {
    .name = "virtio rng", .id = VIRTIO_ID_RNG, .queues = 1, .handle = rng_handle};

void virtio_rng_init(struct virtio_rng *rng)
{
    rng->virtio.ops = &rng_ops;
    virtio_init(&rng->virtio);
}
