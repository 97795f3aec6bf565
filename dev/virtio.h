/* SPDX-License-Identifier: MIT */
/*
 * The part of a virtio device that does not depend on the transport or the device type (virtio 1.2,
 * chapters 2 and 3): status, features, queues, and interrupts. A transport (dev/virtio_mmio.h,
 * dev/virtio_pci.h) turns the driver's register accesses into calls of these functions; a device
 * (dev/virtio_blk.h, dev/virtio_net.h, dev/virtio_console.h, dev/virtio_rng.h) handles chains.
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

/* Results of `handle` that are no number of bytes. */
#define VIRTIO_NO_INPUT (~0u)      /* the chain was not used, as there is no input */
#define VIRTIO_AGAIN    (~0u - 1u) /* queue->handled was increased; handle the rest of the chain */

/* The causes of interrupts, as both transports report them (sections 4.1.4.5 and 4.2.2). */
#define VIRTIO_INTERRUPT_QUEUE  1u
#define VIRTIO_INTERRUPT_CONFIG 2u

#define VIRTIO_SOURCE_CONFIG VIRTIO_QUEUES /* source of an interrupt that is not of a queue */

struct lapic_message;
struct virtio;

struct virtio_ops {
    const char *name; /* for messages */
    uint32_t id;      /* VIRTIO_ID_ */
    unsigned queues;

    /* Handles a chain and returns the number of bytes that were written to it. Returns at once if a
     * virtq_ function fails. Adds the cost of the chain to virtio->work. */
    uint32_t (*handle)(struct virtio *virtio, struct virtq *queue, const struct virtq_chain *chain);

    /* Not NULL if the chains of queue 0 wait for input, for which somebody calls virtio_receive().
     * `input_changed` is called after the driver's notifications of queue 0, which ask for no work
     * then, and whenever virtio_accepts_input() may have changed. `input_waits` returns true if
     * there is input. */
    void (*input_changed)(struct virtio *virtio);
    bool (*input_waits)(const struct virtio *virtio);

    /* Not NULL if the device has something to do when the driver has set DRIVER_OK. */
    void (*started)(struct virtio *virtio);
};

struct virtio {
    const struct virtio_ops *ops;
    struct dma dma;
    struct line line;   /* asserted while `interrupts` is not 0 */
    void (*busy)(void); /* work is left; called with the device serialised */
    uint64_t features;  /* offered features */

    /* NULL, or tells the driver of an interrupt by a message, if the driver uses messages instead
     * of the line. `source` is the number of the queue, or VIRTIO_SOURCE_CONFIG. */
    void (*message)(struct virtio *virtio, unsigned source);
    void *transport; /* for `message` */

    /* Likewise. Sets *message to what would be sent for a queue, or returns false if nothing. */
    bool (*would_send)(const struct virtio *virtio, unsigned queue, struct lapic_message *message);
    const void *config;
    size_t config_size;

    uint64_t driver_features;
    uint8_t status, interrupts; /* VIRTIO_CONFIG_S_, VIRTIO_INTERRUPT_ */
    uint8_t generation;         /* counts changes of the configuration space */
    uint32_t notified;          /* bitmap of the queues that have work */
    uint32_t work;              /* bytes of work done in the current piece */
    struct virtq queues[VIRTIO_QUEUES];
};

/* Initializes the device to its state after reset. The caller has set ops, dma, line, busy and
 * config, and the features of the device type. */
void virtio_init(struct virtio *virtio);

/* Handles a write of the status register by the driver; the value 0 resets the device. */
void virtio_write_status(struct virtio *virtio, uint8_t value);

/* Reads up to 8 bytes of the configuration space, which is followed by zeros. */
uint64_t virtio_read_config(const struct virtio *virtio, uint64_t offset, unsigned size);

/* Returns 32 of the offered features: bits 31:0 if `half` is 0, bits 63:32 if it is 1. */
uint32_t virtio_read_features(const struct virtio *virtio, unsigned half);

/* Handles a write of 32 of the driver's features: bits 31:0 if `half` is 0, bits 63:32 if it is 1.
 * The driver sets FEATURES_OK afterwards, which stays clear if the device can't work with this set
 * of features. */
void virtio_write_features(struct virtio *virtio, unsigned half, uint32_t features);

/* Returns a queue, or NULL if it does not exist. */
struct virtq *virtio_queue(struct virtio *virtio, unsigned queue);

/* Set the number of descriptors of a queue that is not enabled, which is VIRTQ_SIZE_MAX after a
 * reset, and 32 bits of the addresses of its three parts: `word` counts from the lower half of the
 * descriptors' address, in the order of the registers. A queue that does not exist is ignored. */
void virtio_write_queue_size(struct virtio *virtio, unsigned queue, uint32_t size);
void virtio_write_queue_address(struct virtio *virtio, unsigned queue, unsigned word,
                                uint32_t value);

uint32_t virtio_read_queue_address(struct virtio *virtio, unsigned queue, unsigned word);

/* Makes a queue what it is after a reset of the device, if the driver has accepted
 * VIRTIO_F_RING_RESET, which not every transport offers. Returns true if so. */
bool virtio_reset_queue(struct virtio *virtio, unsigned queue);

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

/* Gives the driver a piece of the input that waits, if it has started queue 0. Returns true if more
 * input waits and there may be chains for it. */
bool virtio_receive(struct virtio *virtio) MUST_CHECK;

/* Called after the device has changed its configuration space: the driver can see that by the
 * generation, and is told by an interrupt. */
void virtio_config_changed(struct virtio *virtio);

/* Acknowledges interrupts for the driver. The line is lowered when none is left. */
void virtio_acknowledge(struct virtio *virtio, uint32_t interrupts);
