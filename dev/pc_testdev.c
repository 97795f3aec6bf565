/* SPDX-License-Identifier: MIT */
/* QEMU's test device; see the header. Called by the bus. Pure. */
#include "dev/pc_testdev.h"

#include "lib/bits.h"
#include "lib/string.h"

static uint64_t latch_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct pc_testdev *d = device;
    (void)vcpu;
    return d->latch >> (8 * offset) & BITS(8 * size - 1, 0);
}

static void latch_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    struct pc_testdev *d = device;
    uint32_t mask = (uint32_t)(BITS(8 * size - 1, 0) << (8 * offset));
    (void)vcpu;
    d->latch = (d->latch & ~mask) | ((uint32_t)(value << (8 * offset)) & mask);
}

/* The address is written at once: a part of it is no address. */
static void unmap_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    const struct pc_testdev *d = device;
    (void)vcpu;
    if (!offset && size == PC_TESTDEV_PORTS)
        d->unmap(d->context, value);
}

static void lines_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    const struct pc_testdev *d = device;
    (void)vcpu, (void)size;
    struct line line = d->line;
    line.number = (unsigned)offset;
    line_set(&line, value);
}

static uint64_t write_only_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                unsigned size)
{
    (void)device, (void)vcpu, (void)offset, (void)size;
    return ~0ull;
}

static uint64_t window_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct pc_testdev *d = device;
    uint64_t value = 0;
    (void)vcpu;
    memcpy(&value, d->window + offset, size);
    return value;
}

static void window_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    const struct pc_testdev *d = device;
    (void)vcpu;
    memcpy(d->window + offset, &value, size);
}

const struct bus_ops pc_testdev_latch_ops = {
    .name = "pc-testdev latch", .read = latch_read, .write = latch_write};
const struct bus_ops pc_testdev_unmap_ops = {
    .name = "pc-testdev unmap", .read = write_only_read, .write = unmap_write};
const struct bus_ops pc_testdev_lines_ops = {
    .name = "pc-testdev lines", .read = write_only_read, .write = lines_write};
const struct bus_ops pc_testdev_window_ops = {
    .name = "pc-testdev window", .read = window_read, .write = window_write};
