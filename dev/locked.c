/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "dev/locked.h"

static uint64_t locked_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct locked_device *l = device;
    spin_lock(&l->lock);
    uint64_t value = l->inner->read(l->device, vcpu, offset, size);
    spin_unlock(&l->lock);
    return value;
}

static void locked_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    struct locked_device *l = device;
    spin_lock(&l->lock);
    l->inner->write(l->device, vcpu, offset, size, value);
    spin_unlock(&l->lock);
}

static void locked_read_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                             uint8_t *bytes)
{
    struct locked_device *l = device;
    spin_lock(&l->lock);
    l->inner->read_wide(l->device, vcpu, offset, size, bytes);
    spin_unlock(&l->lock);
}

static void locked_write_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              const uint8_t *bytes)
{
    struct locked_device *l = device;
    spin_lock(&l->lock);
    l->inner->write_wide(l->device, vcpu, offset, size, bytes);
    spin_unlock(&l->lock);
}

void locked_device_init(struct locked_device *locked, const struct bus_ops *ops, void *device)
{
    *locked = (struct locked_device){.ops = *ops, .inner = ops, .device = device};
    locked->ops.read = locked_read;
    locked->ops.write = locked_write;
    locked->ops.read_wide = ops->read_wide ? locked_read_wide : NULL;
    locked->ops.write_wide = ops->write_wide ? locked_write_wide : NULL;
}
