/*
 * The bus of one VM: which device answers at which address. MMIO space and port space are two buses
 * of the same kind.
 *
 * A *region* is a range of addresses that belongs to one device. Where two of them overlap, the one
 * of the higher priority answers; two of the same priority may not overlap. An access that no
 * region claims reads all ones, is dropped when it writes, and is counted. One that crosses the
 * border of what a region shows is split there, so a device only ever sees its own bytes.
 *
 * A *doorbell* is an address whose write means "look at the queue" and nothing else: it can be told
 * from the address (and perhaps the length and the data) alone. Reads never ring one.
 *
 * Accesses take no lock. Each change makes `sequence` odd, changes, and makes it even; a reader
 * that saw it change looks again. The sequence of the bus has nothing to do with the generation of
 * the slots. Changes are serialised by the caller (the VM's lock). A device that is removed may
 * still be running on another CPU: the removal waits for the end of the epoch.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#ifndef BUS_REGIONS /* a program that measures how lookups scale has more */
#define BUS_REGIONS 32
#endif
#define BUS_PIECES    (2 * BUS_REGIONS - 1)
#define BUS_DOORBELLS 16
#define BUS_ACCESS    64 /* bytes of an access, at most */

struct mmio_vcpu;

/* What a device does. `offset` is relative to its region, and offset + size stays inside the
 * region. `vcpu` is who asks. */
struct bus_ops {
    const char *name;
    uint64_t (*read)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size);
    void (*write)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                  uint64_t value);

    /* For more than 8 bytes at once. NULL: they come as parts of 8 and a rest, in order. */
    void (*read_wide)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                      uint8_t *bytes);
    void (*write_wide)(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       const uint8_t *bytes);

    /* The sizes that it takes, naturally aligned: powers of two, united. 0: any, at any offset. An
     * access of another kind is split into those, the largest first that fits; with `refuse`, and
     * where none fits, it reads all ones or is dropped, and is counted. */
    uint8_t sizes;
    bool refuse;
};

struct bus_region {
    uint64_t start;
    uint64_t last; /* the last byte, so that a region may end at the top of the space */
    const struct bus_ops *ops;
    void *device;
};

struct bus_doorbell {
    uint64_t address;
    uint64_t data;             /* rings only when this is written, if `match_data` */
    unsigned length;           /* of the write, in bytes; 0: any */
    bool match_data;           /* needs a length */
    const struct bus_ops *ops; /* rung by ops->write; size and value are 0 if nobody looked */
    void *device;
};

struct bus {
    const char *name;  /* "mmio" or "port", for sentences */
    uint64_t last;     /* the last address of the space */
    uint64_t sequence; /* `bus_sequence`: odd while a change is in progress; never 0 */
    uint32_t piece_count;
    uint32_t doorbell_count;
    struct bus_piece { /* what shows of the regions, by address: this is what readers search */
        uint64_t first, last;
        struct bus_region region;
    } pieces[BUS_PIECES];
    struct bus_doorbell doorbells[BUS_DOORBELLS];
    uint64_t unclaimed; /* accesses, or parts of them, that no region claimed, */
    uint64_t refused;   /* or that its device did not want */

    const void *owner; /* whose CPUs read it, as epoch_online() says; NULL: any */
    struct bus_region regions[BUS_REGIONS]; /* of changes only, in no order */
    int priorities[BUS_REGIONS];
    uint32_t region_count;
};

/* A place of the bus that was looked up before: accesses of the same size and direction to `first`
 * and up to `span` bytes above it go to `region` alone, until the sequence changes. All zero: no
 * such place. */
struct bus_hint {
    uint64_t sequence;
    uint64_t first, span;
    struct bus_region region;
    bool doorbell; /* what the place rings, whatever the slots say */
};

void bus_init(struct bus *bus, const char *name, uint64_t last);

/* Adds a region; guests may be running. -EEXIST if it overlaps another of the same priority,
 * -EINVAL if it is empty or leaves the space, -ENOSPC if the table is full; each is logged. */
int bus_add_over(struct bus *bus, int priority, uint64_t start, uint64_t size,
                 const struct bus_ops *ops, void *device) MUST_CHECK;
static inline int MUST_CHECK bus_add(struct bus *bus, uint64_t start, uint64_t size,
                                     const struct bus_ops *ops, void *device)
{
    return bus_add_over(bus, 0, start, size, ops, device);
}

/* Removes the region of this device that starts at `start`; -ENOENT if there is none, logged. When
 * it returns, no CPU is in the device by way of this region, or will be. The caller holds nothing
 * that it has looked up, and whoever waits for its lock passes meanwhile (epoch_lock()). */
int bus_remove(struct bus *bus, uint64_t start, const void *device) MUST_CHECK;

/* Adds a doorbell. One that matches anything at its address rings without looking at slots (step 1
 * of the flow): remove it before RAM is put there. -EINVAL, -EEXIST if some write would ring
 * another one too, -ENOSPC; logged. */
int bus_doorbell_add(struct bus *bus, const struct bus_doorbell *doorbell) MUST_CHECK;

/* Removes the doorbell with this address, length and data, likewise; -ENOENT, logged. */
int bus_doorbell_remove(struct bus *bus, const struct bus_doorbell *doorbell) MUST_CHECK;

/* Whether a doorbell at `address` takes any length and data. Lock-free. */
bool bus_doorbell_any(struct bus *bus, uint64_t address);

/* An access of 1 to BUS_ACCESS bytes, or of 1 to 8 as a number. Lock-free; bytes beyond the space
 * are unclaimed. */
void bus_read_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, void *bytes,
                    unsigned size);
void bus_write_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, const void *bytes,
                     unsigned size);
uint64_t bus_read(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size);
void bus_write(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size,
               uint64_t value);

/* Looks up the place of an access of up to 8 bytes; the hint is empty if there is none. */
void bus_hint_fill(struct bus *bus, struct bus_hint *hint, uint64_t address, unsigned size,
                   bool write);

static inline uint64_t bus_sequence(const struct bus *bus)
{
    return __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE);
}
