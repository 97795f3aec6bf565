/*
 * Accesses to the bus: a sorted table of pieces, searched without a lock, and a short list of
 * doorbells. Called by the emulator for MMIO and by vm/ for port I/O. Pure; touches nothing but
 * the bus' tables and, through them, devices.
 */
#include "mmio/bus.h"

#include "lib/bits.h"
#include "lib/string.h"

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

/* ---- Where an address leads ------------------------------------------------------------------ */

/* The piece that holds `address`, or, with ops NULL, the unclaimed range that holds it. What a
 * racing reader finds may be nonsense, but never leads outside the table. */
static struct bus_piece find(const struct bus *bus, uint64_t address)
{
    struct bus_piece found;
    uint64_t sequence;
    do {
        sequence = read_begin(bus);
        uint32_t count = READ_ONCE(bus->piece_count);
        uint32_t low = 0, high = count; /* the first piece that ends at or above */
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

/* ---- Parts of an access ---------------------------------------------------------------------- */

static bool takes(const struct bus_ops *ops, uint64_t offset, unsigned size)
{
    return !ops->sizes || (!(size & (size - 1)) && ops->sizes & size && !(offset & (size - 1)));
}

/* What comes next of an access: so many bytes at `offset` of the device, or, with ops NULL, so many
 * that nobody takes. */
struct part {
    const struct bus_ops *ops;
    void *device;
    uint64_t offset;
    unsigned size;
};

/* `offset` in a device that takes sizes of its own choice, or wants no more than 8 bytes at once.
 */
static unsigned fitting(const struct bus_ops *ops, uint64_t offset, unsigned size, bool wide)
{
    unsigned most = wide ? BUS_ACCESS : 8;
    if (!ops->sizes)
        return size < most ? size : most;
    for (unsigned part = most; part; part /= 2) {
        if (part <= size && takes(ops, offset, part))
            return part;
    }
    return 0;
}

static COLD struct part nobody(uint64_t *count, unsigned size)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    return (struct part){.size = size};
}

static struct part next_part(struct bus *bus, uint64_t address, unsigned size, bool write)
{
    struct bus_piece piece = find(bus, address);
    const struct bus_ops *ops = piece.region.ops;
    uint64_t left = piece.last - address; /* less one: at the top of the space it could be 2^64 */
    if (left < size)
        size = (unsigned)left + 1;
    if (unlikely(!ops))
        return nobody(&bus->unclaimed, size);
    struct part part = {ops, piece.region.device, address - piece.region.start, size};
    bool wide = write ? ops->write_wide != NULL : ops->read_wide != NULL;
    if (likely(takes(ops, part.offset, size) && (size <= 8 || wide)))
        return part;
    part.size = ops->refuse ? 0 : fitting(ops, part.offset, size, wide);
    return part.size ? part : nobody(&bus->refused, ops->refuse ? size : 1);
}

void bus_read_bytes(struct bus *bus, struct mmio_vcpu *vcpu, uint64_t address, void *bytes,
                    unsigned size)
{
    for (unsigned done = 0; done < size;) {
        struct part p = next_part(bus, address + done, size - done, false);
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
        if (find_doorbell(bus, address, size, value, &d)) {
            d.ops->write(d.device, vcpu, 0, size, value);
            return;
        }
    }
    for (unsigned done = 0; done < size;) {
        struct part p = next_part(bus, address + done, size - done, true);
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

/* ---- Places that were looked up before ------------------------------------------------------- */

/* Where doorbells want to see the data: the offset is the address. */
static void write_by_value(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                           uint64_t value)
{
    bus_write(device, vcpu, offset, size, value);
}

static const struct bus_ops by_value = {.name = "doorbells", .write = write_by_value};

/* The doorbells of a write to `address`: cuts the place off at those next to it. True if it has
 * some of its own; then they are the place. */
static bool at_doorbells(struct bus *bus, uint64_t address, unsigned size, struct bus_piece *place,
                         bool *rings)
{
    bool own = false;
    for (uint32_t i = 0; i < READ_ONCE(bus->doorbell_count) && i < BUS_DOORBELLS; i++) {
        struct bus_doorbell d = bus->doorbells[i];
        if (d.address < address && d.address >= place->first)
            place->first = d.address + 1;
        else if (d.address > address && d.address <= place->last)
            place->last = d.address - 1;
        if (d.address != address || *rings)
            continue;
        own = true;
        *rings = (!d.length || d.length == size) && !d.match_data;
        place->region = *rings ? (struct bus_region){address, address, d.ops, d.device}
                               : (struct bus_region){0, bus->last, &by_value, bus};
    }
    return own;
}

void bus_hint_fill(struct bus *bus, struct bus_hint *hint, uint64_t address, unsigned size,
                   bool write)
{
    uint64_t sequence = read_begin(bus);
    struct bus_piece place = find(bus, address);
    bool rings = false, own = write && at_doorbells(bus, address, size, &place, &rings);
    const struct bus_ops *ops = place.region.ops;
    *hint = (struct bus_hint){0};
    if (own || (ops && ops->sizes)) /* what holds for this address may not for its neighbours */
        place.first = address;
    uint64_t span = place.last - place.first - (size - 1);
    if (own || (ops && ops->sizes))
        span = 0;
    bool fits = own || (ops && place.last - address >= size - 1 &&
                        takes(ops, address - place.region.start, size));
    if (fits && !read_again(bus, sequence))
        *hint = (struct bus_hint){sequence, place.first, span, place.region, rings};
}
