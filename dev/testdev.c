/*
 * The test device: memory and counters. Called by the bus. Its layout is guest/abi.h's, included
 * here although vm/ lies above: the file is the ABI, with constants only.
 */
#include "dev/testdev.h"

#include "guest/abi.h"
#include "lib/bits.h"
#include "lib/string.h"

_Static_assert(sizeof(((struct testdev *)0)->ram) == TESTDEV_RAM_SIZE, "the ABI's size");
_Static_assert(sizeof(((struct testdev *)0)->tail) == TESTDEV_SIZE - TESTDEV_TAIL, "the same");

void testdev_init(struct testdev *device, char ident)
{
    memset(device, 0, sizeof(*device));
    device->ident = ident;
}

static uint32_t register_at(const struct testdev *d, uint64_t offset)
{
    switch (offset) {
    case TESTDEV_READS:
        return d->reads;
    case TESTDEV_WRITES:
        return d->writes;
    case TESTDEV_LAST_OFS:
        return d->last_offset;
    case TESTDEV_LAST_SIZE:
        return d->last_size;
    case TESTDEV_LAST_VALUE:
        return (uint32_t)d->last_value;
    case TESTDEV_LAST_VALUE + 4:
        return (uint32_t)(d->last_value >> 32);
    case TESTDEV_IDENT:
        return (uint8_t)d->ident;
    default:
        return 0;
    }
}

/* The byte behind an offset of the RAM-like part, or NULL. */
static uint8_t *ram_at(struct testdev *d, uint64_t offset)
{
    if (offset < TESTDEV_RAM_SIZE)
        return &d->ram[offset];
    return offset >= TESTDEV_TAIL ? &d->tail[offset - TESTDEV_TAIL] : NULL;
}

static uint8_t byte_at(struct testdev *d, uint64_t offset)
{
    const uint8_t *ram = ram_at(d, offset);
    if (ram)
        return *ram;
    return (uint8_t)(register_at(d, offset & ~3ull) >> (8 * (offset & 3)));
}

static void note(struct testdev *d, uint64_t offset, unsigned size, uint64_t value)
{
    d->last_offset = (uint32_t)offset;
    d->last_size = size;
    d->last_value = value;
}

static NOINLINE uint64_t read_bytes(struct testdev *d, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)byte_at(d, offset + i) << (8 * i);
    if (ram_at(d, offset)) {
        d->reads++;
        note(d, offset, size, value);
    }
    return value;
}

static NOINLINE void write_bytes(struct testdev *d, uint64_t offset, unsigned size, uint64_t value)
{
    if (ram_at(d, offset)) {
        for (unsigned i = 0; i < size; i++) {
            uint8_t *ram = ram_at(d, offset + i);
            if (ram)
                *ram = (uint8_t)(value >> (8 * i));
        }
        d->writes++;
        note(d, offset, size, value);
    } else if (offset < TESTDEV_RESET + 4 && offset + size > TESTDEV_RESET) {
        testdev_init(d, d->ident);
    }
}

/* Not byte by byte, as far as it is of a usual size; 32 bits first. */
static ALWAYS_INLINE bool copy(void *to, const void *from, unsigned size)
{
    if (likely(size == 4))
        __builtin_memcpy(to, from, 4);
    else if (size == 8)
        __builtin_memcpy(to, from, 8);
    else if (size == 2)
        __builtin_memcpy(to, from, 2);
    else if (size == 1)
        __builtin_memcpy(to, from, 1);
    else
        return false;
    return true;
}

static uint64_t testdev_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct testdev *d = device;
    uint64_t value = 0;
    (void)vcpu;
    if (unlikely(offset > TESTDEV_RAM_SIZE - 8 || !copy(&value, &d->ram[offset], size)))
        return read_bytes(d, offset, size);
    d->reads++;
    note(d, offset, size, value);
    return value;
}

static void testdev_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                          uint64_t value)
{
    struct testdev *d = device;
    (void)vcpu;
    if (unlikely(offset > TESTDEV_RAM_SIZE - 8 || !copy(&d->ram[offset], &value, size))) {
        write_bytes(d, offset, size, value);
        return;
    }
    d->writes++;
    note(d, offset, size, value);
}

const struct bus_ops testdev_ops = {
    .name = "testdev", .read = testdev_read, .write = testdev_write};
