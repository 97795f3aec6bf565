/* SPDX-License-Identifier: MIT */
/* See the header. Called by the bus. Pure. */
#include "dev/virtio_mmio.h"

#include "lib/string.h"

#define VIRTIO_MMIO_NO_LEGACY
#include <linux/virtio_mmio.h>

_Static_assert(VIRTIO_MMIO_INT_VRING == VIRTIO_INTERRUPT_QUEUE, "virtio 1.2, section 4.2.2");
_Static_assert(VIRTIO_MMIO_INT_CONFIG == VIRTIO_INTERRUPT_CONFIG, "virtio 1.2, section 4.2.2");

#define MAGIC     0x74726976u /* "virt" */
#define VERSION   2u
#define VENDOR    0x56545045u /* "EPTV" */
#define NO_REGION 0xffffffffu /* the length of a shared memory region that does not exist */

static uint32_t register_read(const struct virtio_mmio *m, uint64_t offset)
{
    const struct virtio *v = m->virtio;
    const struct virtq *queue = virtio_queue(m->virtio, m->queue);
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
        return virtio_read_features(v, m->device_half);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? VIRTQ_SIZE_MAX : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return v->interrupts;
    case VIRTIO_MMIO_STATUS:
        return v->status;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return v->generation;
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return NO_REGION;
    default:
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
    return virtio_read_config(m->virtio, offset - VIRTIO_MMIO_CONFIG, size);
}

static void register_write(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    unsigned half = offset / 4 % 2; /* of an address */
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
    case VIRTIO_MMIO_QUEUE_NUM:
        virtio_write_queue_size(m->virtio, m->queue, value);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        virtio_write_queue_address(m->virtio, m->queue, half, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        virtio_write_queue_address(m->virtio, m->queue, 2 + half, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        virtio_write_queue_address(m->virtio, m->queue, 4 + half, value);
        break;
    default:
        break;
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
