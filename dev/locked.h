/* SPDX-License-Identifier: MIT */
/*
 * A wrapper that serialises the accesses of several vCPUs to one device with a spinlock, so that
 * device models need no locking of their own. The bus sees the wrapper instead of the device.
 */
#pragma once

#include "lib/spinlock.h"
#include "mmio/bus.h"

struct locked_device {
    struct bus_ops ops;          /* given to the bus, with this struct as the device pointer */
    const struct bus_ops *inner; /* the wrapped device's functions */
    void *device;                /* the wrapped device */
    struct spinlock lock;        /* for code that works on the device outside of bus accesses */
};

/* Wraps `device`, whose functions are `ops`; both must outlive the wrapper. */
void locked_device_init(struct locked_device *locked, const struct bus_ops *ops, void *device);
