/* SPDX-License-Identifier: MIT */
/*
 * A split virtqueue (virtio 1.2, section 2.7): the driver makes chains of descriptors available in
 * one ring, and the device returns them in another. Both rings and the descriptors are in the
 * guest's memory and may change at any time, so each value is read once and checked before it is
 * used: indexes, lengths, directions, and that a chain ends. Anything that a driver must not do
 * makes the queue broken, with a message; nothing else in it is touched then.
 *
 * Callers serialise the functions of one queue.
 */
#pragma once

#include "dev/dma.h"

#define VIRTQ_SIZE_MAX 64u /* descriptors of a queue, and of a chain */

struct virtq {
    const struct dma *dma;
    bool indirect, event_index; /* features that were negotiated */
    bool ready;
    uint16_t size;
    uint64_t descriptors, available, used; /* guest-physical addresses of the three parts */
    uint16_t taken;                        /* chains taken from the available ring */
    uint16_t returned;                     /* chains put into the used ring */
    uint16_t reported;                     /* of these, how many an interrupt was decided for */
    char why[96];                          /* broken: what the driver has done */
};

struct virtq_segment {
    uint64_t address;
    uint32_t length;
};

/* A chain: first the segments that the device reads, then those that it writes. */
struct virtq_chain {
    uint16_t head;
    unsigned readable, count; /* segments: that the device reads, and in all */
    uint64_t bytes_to_read, bytes_to_write;
    struct virtq_segment segments[VIRTQ_SIZE_MAX];
};

enum virtq_result {
    VIRTQ_CHAIN,
    VIRTQ_EMPTY,
    VIRTQ_BROKEN, /* see `why` */
};

/* Begins to use a queue whose size and addresses the driver has set. VIRTQ_EMPTY, or VIRTQ_BROKEN
 * if they are illegal. */
enum virtq_result virtq_start(struct virtq *queue) MUST_CHECK;

/* Takes the next chain. On VIRTQ_EMPTY the driver has been asked to notify the device of the next
 * one. */
enum virtq_result virtq_take(struct virtq *queue, struct virtq_chain *chain) MUST_CHECK;

/* Makes the queue broken: the format says what the driver has done. Returns VIRTQ_BROKEN. */
enum virtq_result virtq_break(struct virtq *queue, const char *format, ...) PRINTF(2, 3);

/* Returns a chain, into which `written` bytes were written. False: the queue is broken. */
bool virtq_return(struct virtq *queue, uint16_t head, uint32_t written) MUST_CHECK;

/* Whether the driver wants an interrupt for the chains that were returned since the last call.
 * False also if the queue is broken. */
bool virtq_interrupts(struct virtq *queue) MUST_CHECK;

/* Copies from the segments that the device reads, or to those that it writes, from a byte of them
 * on that `offset` counts. The caller has checked that there are so many bytes. False: a segment is
 * not in the guest's memory, and the queue is broken. */
bool virtq_read(struct virtq *queue, const struct virtq_chain *chain, uint64_t offset, void *buffer,
                size_t size) MUST_CHECK;
bool virtq_write(struct virtq *queue, const struct virtq_chain *chain, uint64_t offset,
                 const void *buffer, size_t size) MUST_CHECK;
