/* SPDX-License-Identifier: MIT */
/*
 * A guest page with a store to a device, and whether the store was made without being emulated
 * (mmio/replay.h). For the tests that have one access made again and again.
 */
#pragma once

#include "tests/unit/mmio/mmio_places.h"

#include "mmio/replay.h"

#define FAR  0x8000000000ull /* shares no table entry with the code */
#define WIDE 0xd0000000ull   /* a device of two pages, at FAR too */

static uint64_t cr3;

static inline void start(enum gva_cache mode)
{
    world_init(mode);
    cr3 = world.regs[REG_CR3];
    world_map(cr3, WORLD_CODE, WORLD_CODE, KERNEL);
    world_map(cr3, V, A, KERNEL);
}

static inline int setup(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    return 0;
}

/* Whether one more store is made at once. It reaches device A in any case. */
static inline bool store_is_hot_at(uint64_t gva)
{
    unsigned replay = world.replay, writes = world.a.writes;
    assert_int_equal(world_store(gva, world.misconfigs), WORLD_EMULATED);
    assert_int_equal(world.a.writes, writes + 1);
    assert_int_equal(world.a.last_value, world.cpu.gpr[GPR_RBX]);
    assert_int_equal(world.a.last_offset, 8);
    return world.replay != replay;
}

static inline bool store_is_hot(void)
{
    return store_is_hot_at(V + 8);
}

static inline void warm_up(void)
{
    for (unsigned i = 0; i < 3; i++)
        (void)store_is_hot();
    assert_true(store_is_hot());
}

/* Whether anything is kept of the instruction at WORLD_CODE. */
static inline bool is_kept(void)
{
    for (unsigned i = 0; i < MMIO_REPLAYS; i++)
        if (world.vcpu.replays.entry[i].rip == WORLD_CODE)
            return true;
    return false;
}

/* A device of two pages, which reads as all ones in bits that nobody asked for, too. */
static uint64_t wide_offset, wide_value;

static inline uint64_t read_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                 unsigned size)
{
    (void)device, (void)vcpu, (void)size;
    wide_offset = offset;
    return ~0ull;
}

static inline void write_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              uint64_t value)
{
    (void)device, (void)vcpu, (void)size;
    wide_offset = offset;
    wide_value = value;
}

static inline void add_wide(void)
{
    static const struct bus_ops wide = {.name = "wide", .read = read_wide, .write = write_wide};
    assert_int_equal(bus_add(&world.bus, WIDE, 2 * PAGE_SIZE, &wide, NULL), 0);
    world_map(cr3, FAR, WIDE, KERNEL);
    world_map(cr3, FAR + PAGE_SIZE, WIDE + PAGE_SIZE, KERNEL);
}
