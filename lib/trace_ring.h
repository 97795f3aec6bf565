/* SPDX-License-Identifier: MIT */
/* The rings behind trace events, for the files that write, read and export them. Private to
 * lib/trace*.c. */
#pragma once

#include "lib/spinlock.h"
#include "lib/trace.h"

/* Written by its pCPU alone, apart from `exported` and `lost`, which belong to the holder of
 * `exporter`. */
struct trace_ring {
    struct trace_record *records;
    uint64_t written; /* records since the start; the ring holds the last TRACE_RING of them */
    uint16_t vm, vcpu;
    uint64_t *counts;                                      /* of the vCPU that this pCPU runs */
    struct spinlock exporter __attribute__((aligned(64))); /* taken by spin_trylock() only */
    uint64_t exported; /* the number of the next record to leave the machine */
    uint64_t lost;     /* records that were overwritten before they had left */
} __attribute__((aligned(64)));

extern struct trace_ring trace_rings[CPUS_MAX];

static inline uint64_t trace_written(const struct trace_ring *ring)
{
    return __atomic_load_n(&ring->written, __ATOMIC_ACQUIRE);
}

/* Copies a record of which another CPU may read or write a part at the same time. Who reads finds
 * out afterwards whether the copy is whole. */
static inline void trace_copy(struct trace_record *to, const struct trace_record *from)
{
    const uint64_t *word = (const uint64_t *)(const void *)from;
    uint64_t *copy = (uint64_t *)(void *)to;
    for (unsigned i = 0; i < sizeof(*to) / sizeof(*copy); i++)
        __atomic_store_n(&copy[i], __atomic_load_n(&word[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

/* Copies the record `*at`, or, if that was overwritten, the oldest one that the ring still holds,
 * whose number is then `*at`. The slot that may be written at the moment is not read, and a record
 * that was overwritten during the copy is skipped. Returns false if there is none. */
bool trace_get(const struct trace_ring *ring, uint64_t *at, struct trace_record *record);

/* lib/trace_limit.c: is a limit set, and does the record keep to it? */
extern bool trace_has_limit;
bool trace_within_limit(const struct trace_record *record);

/* lib/trace_export.c: called after a record of this event was added to the ring of this pCPU. */
void trace_export_full(unsigned cpu, enum trace_event event);
