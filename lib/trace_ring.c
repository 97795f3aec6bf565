/* SPDX-License-Identifier: MIT */
/* The rings behind trace events; see the header. */
#include "lib/trace_ring.h"

struct trace_ring trace_rings[CPUS_MAX];

bool trace_get(const struct trace_ring *ring, uint64_t *at, struct trace_record *record)
{
    for (uint64_t written; (written = trace_written(ring)) > *at;) {
        if (written - *at >= TRACE_RING)
            *at = written - TRACE_RING + 1;
        trace_copy(record, &ring->records[*at % TRACE_RING]);
        /* The copy comes before the check; on x86 a compiler barrier suffices for that. */
        __asm__ volatile("" : : : "memory");
        if (trace_written(ring) - *at < TRACE_RING)
            return true;
    }
    return false;
}
