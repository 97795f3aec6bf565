/* SPDX-License-Identifier: MIT */
/*
 * Accesses to the bus: a binary search of the sorted pieces without a lock, and a short list of
 * doorbells. Called by the emulator for MMIO and by vm/ for port I/O. Pure; touches nothing but the
 * bus' tables and, through them, devices.
 */
#include "mmio/bus.h"

#include "lib/bits.h"
#include "lib/string.h"

static uint64_t bus_read_begin(const struct bus *bus)
{
    uint64_t sequence;
    while (unlikely((sequence = __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE)) & 1))
        __builtin_ia32_pause();
    return sequence;
}

static bool bus_read_again(const struct bus *bus, uint64_t sequence)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return unlikely(__atomic_load_n(&bus->sequence, __ATOMIC_RELAXED) != sequence);
}

/* ---- Lookup ---------------------------------------------------------------------------------- */

/* The piece that holds `address`, or, with ops NULL, the unclaimed range that holds it. A reader
 * that races with a change may copy inconsistent entries, but never reads outside the table. */
static struct bus_piece bus_find_piece(const struct bus *bus, uint64_t address)
{
    struct bus_piece found;
    uint64_t sequence;
    do {
        sequence = bus_read_begin(bus);
        uint32_t count = READ_ONCE(bus->piece_count);
        uint32_t low = 0, high = count; /* of the first piece with last >= address */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (READ_ONCE(bus->pieces[middle].last) < address)
                low = middle + 1;
            else
                high = middle;
        }
        found = (struct bus_piece){.first = address, .last = ~0ull};
        if (low < count) {
            found = bus->pieces[low];
            if (found.first > address)
                found = (struct bus_piece){.first = address, .last = found.first - 1};
        }
    } while (bus_read_again(bus, sequence));
    return found;
}

static bool bus_find_doorbell(const struct bus *bus, uint64_t address, unsigned size,
                              uint64_t value, struct bus_doorbell *found)
{
    bool hit;
    uint64_t sequence;
    do {
        sequence = bus_read_begin(bus);
        hit = false;
        for (uint32_t i = 0; !hit && i < READ_ONCE(bus->doorbell_count) && i < BUS_DOORBELLS; i++) {
            const struct bus_doorbell *d = &bus->doorbells[i];
            hit = d->address == address && (!d->length || d->length == size) &&
                  (!d->match_data || d->data == value);
            if (hit)
                *found = *d;
        }
    } while (bus_read_again(bus, sequence));
    return hit;
}

bool bus_doorbell_any(struct bus *bus, uint64_t address)
{
    struct bus_doorbell found; /* size 0 matches only a doorbell of any length */
    return unlikely(READ_ONCE(bus->doorbell_count)) &&
           bus_find_doorbell(bus, address, 0, 0, &found);
}

/* ---- Parts of an access ---------------------------------------------------------------------- */

static bool bus_device_takes(const struct bus_ops *ops, uint64_t offset, unsigned size)
{
    return !ops->sizes || (!(size & (size - 1)) && ops->sizes & size && !(offset & (size - 1)));
}

/* The next part of an access: `size` bytes at `offset` of the device, or, with ops NULL, `size`
 * bytes that no device takes. */
struct part {
    const struct bus_ops *ops;
    void *device;
    uint64_t offset;
    unsigned size;
};

/* The largest part of an access at `offset` that the device takes at once; 0: none. */
static unsigned bus_fitting_size(const struct bus_ops *ops, uint64_t offset, unsigned size,
                                 bool wide)
{
    unsigned most = wide ? BUS_ACCESS : 8;
    if (!ops->sizes)
        return size < most ? size : most;
    for (unsigned part = most; part; part /= 2) {
        if (part <= size && bus_device_takes(ops, offset, part))
            return part;
    }
    return 0;
}

static COLD struct part bus_unanswered(uint64_t *count, unsigned size)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    return (struct part){.size = size};
}

/* A majority vote (Boyer and Moore) in each place of the table: constant time, whatever a guest
 * does. No lock: a vote that is lost in a race does not matter. */
static COLD void bus_note_missed(struct bus *bus, uint64_t address)
{
    _Static_assert(BUS_MISSED == 1 << (64 - 59), "the hash has as many bits");
    struct bus_missed *place = &bus->missed[address * 0x9e3779b97f4a7c15 >> 59];
    uint64_t votes = READ_ONCE(place->votes);
    bool same = votes && READ_ONCE(place->address) == address;
    if (!votes) {
        WRITE_ONCE(place->address, address);
        WRITE_ONCE(place->count, 0);
    }
    if (same || !votes)
        WRITE_ONCE(place->count, READ_ONCE(place->count) + 1);
    WRITE_ONCE(place->votes, same || !votes ? votes + 1 : votes - 1);
}

uint64_t bus_missed_most(const struct bus *bus, unsigned rank, uint64_t *count)
{
    uint64_t counts[BUS_MISSED];
    unsigned most = 0;
    for (unsigned i = 0; i < BUS_MISSED; i++)
        counts[i] = READ_ONCE(bus->missed[i].count);
    for (unsigned round = 0; round <= rank; round++) {
        if (round)
            counts[most] = 0;
        for (unsigned i = 0; i < BUS_MISSED; i++)
            if (counts[i] > counts[most])
                most = i;
    }
    *count = counts[most];
    return READ_ONCE(bus->missed[most].address);
}

static struct part bus_next_part(struct bus *bus, uint64_t address, unsigned size, bool write)
{
    struct bus_piece piece = bus_find_piece(bus, address);
    const struct bus_ops *ops = piece.region.ops;
    uint64_t left = piece.last - address; /* minus one, because 2^64 does not fit */
    if (left < size)
        size = (unsigned)left + 1;
    if (unlikely(!ops)) {
        bus_note_missed(bus, address);
        return bus_unanswered(&bus->unclaimed, size);
    }
    struct part part = {ops, piece.region.device, address - piece.region.start, size};
    bool wide = write ? ops->write_wide != NULL : ops->read_wide != NULL;
    if (likely(bus_device_takes(ops, part.offset, size) && (size <= 8 || wide)))
        return part;
    part.size = ops->refuse ? 0 : bus_fitting_size(ops, part.offset, size, wide);
    return part.size ? part : bus_unanswered(&bus->refused, ops->refuse ? size : 1);
}

void bus_read_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, void *bytes,
                    unsigned size)
{
    for (unsigned done = 0; done < size;) {
        struct part p = bus_next_part(bus, address + done, size - done, false);
        uint8_t *to = (uint8_t *)bytes + done;
        done += p.size;
        if (unlikely(!p.ops)) {
            memset(to, 0xff, p.size);
        } else if (unlikely(p.size > 8)) {
            p.ops->read_wide(p.device, vcpu, p.offset, p.size, to);
        } else {
            uint64_t value = p.ops->read(p.device, vcpu, p.offset, p.size);
            memcpy(to, &value, p.size);
        }
    }
}

void bus_write_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, const void *bytes,
                     unsigned size)
{
    struct bus_doorbell d;
    uint64_t value = 0;
    if (unlikely(READ_ONCE(bus->doorbell_count))) {
        memcpy(&value, bytes, size < 8 ? size : 8);
        if (bus_find_doorbell(bus, address, size, value, &d)) {
            d.ops->write(d.device, vcpu, 0, size, value);
            return;
        }
    }
    for (unsigned done = 0; done < size;) {
        struct part p = bus_next_part(bus, address + done, size - done, true);
        const uint8_t *from = (const uint8_t *)bytes + done;
        done += p.size;
        if (unlikely(!p.ops))
            continue;
        if (unlikely(p.size > 8)) {
            p.ops->write_wide(p.device, vcpu, p.offset, p.size, from);
        } else {
            value = 0;
            memcpy(&value, from, p.size);
            p.ops->write(p.device, vcpu, p.offset, p.size, value);
        }
    }
}

uint64_t bus_read(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    bus_read_bytes(bus, vcpu, address, &value, size);
    return value;
}

void bus_write(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, unsigned size,
               uint64_t value)
{
    bus_write_bytes(bus, vcpu, address, &value, size);
}

/* ---- Bus ranges ------------------------------------------------------------------------------ */

/* The write operation of a bus range with doorbells that depend on the length or the data: a full
 * lookup. The region of the range starts at 0, so that the offset is the address. */
static void bus_write_by_value(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                               uint64_t value)
{
    bus_write(device, vcpu, offset, size, value);
}

static const struct bus_ops bus_by_value = {.name = "doorbells", .write = bus_write_by_value};

/* Shrinks the range around `address` so that it holds no doorbell of another address. True if
 * `address` itself has doorbells; then they become the region of the range. */
static bool bus_hint_doorbells(struct bus *bus, uint64_t address, unsigned size,
                               struct bus_piece *range, bool *rings)
{
    bool own = false;
    for (uint32_t i = 0; i < READ_ONCE(bus->doorbell_count) && i < BUS_DOORBELLS; i++) {
        struct bus_doorbell d = bus->doorbells[i];
        if (d.address < address && d.address >= range->first)
            range->first = d.address + 1;
        else if (d.address > address && d.address <= range->last)
            range->last = d.address - 1;
        if (d.address != address || *rings)
            continue;
        own = true;
        *rings = (!d.length || d.length == size) && !d.match_data;
        range->region = *rings ? (struct bus_region){address, address, d.ops, d.device}
                               : (struct bus_region){0, bus->last, &bus_by_value, bus};
    }
    return own;
}

void bus_hint_fill(struct bus *bus, struct bus_hint *hint, uint64_t address, unsigned size,
                   bool write)
{
    uint64_t sequence = bus_read_begin(bus);
    struct bus_piece range = bus_find_piece(bus, address);
    bool rings = false, own = write && bus_hint_doorbells(bus, address, size, &range, &rings);
    const struct bus_ops *ops = range.region.ops;
    *hint = (struct bus_hint){0};
    if (own || (ops && ops->sizes)) /* the answer may differ at the next address */
        range.first = address;
    uint64_t span = range.last - range.first - (size - 1);
    if (own || (ops && ops->sizes))
        span = 0;
    bool fits = own || (ops && range.last - address >= size - 1 &&
                        bus_device_takes(ops, address - range.region.start, size));
    if (fits && !bus_read_again(bus, sequence))
        *hint = (struct bus_hint){sequence, range.first, span, range.region, rings};
}
