/* SPDX-License-Identifier: MIT */
/*
 * How a device accesses the guest's memory. Each access translates anew, so a device keeps guest
 * addresses and never a pointer to what is behind them. The CPU that runs the device is in an epoch
 * of the VM (lib/epoch.h) for as long as one access lasts.
 *
 * Returns 0, or a negative errno if a byte is not in memory that the device may access this way; a
 * part may have been copied then. A naturally aligned access of 2, 4 or 8 bytes is made at once.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct dma {
    int (*read)(void *context, uint64_t address, void *buffer, size_t size);
    int (*write)(void *context, uint64_t address, const void *buffer, size_t size);
    void *context;
};

static inline int MUST_CHECK dma_read(const struct dma *dma, uint64_t address, void *buffer,
                                      size_t size)
{
    return dma->read(dma->context, address, buffer, size);
}

static inline int MUST_CHECK dma_write(const struct dma *dma, uint64_t address, const void *buffer,
                                       size_t size)
{
    return dma->write(dma->context, address, buffer, size);
}
