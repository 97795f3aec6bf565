/*
 * A device that several vCPUs may reach at once, one access at a time: most devices know nothing of
 * CPUs. It stands before the device on the bus.
 */
#pragma once

#include "lib/spinlock.h"
#include "mmio/bus.h"

struct locked_device {
    struct bus_ops ops; /* for the bus, with this struct as the device */
    const struct bus_ops *inner;
    void *device;
    struct spinlock lock;
};

void locked_device_init(struct locked_device *locked, const struct bus_ops *ops, void *device);
