/* SPDX-License-Identifier: MIT */
/*
 * A VM with sides, a bus and registers, from which the tests of the GHCI's hypercalls call. It has
 * 1026 pages of RAM from 2 MiB on, two holes, and 3 pages after the first hole; every other shared
 * address is a device, which keeps what it was asked.
 */
#pragma once

#include "tests/unit/mmu/mmu_world.h"

#include "vm/ghci.h"
#include "arch/x86/regs.h"

#include <string.h>

#define SHARED  BIT(39)
#define CODE    BIT(38)
#define END     CODE /* the end of memory and devices: the lowest stolen bit */
#define RAM     0x200000ull
#define PAGES   1026ull
#define MORE    (RAM + (PAGES + 2) * PAGE_SIZE)
#define MORES   3ull
#define DEVICE  0xfee00000ull
#define INVALID 0x8000000000000000ull
#define EXPOSE  0xfc00ull
#define ANSWER  0x1122334455667788ull

static struct mmu mmu;
static struct bus bus;
static uint64_t gpr[GPR_COUNT];
static struct ghci_replay replay; /* the calls of one test come from one vCPU */

/* The last access to the device. */
static struct {
    unsigned reads, writes, size;
    uint64_t address, value;
} asked;

static uint64_t device_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)device;
    assert_null(vcpu);
    asked.reads++;
    asked.size = size;
    asked.address = offset;
    return size == 8 ? ANSWER : ANSWER & (BIT(8 * size) - 1);
}

static void device_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)device;
    assert_null(vcpu);
    asked.writes++;
    asked.size = size;
    asked.address = offset;
    asked.value = value;
}

static const struct bus_ops device_ops = {"any", .read = device_read, .write = device_write};

/* An event is pending from the moment when this was asked `events_after` times. */
static unsigned asked_for_events, events_after;

static inline bool interrupted(void *context)
{
    assert_ptr_equal(context, &mmu);
    return asked_for_events++ >= events_after;
}

static inline void start(void)
{
    const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_EXECUTE_ONLY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(MORE), MORES, 0), 0);
    memset(&replay, 0, sizeof(replay));
    bus_init(&bus, "mmio", ~0ull);
    assert_int_equal(bus_add(&bus, 0, ~0ull, &device_ops, NULL), 0);
    events_after = ~0u;
}

static inline void stop(void)
{
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

static inline void call(void)
{
    memset(&asked, 0, sizeof(asked));
    asked_for_events = 0;
    bool over = ghci_call(&(struct ghci){.gpr = gpr,
                                         .replay = &replay,
                                         .mmu = &mmu,
                                         .bus = &bus,
                                         .interrupted = interrupted,
                                         .context = &mmu});
    assert_true(over);
}
