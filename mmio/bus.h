/* SPDX-License-Identifier: MIT */
/*
 * The bus of one VM: it routes accesses to devices by address. A VM has two buses, one for MMIO and
 * one for ports.
 *
 * A *region* is a range of addresses that belongs to one device. Where two regions overlap, the
 * region of the higher priority answers; two regions of the same priority may not overlap. An
 * unclaimed read returns all ones, an unclaimed write is dropped, and both are counted. An access
 * that crosses the border of the visible part of a region is split there, so that a device only
 * ever sees its own bytes.
 *
 * A *doorbell* is an address whose write means "look at the queue" and nothing else: the address
 * (and perhaps the length and the data) suffices to recognise the write. Reads never ring a
 * doorbell.
 *
 * Accesses take no lock. Each change makes `sequence` odd, updates the tables, and makes `sequence`
 * even again; a reader that sees the sequence change repeats its lookup. The sequence of the bus is
 * independent of the generation of the memory slots. A lock serialises changes, which any CPU may
 * make; nothing waits while it is held. A device that is removed may still be running on another
 * CPU: the removal waits for the end of the epoch.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/spinlock.h"
#include "lib/types.h"

#ifndef BUS_REGIONS /* a benchmark of the lookup overrides it */
#define BUS_REGIONS 48
#endif
#define BUS_PIECES    (2 * BUS_REGIONS - 1)
#define BUS_DOORBELLS 16
#define BUS_ACCESS    64 /* bytes of an access, at most */
#define BUS_MISSED    32 /* places in the table of addresses without a device; 2^5 */

struct mmio_vcpu;

/* The operations of a device. `offset` is relative to the region, and offset + size stays inside
 * the region. `vcpu` is the vCPU that makes the access. */
struct bus_ops {
    const char *name;
    uint64_t (*read)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size);
    void (*write)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                  uint64_t value);

    /* Accesses of more than 8 bytes. NULL: such an access is split into parts of 8 bytes and a
     * remainder, in ascending order. */
    void (*read_wide)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                      uint8_t *bytes);
    void (*write_wide)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       const uint8_t *bytes);

    /* The OR of the access sizes that the device takes, which are powers of two; an access must be
     * naturally aligned. 0: the device takes any size at any offset. Another access is split into
     * parts of these sizes, the largest that fits first. With `refuse`, and where no size fits, a
     * read returns all ones, a write is dropped, and the access is counted. */
    uint8_t sizes;
    bool refuse;
};

struct bus_region {
    uint64_t start;
    uint64_t last; /* the last byte: a region may end at the top of the space */
    const struct bus_ops *ops;
    void *device;
};

struct bus_doorbell {
    uint64_t address;
    uint64_t data;             /* with `match_data`: the value that rings */
    unsigned length;           /* of the write, in bytes; 0: any */
    bool match_data;           /* requires a length */
    const struct bus_ops *ops; /* ops->write rings; size and value are 0 if unknown */
    void *device;
};

struct bus {
    const char *name;  /* "mmio" or "port", for messages */
    uint64_t last;     /* the last address of the space */
    uint64_t sequence; /* `bus_sequence`: odd while a change is in progress; never 0 */
    uint32_t piece_count;
    uint32_t doorbell_count;
    struct bus_piece { /* the visible parts of regions, sorted by address, for readers */
        uint64_t first, last;
        struct bus_region region;
    } pieces[BUS_PIECES];
    struct bus_doorbell doorbells[BUS_DOORBELLS];
    uint64_t unclaimed; /* accesses, or parts of accesses, that no region claimed */
    struct bus_missed { /* frequent addresses among them; see bus_missed_most() */
        uint64_t address, votes, count;
    } missed[BUS_MISSED];
    uint64_t refused; /* accesses, or parts of accesses, that the device's `sizes` exclude */

    struct spinlock lock; /* serialises changes */
    const void *owner;    /* the owner (epoch_online()) whose CPUs read the bus; NULL: any CPU */
    struct bus_region regions[BUS_REGIONS]; /* for changes only, sorted by start */
    int priorities[BUS_REGIONS];
    uint32_t region_count;
};

/* A bus range, which is the result of an earlier lookup: accesses of the same size and direction to
 * `first` and up to `span` bytes above it go to `region` alone, until the sequence changes. All
 * zero: empty. */
struct bus_hint {
    uint64_t sequence;
    uint64_t first, span;
    struct bus_region region;
    bool doorbell; /* the range is a doorbell, which rings without a look at the slots */
};

void bus_init(struct bus *bus, const char *name, uint64_t last);

/* Adds a region; guests may be running. -EEXIST if the region overlaps another one of the same
 * priority, -EINVAL if it is empty or exceeds the space, -ENOSPC if the table is full; each error
 * is logged. */
int bus_add_over(struct bus *bus, int priority, uint64_t start, uint64_t size,
                 const struct bus_ops *ops, void *device) MUST_CHECK;
static inline int MUST_CHECK bus_add(struct bus *bus, uint64_t start, uint64_t size,
                                     const struct bus_ops *ops, void *device)
{
    return bus_add_over(bus, 0, start, size, ops, device);
}

/* Removes the region of this device that starts at `start`; -ENOENT, logged, if there is none.
 * After the return, no CPU runs the device's operations through this region. The caller holds no
 * result of a lookup, and CPUs that wait for the caller's lock pass through quiescent states
 * meanwhile (epoch_lock()). */
int bus_remove(struct bus *bus, uint64_t start, const void *device) MUST_CHECK;

/* Where a region is to be, or BUS_NOWHERE. */
#define BUS_NOWHERE (~0ull)
struct bus_place {
    int priority; /* tells the region from all others */
    uint64_t start, size;
    const struct bus_ops *ops;
    void *device;
};

/* Adds, moves and removes regions in one change, with a bounded number of steps, whatever their
 * number. For devices whose regions move while the guest accesses them: waits for nobody, so that a
 * device may call it within an access, and CPUs may still run the devices' operations by way of the
 * old places. So these devices have to outlive the bus. The places lie inside the space. Returns 0,
 * or -ENOSPC, logged, if some of the regions had to be left out. */
int bus_move(struct bus *bus, const struct bus_place *places, unsigned count) MUST_CHECK;

/* Whether no region but those with the operations `but` has a byte of a range inside the space. */
bool bus_is_free(struct bus *bus, uint64_t start, uint64_t size, const struct bus_ops *but);

/* Adds a doorbell. A doorbell without a length rings without a look at the slots (step 1 of the
 * flow): remove it before RAM is mapped at its address. -EINVAL, -EEXIST if a write could ring both
 * this doorbell and another one, -ENOSPC; each error is logged. */
int bus_doorbell_add(struct bus *bus, const struct bus_doorbell *doorbell) MUST_CHECK;

/* Removes the doorbell with this address, length and data, under the conditions of bus_remove();
 * -ENOENT, logged, if there is none. */
int bus_doorbell_remove(struct bus *bus, const struct bus_doorbell *doorbell) MUST_CHECK;

/* Whether there is a doorbell at `address` that any length and data ring. Lock-free. */
bool bus_doorbell_any(struct bus *bus, uint64_t address);

/* An access of 1 to BUS_ACCESS bytes, or of 1 to 8 bytes as a number. Lock-free. Bytes beyond the
 * space are unclaimed. */
void bus_read_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, void *bytes,
                    unsigned size);
void bus_write_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, const void *bytes,
                     unsigned size);
uint64_t bus_read(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size);
void bus_write(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size,
               uint64_t value);

/* Returns the `rank`-th most frequent address that no region claimed, from 0 on, and sets *count to
 * the number of its accesses, or to 0 if there are not so many addresses. An address that makes up
 * more than half of those that share its place in a table of BUS_MISSED is found for certain; its
 * count may be too small if other addresses had the place before, or if several vCPUs count at the
 * same time. */
uint64_t bus_missed_most(const struct bus *bus, unsigned rank, uint64_t *count);

/* Looks up the bus range of an access of up to 8 bytes; the hint is empty if the access is
 * unclaimed or would be split. */
void bus_hint_fill(struct bus *bus, struct bus_hint *hint, uint64_t address, unsigned size,
                   bool write);

static inline uint64_t bus_sequence(const struct bus *bus)
{
    return __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE);
}
