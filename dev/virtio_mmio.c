/* SPDX-License-Identifier: MIT */
/* See the header. Called by the bus. Pure. */
#include "dev/virtio_mmio.h"

#include "lib/string.h"

#define VIRTIO_MMIO_NO_LEGACY
#include <linux/virtio_mmio.h>

#define MAGIC     0x74726976u /* "virt" */
#define VERSION   2u
#define VENDOR    0x56545045u /* "EPTV" */
#define NO_REGION 0xffffffffu /* the length of a shared memory region that does not exist */

/* The selected queue, or NULL if it does not exist. */
static struct virtq *selected_queue(const struct virtio_mmio *m)
{
    return m->queue < m->virtio->ops->queues ? &m->virtio->queues[m->queue] : NULL;
}

static uint32_t register_read(const struct virtio_mmio *m, uint64_t offset)
{
    const struct virtio *v = m->virtio;
    const struct virtq *queue = selected_queue(m);
    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return v->ops->id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return m->device_half > 1 ? 0 : (uint32_t)(v->features >> 32 * m->device_half);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? VIRTQ_SIZE_MAX : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return v->interrupts;
    case VIRTIO_MMIO_STATUS:
        return v->status;
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return NO_REGION;
    default: /* also the configuration generation, as the configuration never changes */
        return 0;
    }
}

static uint64_t virtio_mmio_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                 unsigned size)
{
    const struct virtio_mmio *m = device;
    (void)vcpu;
    if (offset < VIRTIO_MMIO_CONFIG)
        return size == 4 && offset % 4 == 0 ? register_read(m, offset) : 0;
    uint64_t value = 0, at = offset - VIRTIO_MMIO_CONFIG;
    for (unsigned i = 0; i < size && at + i < m->virtio->config_size; i++)
        value |= (uint64_t)((const uint8_t *)m->virtio->config)[at + i] << 8 * i;
    return value;
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
    *address = high ? (*address & 0xffffffff) | (uint64_t)value << 32
                    : (*address & ~0xffffffffull) | value;
}

/* Writes a register of the selected queue. Writes are dropped while the queue is ready. */
static void queue_write(struct virtq *queue, uint64_t offset, uint32_t value)
{
    if (!queue || queue->ready)
        return;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        queue->size = value > 0xffff ? 0 : (uint16_t)value;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_half(&queue->descriptors, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_half(&queue->available, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_half(&queue->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
        break;
    default:
        break;
    }
}

static void register_write(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        m->device_half = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        m->driver_half = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        virtio_write_features(m->virtio, m->driver_half, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        m->queue = value;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        virtio_enable_queue(m->virtio, m->queue, value & 1);
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        virtio_notify(m->virtio, value);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        virtio_acknowledge(m->virtio, value);
        break;
    case VIRTIO_MMIO_STATUS:
        virtio_write_status(m->virtio, (uint8_t)value);
        break;
    default:
        queue_write(selected_queue(m), offset, value);
    }
}

static void virtio_mmio_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              uint64_t value)
{
    (void)vcpu;
    if (size == 4 && offset % 4 == 0 && offset < VIRTIO_MMIO_CONFIG)
        register_write(device, offset, (uint32_t)value);
}

const struct bus_ops virtio_mmio_ops = {
    .name = "virtio", .read = virtio_mmio_read, .write = virtio_mmio_write};
