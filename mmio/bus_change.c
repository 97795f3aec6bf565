/*
 * Changes of the bus: regions and doorbells come and go while guests run. Called by vm/ under
 * the VM's lock. Pure; touches nothing but its own tables, and waits for epochs.
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
    bus->sequence = 2; /* 0 is that of an empty hint */
}

/* Odd, change, even. */
static void change_begin(struct bus *bus)
{
    BUG_ON(bus->sequence & 1); /* two changes at once: the caller's lock is missing */
    __atomic_store_n(&bus->sequence, bus->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(struct bus *bus)
{
    __atomic_store_n(&bus->sequence, bus->sequence + 1, __ATOMIC_RELEASE);
}

/* ---- Regions --------------------------------------------------------------------------------- */

static bool covers(const struct bus_region *region, uint64_t address)
{
    return region->start <= address && address <= region->last;
}

/* The region that shows at `address`, or -1, and in `*last` how far it, or the hole, goes. */
static int shown(const struct bus *bus, uint64_t address, uint64_t *last)
{
    int top = -1;
    for (uint32_t i = 0; i < bus->region_count; i++) {
        if (covers(&bus->regions[i], address) &&
            (top < 0 || bus->priorities[i] > bus->priorities[top]))
            top = (int)i;
    }
    *last = top < 0 ? bus->last : bus->regions[top].last;
    for (uint32_t i = 0; i < bus->region_count; i++) {
        uint64_t start = bus->regions[i].start;
        if (start > address && start <= *last &&
            (top < 0 || bus->priorities[i] > bus->priorities[top]))
            *last = start - 1;
    }
    return top;
}

/* Makes the pieces of the regions. A piece begins where a region does or behind where one ends, and
 * none behind the last end of all: so there are fewer than twice as many. */
static void make_pieces(struct bus *bus)
{
    uint32_t count = 0;
    uint64_t last;
    change_begin(bus);
    for (uint64_t at = 0;; at = last + 1) {
        int top = shown(bus, at, &last);
        if (top >= 0) {
            BUG_ON(count == BUS_PIECES);
            bus->pieces[count++] = (struct bus_piece){at, last, bus->regions[top]};
        }
        if (last >= bus->last)
            break;
    }
    __atomic_store_n(&bus->piece_count, count, __ATOMIC_RELAXED);
    change_end(bus);
}

int bus_add_over(struct bus *bus, int priority, uint64_t start, uint64_t size,
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
                  "address or priority, or remove that one first",
                  bus->name, ops->name, (unsigned long long)start, (unsigned long long)last,
                  other->ops->name, (unsigned long long)other->start,
                  (unsigned long long)other->last);
        return -EEXIST;
    }
    if (bus->region_count == BUS_REGIONS) {
        log_error("%s bus: no room for %s, all %u regions are taken; raise BUS_REGIONS", bus->name,
                  ops->name, BUS_REGIONS);
        return -ENOSPC;
    }
    bus->priorities[bus->region_count] = priority;
    bus->regions[bus->region_count++] = (struct bus_region){start, last, ops, device};
    make_pieces(bus);
    return 0;
}

int bus_remove(struct bus *bus, uint64_t start, const void *device)
{
    for (uint32_t i = 0; i < bus->region_count; i++) {
        if (bus->regions[i].start != start || bus->regions[i].device != device)
            continue;
        bus->region_count--;
        bus->regions[i] = bus->regions[bus->region_count];
        bus->priorities[i] = bus->priorities[bus->region_count];
        make_pieces(bus);
        tlb_wait_epoch(bus->owner); /* who has found it is done with it */
        return 0;
    }
    log_error("%s bus: no region of this device starts at 0x%llx; nothing was removed", bus->name,
              (unsigned long long)start);
    return -ENOENT;
}

/* ---- Doorbells ------------------------------------------------------------------------------- */

/* Is there a write that rings both? */
static bool ring_together(const struct bus_doorbell *a, const struct bus_doorbell *b)
{
    return a->address == b->address && (!a->length || !b->length || a->length == b->length) &&
           (!a->match_data || !b->match_data || a->data == b->data);
}

int bus_doorbell_add(struct bus *bus, const struct bus_doorbell *doorbell)
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
        if (!ring_together(&bus->doorbells[i], d))
            continue;
        log_error("%s bus: a doorbell at 0x%llx stands there already that some of the same writes "
                  "would ring; remove it first",
                  bus->name, (unsigned long long)d->address);
        return -EEXIST;
    }
    if (bus->doorbell_count == BUS_DOORBELLS) {
        log_error("%s bus: no room for a doorbell at 0x%llx, all %u are taken; raise BUS_DOORBELLS",
                  bus->name, (unsigned long long)d->address, BUS_DOORBELLS);
        return -ENOSPC;
    }
    change_begin(bus);
    bus->doorbells[bus->doorbell_count++] = *d;
    change_end(bus);
    return 0;
}

int bus_doorbell_remove(struct bus *bus, const struct bus_doorbell *doorbell)
{
    const struct bus_doorbell *d = doorbell;
    for (uint32_t i = 0; i < bus->doorbell_count; i++) {
        const struct bus_doorbell *have = &bus->doorbells[i];
        if (!ring_together(have, d) || have->length != d->length ||
            have->match_data != d->match_data)
            continue;
        change_begin(bus);
        bus->doorbells[i] = bus->doorbells[--bus->doorbell_count];
        change_end(bus);
        tlb_wait_epoch(bus->owner);
        return 0;
    }
    log_error("%s bus: no such doorbell at 0x%llx; nothing was removed", bus->name,
              (unsigned long long)d->address);
    return -ENOENT;
}
