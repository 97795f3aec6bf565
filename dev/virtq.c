/* SPDX-License-Identifier: MIT */
/* See the header. Called by dev/virtio.c and by devices. Pure. */
#include "dev/virtq.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/string.h"

#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ring.h>

#define CHAIN_BYTES_MAX BIT(32) /* most bytes of a chain, by the specification */

#define AVAILABLE_FLAGS offsetof(struct vring_avail, flags)
#define AVAILABLE_INDEX offsetof(struct vring_avail, idx)
#define USED_INDEX      offsetof(struct vring_used, idx)

static uint64_t available_entry(const struct virtq *q, uint16_t index)
{
    return q->available + offsetof(struct vring_avail, ring) + index * sizeof(uint16_t);
}

static uint64_t used_entry(const struct virtq *q, uint16_t index)
{
    return q->used + offsetof(struct vring_used, ring) + index * sizeof(struct vring_used_elem);
}

/* ---- Errors, and accesses that may fail ------------------------------------------------------ */

enum virtq_result virtq_break(struct virtq *q, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(q->why, sizeof(q->why), format, arguments);
    va_end(arguments);
    return VIRTQ_BROKEN;
}

/* Why an access failed: the memory is none of the VM's, or the device may not access any. */
static const char *dma_failure(int error)
{
    return error == -EPERM ? "may not be accessed now" : "is not in its RAM";
}

static COLD bool ring_fails(struct virtq *q, const char *what, uint64_t address, int error)
{
    virtq_break(q, "the %s at %#lx %s", what, address, dma_failure(error));
    return false;
}

static ALWAYS_INLINE bool ring_read(struct virtq *q, const char *what, uint64_t address,
                                    void *buffer, size_t size)
{
    int error = dma_read(q->dma, address, buffer, size);
    return likely(!error) || ring_fails(q, what, address, error);
}

static ALWAYS_INLINE bool ring_write(struct virtq *q, uint64_t address, const void *buffer,
                                     size_t size)
{
    int error = dma_write(q->dma, address, buffer, size);
    return likely(!error) || ring_fails(q, "used ring", address, error);
}

/* ---- Taking ---------------------------------------------------------------------------------- */

enum virtq_result virtq_start(struct virtq *q)
{
    if (!q->size || q->size > VIRTQ_SIZE_MAX || q->size & (q->size - 1))
        return virtq_break(q, "its size is %u, but must be a power of two up to %u", q->size,
                           VIRTQ_SIZE_MAX);
    if (q->descriptors % VRING_DESC_ALIGN_SIZE || q->available % VRING_AVAIL_ALIGN_SIZE ||
        q->used % VRING_USED_ALIGN_SIZE)
        return virtq_break(q, "its parts at %#lx, %#lx and %#lx must be multiples of 16, 2 and 4",
                           q->descriptors, q->available, q->used);
    q->taken = q->returned = q->reported = 0;
    q->handled = 0;
    q->ready = true;
    return VIRTQ_EMPTY;
}

/* Adds a descriptor's segment to a chain. The segments that the device writes must follow those
 * that it reads. */
static enum virtq_result chain_add(struct virtq *q, struct virtq_chain *chain,
                                   const struct vring_desc *d)
{
    bool write = d->flags & VRING_DESC_F_WRITE;
    if (!write && chain->readable < chain->count)
        return virtq_break(q, "a descriptor to be read follows one to be written");
    chain->segments[chain->count++] = (struct virtq_segment){d->addr, d->len};
    chain->readable += !write;
    *(write ? &chain->bytes_to_write : &chain->bytes_to_read) += d->len;
    if (chain->bytes_to_read + chain->bytes_to_write > CHAIN_BYTES_MAX)
        return virtq_break(q, "a chain has more than 2^32 bytes");
    return VIRTQ_CHAIN;
}

/* A table of descriptors: the queue's own, or an indirect one. */
struct table {
    uint64_t address;
    uint32_t entries;
    bool indirect;
};

static enum virtq_result enter_indirect(struct virtq *q, struct table *table,
                                        const struct vring_desc *d)
{
    if (!q->indirect)
        return virtq_break(q, "an indirect descriptor, which was not negotiated");
    if (table->indirect)
        return virtq_break(q, "an indirect descriptor in an indirect table");
    if (d->flags & VRING_DESC_F_NEXT)
        return virtq_break(q, "an indirect descriptor that has a next one");
    if (!d->len || d->len % sizeof(*d) || d->len / sizeof(*d) > VIRTQ_SIZE_MAX)
        return virtq_break(q, "an indirect table of %u bytes; up to %u descriptors of 16 fit",
                           d->len, VIRTQ_SIZE_MAX);
    *table = (struct table){d->addr, d->len / (uint32_t)sizeof(*d), true};
    return VIRTQ_CHAIN;
}

static enum virtq_result walk_chain(struct virtq *q, struct virtq_chain *chain)
{
    struct table table = {q->descriptors, q->size, false};
    enum virtq_result result = VIRTQ_CHAIN;
    uint32_t at = chain->head;
    struct vring_desc d = {.flags = VRING_DESC_F_NEXT};
    while (d.flags & VRING_DESC_F_NEXT) {
        if (at >= table.entries)
            return virtq_break(q, "descriptor %u of a table of %u", at, table.entries);
        if (chain->count == (table.indirect ? VIRTQ_SIZE_MAX : q->size))
            return virtq_break(q, "a chain of more than %u descriptors", chain->count);
        if (!ring_read(q, "descriptor table", table.address + at * sizeof(d), &d, sizeof(d)))
            return VIRTQ_BROKEN;
        at = d.next;
        if (d.flags & VRING_DESC_F_INDIRECT) {
            result = enter_indirect(q, &table, &d);
            at = 0;
            d.flags = VRING_DESC_F_NEXT;
        } else {
            result = chain_add(q, chain, &d);
        }
        if (result != VIRTQ_CHAIN)
            return result;
    }
    return VIRTQ_CHAIN;
}

static bool read_waiting(struct virtq *q, uint16_t *waiting)
{
    uint16_t index;
    if (!ring_read(q, "available ring", q->available + AVAILABLE_INDEX, &index, sizeof(index)))
        return false;
    *waiting = (uint16_t)(index - q->taken);
    return true;
}

/* Counts the available chains. If there are none and the event index is in use, the device first
 * asks to be notified of the next chain. The driver may have added this chain before it could see
 * the request and then sends no notification, so the available index is read again afterwards. */
static bool count_waiting(struct virtq *q, uint16_t *waiting)
{
    if (!read_waiting(q, waiting))
        return false;
    if (*waiting || !q->event_index)
        return true;
    if (!ring_write(q, used_entry(q, q->size), &q->taken, sizeof(q->taken)))
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return read_waiting(q, waiting);
}

enum virtq_result virtq_take(struct virtq *q, struct virtq_chain *chain)
{
    uint16_t waiting;
    if (!count_waiting(q, &waiting))
        return VIRTQ_BROKEN;
    if (!waiting)
        return VIRTQ_EMPTY;
    if (waiting > q->size)
        return virtq_break(q, "%u chains are available in a queue of %u", waiting, q->size);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    chain->readable = chain->count = 0;
    chain->bytes_to_read = chain->bytes_to_write = 0;
    if (!ring_read(q, "available ring", available_entry(q, q->taken % q->size), &chain->head,
                   sizeof(chain->head)))
        return VIRTQ_BROKEN;
    q->taken++;
    return walk_chain(q, chain);
}

void virtq_untake(struct virtq *q)
{
    q->taken--;
}

/* ---- Returning ------------------------------------------------------------------------------- */

bool virtq_return(struct virtq *q, uint16_t head, uint32_t written)
{
    const struct vring_used_elem element = {.id = head, .len = written};
    q->handled = 0;
    if (!ring_write(q, used_entry(q, q->returned % q->size), &element, sizeof(element)))
        return false;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    q->returned++;
    return ring_write(q, q->used + USED_INDEX, &q->returned, sizeof(q->returned));
}

/* With the event index the driver names the chain that it waits for (section 2.7.7.2). */
bool virtq_interrupts(struct virtq *q)
{
    uint16_t from = q->reported, word;
    uint64_t place = q->event_index ? available_entry(q, q->size) : q->available + AVAILABLE_FLAGS;
    if (from == q->returned)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the used index is written before this read */
    q->reported = q->returned;
    if (!ring_read(q, "available ring", place, &word, sizeof(word)))
        return false;
    return q->event_index ? vring_need_event(word, q->returned, from)
                          : !(word & VRING_AVAIL_F_NO_INTERRUPT);
}

/* ---- The data -------------------------------------------------------------------------------- */

/* Copies from segments to `to`, or from `from` to segments if `to` is NULL. Returns false if the
 * queue is broken. */
static bool copy_segments(struct virtq *q, const struct virtq_segment *segments, unsigned count,
                          uint64_t offset, void *to, const void *from, size_t size)
{
    for (unsigned i = 0; size && i < count; i++) {
        if (offset >= segments[i].length) {
            offset -= segments[i].length;
            continue;
        }
        size_t room = segments[i].length - offset, part = size < room ? size : room;
        uint64_t address = segments[i].address + offset;
        int error =
            to ? dma_read(q->dma, address, to, part) : dma_write(q->dma, address, from, part);
        if (error) {
            virtq_break(q, "a buffer of %u bytes at %#lx %s", segments[i].length,
                        segments[i].address, dma_failure(error));
            return false;
        }
        if (to)
            to = (char *)to + part;
        else
            from = (const char *)from + part;
        size -= part;
        offset = 0;
    }
    return true;
}

bool virtq_read(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *buffer,
                size_t size)
{
    return copy_segments(q, chain->segments, chain->readable, offset, buffer, NULL, size);
}

bool virtq_write(struct virtq *q, const struct virtq_chain *chain, uint64_t offset,
                 const void *buffer, size_t size)
{
    return copy_segments(q, chain->segments + chain->readable, chain->count - chain->readable,
                         offset, NULL, buffer, size);
}
