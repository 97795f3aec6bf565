/*
 * The bus: a sorted table of regions, searched without a lock, and a short list of doorbells.
 * Called by the emulator for MMIO and by guest/ for port I/O. Pure; touches nothing but its own
 * table.
 */
#include "mmio/bus.h"

#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

void bus_init(struct bus *bus, const char *name, uint64_t last)
{
    memset(bus, 0, sizeof(*bus));
    bus->name = name;
    bus->last = last;
    bus->sequence = 2; /* 0 is that of an empty hint */
}

/* ---- Changes: odd, change, even. ------------------------------------------------------------- */

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

int bus_add(struct bus *bus, uint64_t start, uint64_t size, const struct bus_ops *ops, void *device)
{
    uint64_t last = start + size - 1;
    if (!size || last < start || last > bus->last) {
        log_error("%s bus: %s at 0x%llx with 0x%llx bytes does not fit into the space, which ends "
                  "at 0x%llx; give it a size above 0 and a lower address",
                  bus->name, ops->name, (unsigned long long)start, (unsigned long long)size,
                  (unsigned long long)bus->last);
        return -EINVAL;
    }
    uint32_t at = 0;
    while (at < bus->region_count && bus->regions[at].last < start)
        at++;
    if (at < bus->region_count && bus->regions[at].start <= last) {
        const struct bus_region *other = &bus->regions[at];
        log_error("%s bus: %s at 0x%llx-0x%llx overlaps %s at 0x%llx-0x%llx; choose another "
                  "address or remove that one first",
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
    change_begin(bus);
    memmove(&bus->regions[at + 1], &bus->regions[at],
            (bus->region_count - at) * sizeof(bus->regions[0]));
    bus->regions[at] = (struct bus_region){start, last, ops, device};
    bus->region_count++;
    change_end(bus);
    return 0;
}

int bus_remove(struct bus *bus, uint64_t start)
{
    uint32_t at = 0;
    while (at < bus->region_count && bus->regions[at].start != start)
        at++;
    if (at == bus->region_count) {
        log_error("%s bus: no region starts at 0x%llx; nothing was removed", bus->name,
                  (unsigned long long)start);
        return -ENOENT;
    }
    change_begin(bus);
    bus->region_count--;
    memmove(&bus->regions[at], &bus->regions[at + 1],
            (bus->region_count - at) * sizeof(bus->regions[0]));
    change_end(bus);
    return 0;
}

static uint32_t doorbell_index(const struct bus *bus, const struct bus_doorbell *d)
{
    uint32_t at = 0;
    for (; at < bus->doorbell_count; at++) {
        const struct bus_doorbell *have = &bus->doorbells[at];
        if (have->address == d->address && have->length == d->length &&
            have->match_data == d->match_data && (!d->match_data || have->data == d->data))
            break;
    }
    return at;
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
    if (doorbell_index(bus, d) < bus->doorbell_count) {
        log_error(
            "%s bus: a doorbell with the same match stands at 0x%llx already; remove it first",
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
    uint32_t at = doorbell_index(bus, doorbell);
    if (at == bus->doorbell_count) {
        log_error("%s bus: no such doorbell at 0x%llx; nothing was removed", bus->name,
                  (unsigned long long)doorbell->address);
        return -ENOENT;
    }
    change_begin(bus);
    bus->doorbells[at] = bus->doorbells[--bus->doorbell_count];
    change_end(bus);
    return 0;
}

/* ---- Readers. -------------------------------------------------------------------------------- */

static uint64_t read_begin(const struct bus *bus)
{
    uint64_t sequence;
    while (unlikely((sequence = __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE)) & 1))
        __builtin_ia32_pause();
    return sequence;
}

static bool read_again(const struct bus *bus, uint64_t sequence)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return unlikely(__atomic_load_n(&bus->sequence, __ATOMIC_RELAXED) != sequence);
}

/* The region that holds `address`, or, with ops NULL, the unclaimed range that holds it. What a
 * racing reader finds may be nonsense, but never leads outside the table. */
static inline struct bus_region find(const struct bus *bus, uint64_t address)
{
    struct bus_region found;
    uint64_t sequence;
    do {
        sequence = read_begin(bus);
        uint32_t low = 0;
        uint32_t high = READ_ONCE(bus->region_count); /* the first region that ends at or above */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (READ_ONCE(bus->regions[middle].last) < address)
                low = middle + 1;
            else
                high = middle;
        }
        found = (struct bus_region){address, ~0ull, NULL, NULL};
        if (low < READ_ONCE(bus->region_count)) {
            const struct bus_region *at = &bus->regions[low];
            uint64_t start = READ_ONCE(at->start);
            if (start <= address)
                found = (struct bus_region){start, READ_ONCE(at->last), READ_ONCE(at->ops),
                                            READ_ONCE(at->device)};
            else
                found.last = start - 1;
        }
    } while (read_again(bus, sequence));
    return found;
}

static bool find_doorbell(const struct bus *bus, uint64_t address, unsigned size, uint64_t value,
                          struct bus_doorbell *found)
{
    bool hit;
    uint64_t sequence;
    do {
        sequence = read_begin(bus);
        hit = false;
        for (uint32_t i = 0; !hit && i < READ_ONCE(bus->doorbell_count) && i < BUS_DOORBELLS; i++) {
            const struct bus_doorbell *d = &bus->doorbells[i];
            hit = d->address == address && (!d->length || d->length == size) &&
                  (!d->match_data || d->data == value);
            if (hit)
                *found = *d;
        }
    } while (read_again(bus, sequence));
    return hit;
}

bool bus_doorbell_any(struct bus *bus, uint64_t address)
{
    struct bus_doorbell found; /* size 0 is no length, so only a doorbell of any length matches */
    return unlikely(READ_ONCE(bus->doorbell_count)) && find_doorbell(bus, address, 0, 0, &found);
}

static void count_unclaimed(struct bus *bus)
{
    __atomic_fetch_add(&bus->unclaimed, 1, __ATOMIC_RELAXED);
}

static uint64_t size_mask(unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

/* How many of `size` bytes at `address` lie in `region`; at the top of the space they wrap to 0. */
static unsigned part_size(const struct bus_region *region, uint64_t address, unsigned size)
{
    uint64_t left = region->last - address;
    return left >= size ? size : (unsigned)left + 1;
}

/* Cuts the place off at the doorbells next to the address; false if it has one of its own. */
static bool avoid_doorbells(const struct bus *bus, uint64_t address, struct bus_region *place)
{
    for (uint32_t i = 0; i < READ_ONCE(bus->doorbell_count) && i < BUS_DOORBELLS; i++) {
        uint64_t at = READ_ONCE(bus->doorbells[i].address);
        if (at == address)
            return false;
        if (at < address && at >= place->start)
            place->start = at + 1;
        else if (at > address && at <= place->last)
            place->last = at - 1;
    }
    return true;
}

void bus_hint_fill(const struct bus *bus, struct bus_hint *hint, uint64_t address, unsigned size)
{
    uint64_t sequence = read_begin(bus);
    struct bus_region region = find(bus, address), place = region;
    bool silent = avoid_doorbells(bus, address, &place);
    *hint = (struct bus_hint){0};
    if (read_again(bus, sequence) || !region.ops || !silent || place.last - address < size - 1)
        return;
    uint64_t span = place.last - place.start - (size - 1);
    *hint = (struct bus_hint){sequence, place.start, span, region};
}

uint64_t bus_read(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    for (unsigned done = 0; done < size;) {
        struct bus_region region = find(bus, address + done);
        unsigned part = part_size(&region, address + done, size - done);
        uint64_t bytes = ~0ull;
        if (likely(region.ops))
            bytes = region.ops->read(region.device, vcpu, address + done - region.start, part);
        else
            count_unclaimed(bus);
        value |= (bytes & size_mask(part)) << (8 * done);
        done += part;
    }
    return value;
}

void bus_write(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size,
               uint64_t value)
{
    struct bus_doorbell doorbell;
    value &= size_mask(size);
    if (unlikely(READ_ONCE(bus->doorbell_count)) &&
        find_doorbell(bus, address, size, value, &doorbell)) {
        doorbell.ring(doorbell.device, vcpu);
        return;
    }
    for (unsigned done = 0; done < size;) {
        struct bus_region region = find(bus, address + done);
        unsigned part = part_size(&region, address + done, size - done);
        if (likely(region.ops))
            region.ops->write(region.device, vcpu, address + done - region.start, part,
                              (value >> (8 * done)) & size_mask(part));
        else
            count_unclaimed(bus);
        done += part;
    }
}
