/* SPDX-License-Identifier: MIT */
/*
 * Changes of the bus: regions and doorbells are added, moved and removed while guests run. Called
 * by launch/, by vm/ and by the PCI host. Pure; touches nothing but the bus' tables, and waits for
 * epochs.
 */
#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmio/bus.h"
#include "mmu/tlb.h"

void bus_init(struct bus *bus, const char *name, uint64_t last)
{
    memset(bus, 0, sizeof(*bus));
    bus->name = name;
    bus->last = last;
    bus->sequence = 2; /* 0 marks an empty hint */
}

/* The sequence is odd while a change is in progress. Called with the lock held. */
static void bus_change_begin(struct bus *bus)
{
    BUG_ON(bus->sequence & 1 || !bus->lock.taken);
    __atomic_store_n(&bus->sequence, bus->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void bus_change_end(struct bus *bus)
{
    __atomic_store_n(&bus->sequence, bus->sequence + 1, __ATOMIC_RELEASE);
}

/* ---- Regions --------------------------------------------------------------------------------- */

static bool bus_region_covers(const struct bus_region *region, uint64_t address)
{
    return region->start <= address && address <= region->last;
}

/* The index of the region that is visible at `address`, or -1 in a hole; `*last` is the last
 * address up to which the answer holds. The regions before `first` end below the address. */
static int bus_visible_region(const struct bus *bus, uint32_t first, uint64_t address,
                              uint64_t *last)
{
    int top = -1;
    uint32_t i = first;
    for (; i < bus->region_count && bus->regions[i].start <= address; i++) {
        if (bus_region_covers(&bus->regions[i], address) &&
            (top < 0 || bus->priorities[i] > bus->priorities[top]))
            top = (int)i;
    }
    *last = top < 0 ? bus->last : bus->regions[top].last;
    for (; i < bus->region_count && bus->regions[i].start <= *last; i++) {
        if (top < 0 || bus->priorities[i] > bus->priorities[top])
            *last = bus->regions[i].start - 1;
    }
    return top;
}

/* Computes the pieces from the regions, which are sorted by their starts, so that a bus with a few
 * layers takes a number of steps that is proportional to theirs. A piece begins where a region
 * begins or right after the end of a region, but none begins after the highest end: so there are
 * fewer than twice as many pieces as regions. */
static void bus_make_pieces(struct bus *bus)
{
    uint32_t count = 0, first = 0;
    uint64_t last;
    bus_change_begin(bus);
    for (uint64_t at = 0;; at = last + 1) {
        while (first < bus->region_count && bus->regions[first].last < at)
            first++;
        int top = bus_visible_region(bus, first, at, &last);
        if (top >= 0) {
            BUG_ON(count == BUS_PIECES);
            bus->pieces[count++] = (struct bus_piece){at, last, bus->regions[top]};
        }
        if (last >= bus->last)
            break;
    }
    __atomic_store_n(&bus->piece_count, count, __ATOMIC_RELAXED);
    bus_change_end(bus);
}

/* Moves the regions from `from` on to `to` on, and with them their priorities. */
static void bus_shift(struct bus *bus, uint32_t from, uint32_t to)
{
    const size_t count = bus->region_count - from;
    memmove(&bus->regions[to], &bus->regions[from], count * sizeof(bus->regions[0]));
    memmove(&bus->priorities[to], &bus->priorities[from], count * sizeof(bus->priorities[0]));
}

static int bus_insert(struct bus *bus, int priority, const struct bus_region *region)
{
    uint32_t i = 0;
    if (bus->region_count == BUS_REGIONS) {
        log_error("%s bus: no room for %s, all %u regions are taken; raise BUS_REGIONS", bus->name,
                  region->ops->name, BUS_REGIONS);
        return -ENOSPC;
    }
    while (i < bus->region_count && bus->regions[i].start < region->start)
        i++;
    bus_shift(bus, i, i + 1);
    bus->regions[i] = *region;
    bus->priorities[i] = priority;
    bus->region_count++;
    return 0;
}

static void bus_delete(struct bus *bus, uint32_t index)
{
    bus_shift(bus, index + 1, index);
    bus->region_count--;
}

static int bus_add_locked(struct bus *bus, int priority, uint64_t start, uint64_t size,
                          const struct bus_ops *ops, void *device)
{
    uint64_t last = start + size - 1;
    if (!size || last < start || last > bus->last) {
        log_error("%s bus: %s at 0x%llx with 0x%llx bytes does not fit into the space, which ends "
                  "at 0x%llx; give it a size above 0 and a lower address",
                  bus->name, ops->name, (unsigned long long)start, (unsigned long long)size,
                  (unsigned long long)bus->last);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < bus->region_count; i++) {
        const struct bus_region *other = &bus->regions[i];
        if (bus->priorities[i] != priority || start > other->last || last < other->start)
            continue;
        log_error("%s bus: %s at 0x%llx-0x%llx overlaps %s at 0x%llx-0x%llx; choose another "
                  "address or priority, or remove the other region first",
                  bus->name, ops->name, (unsigned long long)start, (unsigned long long)last,
                  other->ops->name, (unsigned long long)other->start,
                  (unsigned long long)other->last);
        return -EEXIST;
    }
    return bus_insert(bus, priority, &(struct bus_region){start, last, ops, device});
}

int bus_add_over(struct bus *bus, int priority, uint64_t start, uint64_t size,
                 const struct bus_ops *ops, void *device)
{
    spin_lock(&bus->lock);
    int error = bus_add_locked(bus, priority, start, size, ops, device);
    if (!error)
        bus_make_pieces(bus);
    spin_unlock(&bus->lock);
    return error;
}

static int bus_remove_locked(struct bus *bus, uint64_t start, const void *device)
{
    for (uint32_t i = 0; i < bus->region_count; i++) {
        if (bus->regions[i].start != start || bus->regions[i].device != device)
            continue;
        bus_delete(bus, i);
        bus_make_pieces(bus);
        return 0;
    }
    log_error("%s bus: no region of this device starts at 0x%llx; nothing was removed", bus->name,
              (unsigned long long)start);
    return -ENOENT;
}

int bus_remove(struct bus *bus, uint64_t start, const void *device)
{
    spin_lock(&bus->lock);
    int error = bus_remove_locked(bus, start, device);
    spin_unlock(&bus->lock);
    if (!error)
        tlb_wait_epoch(bus->owner); /* CPUs that found the region have left the device */
    return error;
}

/* ---- Regions that move ----------------------------------------------------------------------- */

static int bus_place(struct bus *bus, const struct bus_place *place)
{
    uint32_t i = 0;
    while (i < bus->region_count && bus->priorities[i] != place->priority)
        i++;
    if (i < bus->region_count)
        bus_delete(bus, i);
    if (place->start == BUS_NOWHERE)
        return 0;
    const uint64_t last = place->start + place->size - 1;
    return bus_insert(bus, place->priority,
                      &(struct bus_region){place->start, last, place->ops, place->device});
}

int bus_move(struct bus *bus, const struct bus_place *places, unsigned count)
{
    int error = 0;
    spin_lock(&bus->lock);
    for (unsigned i = 0; i < count; i++) {
        int result = bus_place(bus, &places[i]);
        error = error ? error : result;
    }
    bus_make_pieces(bus);
    spin_unlock(&bus->lock);
    return error;
}

bool bus_is_free(struct bus *bus, uint64_t start, uint64_t size, const struct bus_ops *but)
{
    bool is_free = true;
    spin_lock(&bus->lock);
    for (uint32_t i = 0; i < bus->region_count; i++) {
        const struct bus_region *r = &bus->regions[i];
        if (r->ops != but && r->start <= start + size - 1 && start <= r->last)
            is_free = false;
    }
    spin_unlock(&bus->lock);
    return is_free;
}

/* ---- Doorbells ------------------------------------------------------------------------------- */

/* Whether one write could ring both. */
static bool bus_doorbells_overlap(const struct bus_doorbell *a, const struct bus_doorbell *b)
{
    return a->address == b->address && (!a->length || !b->length || a->length == b->length) &&
           (!a->match_data || !b->match_data || a->data == b->data);
}

static int bus_doorbell_add_locked(struct bus *bus, const struct bus_doorbell *doorbell)
{
    const struct bus_doorbell *d = doorbell;
    bool length_fits = d->length <= 8 && !(d->length & (d->length - 1));
    if (!length_fits || (d->match_data && !d->length) || d->address > bus->last) {
        log_error("%s bus: a doorbell at 0x%llx with length %u%s; allowed are the lengths 1, 2, 4 "
                  "and 8, and 0 (any) without data, at an address up to 0x%llx",
                  bus->name, (unsigned long long)d->address, d->length,
                  d->match_data ? " and data" : "", (unsigned long long)bus->last);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < bus->doorbell_count; i++) {
        if (!bus_doorbells_overlap(&bus->doorbells[i], d))
            continue;
        log_error("%s bus: another doorbell at 0x%llx already rings on some of the same writes; "
                  "remove it first",
                  bus->name, (unsigned long long)d->address);
        return -EEXIST;
    }
    if (bus->doorbell_count == BUS_DOORBELLS) {
        log_error("%s bus: no room for a doorbell at 0x%llx, all %u are taken; raise BUS_DOORBELLS",
                  bus->name, (unsigned long long)d->address, BUS_DOORBELLS);
        return -ENOSPC;
    }
    bus_change_begin(bus);
    bus->doorbells[bus->doorbell_count++] = *d;
    bus_change_end(bus);
    return 0;
}

int bus_doorbell_add(struct bus *bus, const struct bus_doorbell *doorbell)
{
    spin_lock(&bus->lock);
    int error = bus_doorbell_add_locked(bus, doorbell);
    spin_unlock(&bus->lock);
    return error;
}

static int bus_doorbell_remove_locked(struct bus *bus, const struct bus_doorbell *doorbell)
{
    const struct bus_doorbell *d = doorbell;
    for (uint32_t i = 0; i < bus->doorbell_count; i++) {
        const struct bus_doorbell *have = &bus->doorbells[i];
        if (!bus_doorbells_overlap(have, d) || have->length != d->length ||
            have->match_data != d->match_data)
            continue;
        bus_change_begin(bus);
        bus->doorbells[i] = bus->doorbells[--bus->doorbell_count];
        bus_change_end(bus);
        return 0;
    }
    log_error("%s bus: no such doorbell at 0x%llx; nothing was removed", bus->name,
              (unsigned long long)d->address);
    return -ENOENT;
}

int bus_doorbell_remove(struct bus *bus, const struct bus_doorbell *doorbell)
{
    spin_lock(&bus->lock);
    int error = bus_doorbell_remove_locked(bus, doorbell);
    spin_unlock(&bus->lock);
    if (!error)
        tlb_wait_epoch(bus->owner);
    return error;
}
