/* SPDX-License-Identifier: MIT */
/*
 * Trace events leave the machine while it runs, in batches of one pCPU's records. Pure.
 *
 * A batch is a struct trace_batch and then its records, each with as many values as the event has:
 *
 *   offset  size
 *        0     8   TSC
 *        8     1   event
 *        9     1   number of values
 *       10     2   pCPU
 *       12     2   VM
 *       14     2   vCPU
 *       16   8*n   the values
 *
 * The records of a pCPU are numbered, so a reader knows how many are missing between two batches.
 * No pCPU waits: one that has nothing more important to do sends a batch of any ring, and one whose
 * own ring is half full sends a batch of that when it enters a guest, so that the exits that the
 * events show are not longer for it. If a ring becomes almost full without an entry, any event
 * sends a batch. If the channel does not take it, the oldest records are overwritten later, and are
 * lost.
 */
#pragma once

#include "lib/trace.h"

#define TRACE_BATCH_MAX 1024u /* bytes */

struct trace_batch {
    uint64_t first; /* number of the first record, from 0 */
    uint16_t cpu, count;
    uint32_t reserved;
};

/* Sends batches by `send` from now on, which does not wait either and returns false if it cannot
 * take the data now. Called before other CPUs record. NULL: records only stay in the rings. */
void trace_export_to(bool (*send)(const void *batch, size_t size));

extern bool (*trace_export_send)(const void *batch, size_t size);

static inline bool trace_exports(void)
{
    return trace_export_send;
}

/* Sends a batch, if a ring has one. Returns false if none has, or the channel does not take it. */
bool trace_export_piece(void);

/* How many records have left the machine; how many were lost before a later one of their ring left;
 * and how many came after those, of which some may be overwritten already. */
struct trace_export_counts {
    uint64_t exported, lost, left;
};
struct trace_export_counts trace_export_counts(void);
