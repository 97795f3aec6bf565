/* SPDX-License-Identifier: MIT */
/*
 * What all virtio devices have in common (virtio 1.2, chapters 2 and 3), whatever the transport:
 * status, features, queues, and the interrupt. A transport (dev/virtio_mmio.h) makes calls of the
 * driver's register accesses; a device (dev/virtio_blk.h) handles chains.
 *
 * VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM are offered always and must be accepted: there is
 * no legacy interface, and a device reaches only what its struct dma lets it reach.
 *
 * A notification has a bounded piece of work done. If more is left, `busy` is called, and whoever
 * supplies it calls virtio_go_on() for each further piece.
 *
 * A driver that breaks the rules has its device stop: the status gets NEEDS_RESET, a message says
 * what the driver did, and nothing happens until it resets the device.
 *
 * Callers serialise all calls for one device.
 */
#pragma once

#include "dev/line.h"
#include "dev/virtq.h"

#define VIRTIO_QUEUES 2u     /* of a device, at most */
#define VIRTIO_PIECE  0x2000 /* of work, in bytes; a piece ends after the chain that exceeds it */

struct virtio;

struct virtio_ops {
    const char *name; /* for messages */
    uint32_t id;      /* VIRTIO_ID_ */
    unsigned queues;

    /* Handles a chain and returns the number of bytes that were written to it. If a virtq_
     * function fails, it returns at once. Adds to virtio->work what the chain has cost. */
    uint32_t (*handle)(struct virtio *virtio, struct virtq *queue, const struct virtq_chain *chain);
};

struct virtio {
    const struct virtio_ops *ops;
    struct dma dma;
    struct line line;
    void (*busy)(void *context); /* a piece of work is left; called with the device serialised */
    void *busy_context;
    uint64_t features; /* that are offered */
    const void *config;
    size_t config_size;

    uint64_t driver_features;
    uint8_t status, interrupts; /* VIRTIO_CONFIG_S_, VIRTIO_MMIO_INT_ */
    uint32_t notified;          /* a bit for each queue that has work */
    uint32_t work;              /* bytes of work since the piece began */
    struct virtq queues[VIRTIO_QUEUES];
};

/* Sets the state after reset. `virtio` has its ops, dma, line, busy, config and the device's own
 * features. */
void virtio_init(struct virtio *virtio);

/* The driver writes the status; 0 resets the device. */
void virtio_write_status(struct virtio *virtio, uint8_t value);

/* The driver accepts features: 32 of them, the first or the second half. Afterwards it writes
 * FEATURES_OK, which stays clear if the device can't work with them. */
void virtio_write_features(struct virtio *virtio, unsigned half, uint32_t features);

/* The driver has set up a queue, or wants it back. */
void virtio_enable_queue(struct virtio *virtio, unsigned queue, bool enable);

/* The driver has made chains available. A queue that does not exist is ignored. */
void virtio_notify(struct virtio *virtio, unsigned queue);

/* Does a piece of the work that is left. Returns whether more is. */
bool virtio_go_on(struct virtio *virtio);

/* The driver has seen these interrupts. */
void virtio_acknowledge(struct virtio *virtio, uint32_t interrupts);
