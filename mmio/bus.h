/*
 * The bus of one VM: which device answers at which address. MMIO space and port space are two buses
 * of the same kind.
 *
 * A *region* is a range of addresses that belongs to one device. Regions never overlap. An access
 * that no region claims reads all ones, is dropped when it writes, and is counted. One that crosses
 * a region's end is split there, so a device only ever sees its own bytes.
 *
 * A *doorbell* is an address whose write means "look at the queue" and nothing else: it can be told
 * from the address (and perhaps the length and the data) alone.
 *
 * Accesses take no lock. Each change makes `sequence` odd, changes, and makes it even; a reader
 * that saw it change looks again. The sequence of the bus has nothing to do with the generation of
 * the slots. Changes are serialised by the caller (the VM's lock). A device that was removed may
 * still be running on another CPU: it may be freed only after an epoch.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define BUS_REGIONS   32
#define BUS_DOORBELLS 16

struct mmio_vcpu;

/* What a device does. `offset` is relative to its region, `size` 1 to 8 (any number, for accesses
 * that were split), and offset + size stays inside the region. `vcpu` is who asks. */
struct bus_ops {
    const char *name;
    uint64_t (*read)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size);
    void (*write)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                  uint64_t value);
};

struct bus_region {
    uint64_t start;
    uint64_t last; /* the last byte, so that a region may end at the top of the space */
    const struct bus_ops *ops;
    void *device;
};

struct bus_doorbell {
    uint64_t address;
    uint64_t data;   /* rings only when this is written, if `match_data` */
    unsigned length; /* of the write, in bytes; 0: any */
    bool match_data; /* needs a length */
    void (*ring)(void *device, struct mmio_vcpu *vcpu);
    void *device;
};

struct bus {
    const char *name;  /* "mmio" or "port", for sentences */
    uint64_t last;     /* the last address of the space */
    uint64_t sequence; /* `bus_sequence`: odd while a change is in progress; never 0 */
    uint32_t region_count;
    uint32_t doorbell_count;
    struct bus_region regions[BUS_REGIONS]; /* by address */
    struct bus_doorbell doorbells[BUS_DOORBELLS];
    uint64_t unclaimed; /* accesses, or parts of them, that no region claimed */
};

/* A place of the bus that was looked up before: accesses of the same size to `first` and up to
 * `span` bytes above it go to `region` alone and ring no doorbell, until the sequence changes. All
 * zero: no such place. */
struct bus_hint {
    uint64_t sequence;
    uint64_t first, span;
    struct bus_region region;
};

void bus_init(struct bus *bus, const char *name, uint64_t last);

/* Adds a region. -EEXIST if it overlaps another, -EINVAL if it is empty or leaves the space,
 * -ENOSPC if the table is full; each is logged. */
int bus_add(struct bus *bus, uint64_t start, uint64_t size, const struct bus_ops *ops,
            void *device) MUST_CHECK;

/* Removes the region that starts at `start`; -ENOENT if none does, logged. */
int bus_remove(struct bus *bus, uint64_t start) MUST_CHECK;

/* Adds a doorbell. One that matches anything at its address rings without looking at slots (step 1
 * of the flow): remove it before RAM is put there. -EINVAL, -EEXIST for the same match twice,
 * -ENOSPC; logged. */
int bus_doorbell_add(struct bus *bus, const struct bus_doorbell *doorbell) MUST_CHECK;

/* Removes the doorbell with this address, length and data; -ENOENT, logged. */
int bus_doorbell_remove(struct bus *bus, const struct bus_doorbell *doorbell) MUST_CHECK;

/* Whether a doorbell at `address` takes any length and data. Lock-free. */
bool bus_doorbell_any(struct bus *bus, uint64_t address);

/* An access of 1 to 8 bytes. Lock-free; bytes beyond the space are unclaimed. */
uint64_t bus_read(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size);
void bus_write(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size,
               uint64_t value);

/* Looks up the place of an access; the hint is empty if there is none. */
void bus_hint_fill(const struct bus *bus, struct bus_hint *hint, uint64_t address, unsigned size);

static inline uint64_t bus_sequence(const struct bus *bus)
{
    return __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE);
}
