/* SPDX-License-Identifier: MIT */
/*
 * The part of a virtio device that does not depend on the transport or the device type (virtio 1.2,
 * chapters 2 and 3): status, features, queues, and the interrupt. A transport (dev/virtio_mmio.h)
 * turns the driver's register accesses into calls of these functions; a device (dev/virtio_blk.h,
 * dev/virtio_net.h) handles chains.
 *
 * VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM are always offered, and the driver must accept
 * both: there is no legacy interface, and a device accesses guest memory only through its struct
 * dma.
 *
 * A notification handles a bounded piece of work. If work is left afterwards, `busy` is called, and
 * its supplier calls virtio_go_on() for each further piece.
 *
 * When a driver violates the specification, the device logs what the driver did, sets NEEDS_RESET
 * in its status, and processes nothing until the driver resets it.
 *
 * Callers serialise all calls for one device.
 */
#pragma once

#include "dev/line.h"
#include "dev/virtq.h"

#define VIRTIO_QUEUES 2u     /* most queues of a device */
#define VIRTIO_PIECE  0x2000 /* bytes of work in a piece, which the last chain may exceed */

/* The approximate cost of a descriptor, which is read and translated, in bytes of work. */
#define VIRTIO_DESCRIPTOR 640u

#define VIRTIO_NO_INPUT (~0u) /* result of `handle`: the chain was not used, as there is no input */

struct virtio;

struct virtio_ops {
    const char *name; /* for messages */
    uint32_t id;      /* VIRTIO_ID_ */
    unsigned queues;

    /* Handles a chain and returns the number of bytes that were written to it. Returns at once if a
     * virtq_ function fails. Adds the cost of the chain to virtio->work. */
    uint32_t (*handle)(struct virtio *virtio, struct virtq *queue, const struct virtq_chain *chain);

    /* Not NULL if the chains of queue 0 wait for input, for which the device calls virtio_input().
     * Called after the driver's notifications of queue 0, which ask for no work then, and whenever
     * virtio_accepts_input() may have changed. */
    void (*input_changed)(struct virtio *virtio);
};

struct virtio {
    const struct virtio_ops *ops;
    struct dma dma;
    struct line line;
    void (*busy)(void); /* work is left; called with the device serialised */
    uint64_t features;  /* offered features */
    const void *config;
    size_t config_size;

    uint64_t driver_features;
    uint8_t status, interrupts; /* VIRTIO_CONFIG_S_, VIRTIO_MMIO_INT_ */
    uint32_t notified;          /* bitmap of the queues that have work */
    uint32_t work;              /* bytes of work done in the current piece */
    struct virtq queues[VIRTIO_QUEUES];
};

/* Initializes the device to its state after reset. The caller has set ops, dma, line, busy and
 * config, and the features of the device type. */
void virtio_init(struct virtio *virtio);

/* Handles a write of the status register by the driver; the value 0 resets the device. */
void virtio_write_status(struct virtio *virtio, uint8_t value);

/* Handles a write of 32 of the driver's features: bits 31:0 if `half` is 0, bits 63:32 if it is 1.
 * The driver sets FEATURES_OK afterwards, which stays clear if the device can't work with this set
 * of features. */
void virtio_write_features(struct virtio *virtio, unsigned half, uint32_t features);

/* Enables a queue that the driver has set up, or disables it. A queue that does not exist is
 * ignored. */
void virtio_enable_queue(struct virtio *virtio, unsigned queue, bool enable);

/* Handles a notification that chains are available: does a piece of the work, and calls `busy` if
 * some is left. A queue that does not exist is ignored. */
void virtio_notify(struct virtio *virtio, unsigned queue);

/* Does the next piece of the remaining work. Returns true if work is left. */
bool virtio_go_on(struct virtio *virtio);

/* Returns true if the driver has started the device and queue 0. */
bool virtio_accepts_input(const struct virtio *virtio);

/* Does a piece of work on queue 0, because there is input for it. Returns true if the piece is
 * complete, so that more input may be left; otherwise no input or no chain is left. */
bool virtio_input(struct virtio *virtio) MUST_CHECK;

/* Acknowledges interrupts for the driver. The line is lowered when none is left. */
void virtio_acknowledge(struct virtio *virtio, uint32_t interrupts);
