/* SPDX-License-Identifier: MIT */
/*
 * A split virtqueue (virtio 1.2, section 2.7): the driver makes chains of descriptors available in
 * the available ring, and the device returns them in the used ring. Both rings and the descriptors
 * are in guest memory and may change at any time, so each value is read once and checked before it
 * is used: indexes, lengths, directions, and that a chain ends. If the driver violates the
 * specification, the queue becomes broken, `why` says what the driver did, and the queue is not
 * accessed any more.
 *
 * Callers serialise the functions of one queue.
 */
#pragma once

#include "dev/dma.h"

#define VIRTQ_SIZE_MAX 64u /* most descriptors in a queue, and in a chain */

struct virtq {
    const struct dma *dma;
    bool indirect, event_index; /* negotiated features */
    bool ready;
    uint16_t size;
    uint64_t descriptors, available, used; /* guest-physical addresses of the three parts */
    uint16_t taken;                        /* chains taken from the available ring */
    uint16_t returned;                     /* chains put into the used ring */
    uint16_t reported;                     /* value of `returned` at the last interrupt decision */
    uint64_t handled;                      /* bytes done of the next chain, by the device's count */
    char why[96];                          /* what the driver did; empty while it is not broken */
};

struct virtq_segment {
    uint64_t address;
    uint32_t length;
};

/* A chain: first the segments that the device reads, then those that it writes. */
struct virtq_chain {
    uint16_t head;
    unsigned readable, count; /* number of segments that the device reads, and of all segments */
    uint64_t bytes_to_read, bytes_to_write;
    struct virtq_segment segments[VIRTQ_SIZE_MAX];
};

enum virtq_result {
    VIRTQ_CHAIN,
    VIRTQ_EMPTY,
    VIRTQ_BROKEN, /* `why` says what the driver did */
};

/* Starts a queue whose size and addresses the driver has set. Returns VIRTQ_EMPTY, or VIRTQ_BROKEN
 * if the size or an address is invalid. */
enum virtq_result virtq_start(struct virtq *queue) MUST_CHECK;

/* Takes the next available chain. If there is none, returns VIRTQ_EMPTY; the driver will then
 * notify the device of the next one. */
enum virtq_result virtq_take(struct virtq *queue, struct virtq_chain *chain) MUST_CHECK;

/* Undoes the last virtq_take(), whose chain was not used: it will be taken again. */
void virtq_untake(struct virtq *queue);

/* Marks the queue as broken; the format says what the driver did. Returns VIRTQ_BROKEN. */
enum virtq_result virtq_break(struct virtq *queue, const char *format, ...) PRINTF(2, 3);

/* Returns a chain to the driver, after `written` bytes were written to it. Returns false if the
 * queue is broken. */
bool virtq_return(struct virtq *queue, uint16_t head, uint32_t written) MUST_CHECK;

/* Whether the driver wants an interrupt for the chains that were returned since the last call. Also
 * returns false if the queue is broken. */
bool virtq_interrupts(struct virtq *queue) MUST_CHECK;

/* Copy `size` bytes from the segments that the device reads, or to the segments that it writes,
 * beginning `offset` bytes into these segments. The caller has checked that the segments are long
 * enough. Return false if a segment is not in the guest's memory; the queue is broken then. */
bool virtq_read(struct virtq *queue, const struct virtq_chain *chain, uint64_t offset, void *buffer,
                size_t size) MUST_CHECK;
bool virtq_write(struct virtq *queue, const struct virtq_chain *chain, uint64_t offset,
                 const void *buffer, size_t size) MUST_CHECK;
