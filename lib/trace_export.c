/* SPDX-License-Identifier: MIT */
/* Takes records from the rings and sends them away; see the header. */
#include "lib/trace_export.h"

#include "lib/string.h"
#include "lib/trace_ring.h"

/* A ring with so many records sends a batch: when the guest is entered, so that no exit becomes
 * longer; or, if there is less room left, at any event. */
#define HALF_FULL   (TRACE_RING / 2)
#define ALMOST_FULL (TRACE_RING / 4 * 3)
#define RECORD_HEAD 16u
#define RECORD_MAX  (RECORD_HEAD + 8u * TRACE_VALUES)

bool (*trace_export_send)(const void *batch, size_t size);
static uint8_t values_of[TRACE_EVENT_COUNT]; /* how many values each event has */

void trace_export_to(bool (*send)(const void *batch, size_t size))
{
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++) {
        values_of[i] = 0;
        for (const char *at = trace_values((enum trace_event)i); (at = strchr(at, ':')); at++)
            values_of[i]++;
    }
    trace_export_send = send;
}

/* Writes a record as it leaves the machine, and returns its size. */
static size_t trace_pack(uint8_t *to, const struct trace_record *record)
{
    uint8_t values = values_of[record->event];
    const uint8_t head[2] = {(uint8_t)record->event, values};
    const uint16_t who[3] = {record->cpu, record->vm, record->vcpu};
    memcpy(to, &record->tsc, 8);
    memcpy(to + 8, head, 2);
    memcpy(to + 10, who, 6);
    memcpy(to + RECORD_HEAD, record->values, 8u * values);
    return RECORD_HEAD + 8u * values;
}

/* Fills a batch with the next records, and returns its size. `*at` becomes the number of the record
 * after them. */
static size_t trace_fill(struct trace_ring *ring, uint64_t *at, uint8_t bytes[TRACE_BATCH_MAX])
{
    struct trace_batch *batch = (struct trace_batch *)(void *)bytes;
    struct trace_record record;
    size_t size = sizeof(*batch);
    *batch = (struct trace_batch){0};
    for (uint64_t next = *at; size + RECORD_MAX <= TRACE_BATCH_MAX; next++) {
        if (!trace_get(ring, &next, &record))
            break;
        if (!batch->count)
            batch->first = next;
        else if (next != *at)
            break; /* the records of a batch follow each other */
        batch->cpu = record.cpu;
        batch->count++;
        size += trace_pack(bytes + size, &record);
        *at = next + 1;
    }
    return batch->count ? size : 0;
}

/* Sends a batch of a ring, unless another pCPU does. */
static bool trace_export_from(struct trace_ring *ring)
{
    uint8_t bytes[TRACE_BATCH_MAX] __attribute__((aligned(8)));
    if (!spin_trylock(&ring->exporter))
        return false;
    uint64_t at = ring->exported;
    size_t size = trace_fill(ring, &at, bytes);
    bool sent = size && trace_export_send(bytes, size);
    if (sent) {
        const struct trace_batch *batch = (const struct trace_batch *)(const void *)bytes;
        __atomic_store_n(&ring->lost, ring->lost + batch->first - ring->exported, __ATOMIC_RELAXED);
        __atomic_store_n(&ring->exported, at, __ATOMIC_RELAXED);
    }
    spin_unlock(&ring->exporter);
    return sent;
}

static uint64_t not_exported(const struct trace_ring *ring)
{
    return trace_written(ring) - __atomic_load_n(&ring->exported, __ATOMIC_RELAXED);
}

void trace_export_full(unsigned cpu, enum trace_event event)
{
    struct trace_ring *ring = &trace_rings[cpu];
    if (not_exported(ring) >= (event == TRACE_entry ? HALF_FULL : ALMOST_FULL))
        (void)trace_export_from(ring);
}

bool trace_export_piece(void)
{
    if (!trace_exports())
        return false;
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++)
        if (not_exported(&trace_rings[cpu]) && trace_export_from(&trace_rings[cpu]))
            return true;
    return false;
}

struct trace_export_counts trace_export_counts(void)
{
    struct trace_export_counts sum = {0};
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        uint64_t lost = __atomic_load_n(&trace_rings[cpu].lost, __ATOMIC_RELAXED);
        sum.exported += __atomic_load_n(&trace_rings[cpu].exported, __ATOMIC_RELAXED) - lost;
        sum.lost += lost;
        sum.left += not_exported(&trace_rings[cpu]);
    }
    return sum;
}
