/* SPDX-License-Identifier: MIT */
/* See the header. Called by transports, and by vm/virtio_unit.c for input and for the work that is
 * left. Pure. */
#include "dev/virtio.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

#define VIRTIO_CONFIG_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define REQUIRED (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM))
#define OFFERED  (REQUIRED | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX))

#define WRITABLE_STATUS                                                                 \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

#define CHAIN_WORK 2048u /* approximate cost of a chain in addition to its descriptors and data */

static void input_changed(struct virtio *v)
{
    if (v->ops->input_changed)
        v->ops->input_changed(v);
}

static void virtio_reset(struct virtio *v)
{
    v->driver_features = 0;
    v->status = v->interrupts = 0;
    v->notified = 0;
    memset(v->queues, 0, sizeof(v->queues));
    for (unsigned i = 0; i < v->ops->queues; i++)
        v->queues[i].size = VIRTQ_SIZE_MAX;
    line_set(&v->line, false);
    input_changed(v);
}

void virtio_init(struct virtio *v)
{
    v->features |= OFFERED;
    virtio_reset(v);
}

static bool virtio_is_live(const struct virtio *v)
{
    return (v->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) ==
           VIRTIO_CONFIG_S_DRIVER_OK;
}

bool virtio_accepts_input(const struct virtio *v)
{
    return virtio_is_live(v) && v->queues[0].ready;
}

/* The cause is recorded before the driver is told of it. */
static void virtio_interrupt(struct virtio *v, uint8_t interrupt, unsigned source)
{
    v->interrupts |= interrupt;
    line_set(&v->line, true);
    if (v->message)
        v->message(v, source);
}

static void virtio_config_interrupt(struct virtio *v)
{
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_interrupt(v, VIRTIO_INTERRUPT_CONFIG, VIRTIO_SOURCE_CONFIG);
}

void virtio_config_changed(struct virtio *v)
{
    v->generation++;
    virtio_config_interrupt(v);
}

uint64_t virtio_read_config(const struct virtio *v, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size && offset + i < v->config_size; i++)
        value |= (uint64_t)((const uint8_t *)v->config)[offset + i] << 8 * i;
    return value;
}

/* ---- What the driver sets up ----------------------------------------------------------------- */

/* Puts the device into the state NEEDS_RESET after its queue has become broken, and logs why. The
 * driver is notified as of a configuration change (section 2.1.2). */
static void virtio_break(struct virtio *v, const struct virtq *queue)
{
    log_error("%s: queue %u: %s; the driver has to reset the device", v->ops->name,
              (unsigned)(queue - v->queues), queue->why);
    v->notified = 0;
    virtio_config_interrupt(v);
    v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    input_changed(v);
}

static bool features_suffice(const struct virtio *v)
{
    bool known = !(v->driver_features & ~v->features);
    bool suffice = known && (v->driver_features & REQUIRED) == REQUIRED;
    if (!suffice)
        log_error("%s: its driver takes the features %#lx of %#lx, but must take %#llx, which are "
                  "VERSION_1 and ACCESS_PLATFORM",
                  v->ops->name, v->driver_features, v->features, REQUIRED);
    return suffice;
}

/* Bits of the status can be set but not cleared, except by a reset. FEATURES_OK stays clear if the
 * features do not suffice, and DRIVER_OK stays clear without FEATURES_OK. */
void virtio_write_status(struct virtio *v, uint8_t value)
{
    if (!value) {
        virtio_reset(v);
        return;
    }
    uint8_t new = value &WRITABLE_STATUS & ~v->status;
    if (new &VIRTIO_CONFIG_S_FEATURES_OK && !features_suffice(v))
        new &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    if (!((v->status | new) & VIRTIO_CONFIG_S_FEATURES_OK))
        new &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
    v->status |= new;
    input_changed(v);
    if (new &VIRTIO_CONFIG_S_DRIVER_OK && v->ops->started)
        v->ops->started(v);
}

uint32_t virtio_read_features(const struct virtio *v, unsigned half)
{
    return half > 1 ? 0 : (uint32_t)(v->features >> 32 * half);
}

void virtio_write_features(struct virtio *v, unsigned half, uint32_t features)
{
    uint64_t mask = half == 0 ? BITS(31, 0) : BITS(63, 32);
    if (half <= 1 && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
        v->driver_features = (v->driver_features & ~mask) | field_put(features, mask);
}

struct virtq *virtio_queue(struct virtio *v, unsigned number)
{
    return number < v->ops->queues ? &v->queues[number] : NULL;
}

void virtio_write_queue_size(struct virtio *v, unsigned number, uint32_t size)
{
    struct virtq *queue = virtio_queue(v, number);
    if (queue && !queue->ready)
        queue->size = size > 0xffff ? 0 : (uint16_t)size;
}

static uint64_t *queue_address(struct virtq *queue, unsigned word)
{
    uint64_t *const addresses[] = {&queue->descriptors, &queue->available, &queue->used};
    return addresses[word / 2];
}

uint32_t virtio_read_queue_address(struct virtio *v, unsigned number, unsigned word)
{
    struct virtq *queue = virtio_queue(v, number);
    return queue ? (uint32_t)(*queue_address(queue, word) >> word % 2 * 32) : 0;
}

void virtio_write_queue_address(struct virtio *v, unsigned number, unsigned word, uint32_t value)
{
    struct virtq *queue = virtio_queue(v, number);
    if (!queue || queue->ready)
        return;
    uint64_t *address = queue_address(queue, word);
    *address = word % 2 ? (*address & 0xffffffff) | (uint64_t)value << 32
                        : (*address & ~0xffffffffull) | value;
}

void virtio_enable_queue(struct virtio *v, unsigned number, bool enable)
{
    struct virtq *queue = virtio_queue(v, number);
    if (!queue)
        return;
    if (!enable) {
        queue->ready = false;
        v->notified &= ~(1u << number);
        input_changed(v);
    }
    if (!enable || queue->ready || !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
        return;
    queue->dma = &v->dma;
    queue->indirect = v->driver_features & BIT(VIRTIO_RING_F_INDIRECT_DESC);
    queue->event_index = v->driver_features & BIT(VIRTIO_RING_F_EVENT_IDX);
    if (virtq_start(queue) == VIRTQ_BROKEN)
        virtio_break(v, queue);
    else
        input_changed(v);
}

bool virtio_reset_queue(struct virtio *v, unsigned number)
{
    struct virtq *queue = virtio_queue(v, number);
    if (!queue || !(v->driver_features & BIT(VIRTIO_F_RING_RESET)))
        return false;
    virtio_enable_queue(v, number, false);
    *queue = (struct virtq){.size = VIRTQ_SIZE_MAX};
    return true;
}

void virtio_acknowledge(struct virtio *v, uint32_t interrupts)
{
    v->interrupts &= (uint8_t)~interrupts;
    if (!v->interrupts)
        line_set(&v->line, false);
}

/* ---- Work ------------------------------------------------------------------------------------ */

/* Handles chains until the piece is complete, or no chain or no input is left. Returns false if the
 * queue is broken; *more is set to whether chains may be left. */
static bool handle_chains(struct virtio *v, struct virtq *queue, bool *more)
{
    struct virtq_chain chain;
    *more = true;
    while (v->work < VIRTIO_PIECE) {
        enum virtq_result result = virtq_take(queue, &chain);
        if (result == VIRTQ_EMPTY)
            *more = false;
        if (result != VIRTQ_CHAIN)
            return result == VIRTQ_EMPTY;
        v->work += CHAIN_WORK + chain.count * VIRTIO_DESCRIPTOR;
        uint32_t written = v->ops->handle(v, queue, &chain);
        if (written == VIRTIO_AGAIN || written == VIRTIO_NO_INPUT)
            virtq_untake(queue);
        if (written == VIRTIO_AGAIN)
            continue;
        if (written == VIRTIO_NO_INPUT) {
            *more = false;
            return true;
        }
        if (queue->why[0] || !virtq_return(queue, chain.head, written))
            return false;
    }
    return true;
}

static void work_on_queue(struct virtio *v, unsigned number)
{
    struct virtq *queue = &v->queues[number];
    bool more, sound = handle_chains(v, queue, &more);
    if (sound && virtq_interrupts(queue))
        virtio_interrupt(v, VIRTIO_INTERRUPT_QUEUE, number);
    if (queue->why[0])
        virtio_break(v, queue);
    else if (!more)
        v->notified &= ~(1u << number);
}

bool virtio_go_on(struct virtio *v)
{
    v->work = 0;
    for (unsigned i = 0; i < v->ops->queues && v->work < VIRTIO_PIECE; i++)
        if (v->notified >> i & 1)
            work_on_queue(v, i);
    return v->notified;
}

void virtio_notify(struct virtio *v, unsigned queue)
{
    if (!virtio_is_live(v) || queue >= v->ops->queues || !v->queues[queue].ready)
        return;
    if (queue == 0 && v->ops->input_changed) {
        v->ops->input_changed(v);
        return;
    }
    v->notified |= 1u << queue;
    if (virtio_go_on(v))
        v->busy();
}

bool virtio_receive(struct virtio *v)
{
    if (!v->ops->input_waits(v) || !virtio_accepts_input(v))
        return false;
    v->work = 0;
    v->notified |= 1;
    work_on_queue(v, 0);
    bool more = v->notified & 1;
    v->notified &= ~1u;
    return more && v->ops->input_waits(v);
}
