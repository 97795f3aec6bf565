/* SPDX-License-Identifier: MIT */
/*
 * How a device accesses guest memory. Each access translates the guest-physical address anew, so a
 * device keeps guest addresses and never a pointer to the memory behind them. The CPU that runs the
 * device is in an epoch of the VM (lib/epoch.h) for the duration of each access.
 *
 * dma_read() and dma_write() return 0, or a negative errno if the device may not access one of the
 * bytes in this way; some of the bytes may have been copied by then. A naturally aligned access of
 * 2, 4 or 8 bytes is a single load or store.
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
