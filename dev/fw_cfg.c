/* SPDX-License-Identifier: MIT */
/* See the header. Called by the bus. Pure. */
#include "dev/fw_cfg.h"

#include "lib/bits.h"

/* Numbers of items (QEMU, docs/specs/fw_cfg). */
enum item {
    ITEM_SIGNATURE = 0,
    ITEM_FEATURES = 1,
    ITEM_RAM_SIZE = 3,
    ITEM_CPUS = 5,
    ITEM_CPUS_MAX = 15,
};

#define SIGNATURE       0x554d4551u /* "QEMU" */
#define FEATURE_CLASSIC BIT(0)      /* these two ports */
#define DATA            1u          /* offset of the data port */

static uint64_t item_value(const struct fw_cfg *f, uint64_t item)
{
    switch (item) {
    case ITEM_SIGNATURE:
        return SIGNATURE;
    case ITEM_FEATURES:
        return FEATURE_CLASSIC;
    case ITEM_RAM_SIZE:
        return f->ram;
    case ITEM_CPUS:
    case ITEM_CPUS_MAX:
        return f->cpus;
    default:
        return 0;
    }
}

/* The selector has 16 bits; its port cannot be read. */
static void fw_cfg_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    struct fw_cfg *f = device;
    (void)vcpu;
    if (!offset && size == 2)
        f->rest = item_value(f, value & 0xffff);
}

static uint64_t fw_cfg_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct fw_cfg *f = device;
    (void)vcpu;
    if (offset != DATA || size != 1)
        return ~0ull;
    uint8_t byte = (uint8_t)f->rest;
    f->rest >>= 8;
    return byte;
}

const struct bus_ops fw_cfg_ops = {.name = "fw_cfg", .read = fw_cfg_read, .write = fw_cfg_write};
