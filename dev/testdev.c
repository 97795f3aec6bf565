/* SPDX-License-Identifier: MIT */
/*
 * The test device: memory and counters. Called by the bus. guest/abi.h defines its layout.
 */
#include "dev/testdev.h"

#include "guest/abi.h"
#include "lib/bits.h"
#include "lib/string.h"

_Static_assert(sizeof(((struct testdev *)0)->ram) == TESTDEV_RAM_SIZE, "the ABI's size");
_Static_assert(sizeof(((struct testdev *)0)->tail) == TESTDEV_SIZE - TESTDEV_TAIL, "the ABI's end");

void testdev_init(struct testdev *device, char ident)
{
    memset(device, 0, sizeof(*device));
    device->ident = ident;
}

static uint32_t testdev_register_at(const struct testdev *d, uint64_t offset)
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

/* The byte at an offset of the RAM-like part, or NULL if the offset is that of a register. */
static uint8_t *testdev_ram_at(struct testdev *d, uint64_t offset)
{
    if (offset < TESTDEV_RAM_SIZE)
        return &d->ram[offset];
    return offset >= TESTDEV_TAIL ? &d->tail[offset - TESTDEV_TAIL] : NULL;
}

static uint8_t testdev_byte_at(struct testdev *d, uint64_t offset)
{
    const uint8_t *ram = testdev_ram_at(d, offset);
    if (ram)
        return *ram;
    return (uint8_t)(testdev_register_at(d, offset & ~3ull) >> (8 * (offset & 3)));
}

static void testdev_note_access(struct testdev *d, uint64_t offset, unsigned size, uint64_t value)
{
    d->last_offset = (uint32_t)offset;
    d->last_size = size;
    d->last_value = value;
}

static NOINLINE uint64_t testdev_read_bytes(struct testdev *d, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)testdev_byte_at(d, offset + i) << (8 * i);
    if (testdev_ram_at(d, offset)) {
        d->reads++;
        testdev_note_access(d, offset, size, value);
    }
    return value;
}

static NOINLINE void testdev_write_bytes(struct testdev *d, uint64_t offset, unsigned size,
                                         uint64_t value)
{
    if (testdev_ram_at(d, offset)) {
        for (unsigned i = 0; i < size; i++) {
            uint8_t *ram = testdev_ram_at(d, offset + i);
            if (ram)
                *ram = (uint8_t)(value >> (8 * i));
        }
        d->writes++;
        testdev_note_access(d, offset, size, value);
    } else if (offset < TESTDEV_RESET + 4 && offset + size > TESTDEV_RESET) {
        testdev_init(d, d->ident);
    }
}

/* Copies 1, 2, 4 or 8 bytes with one load and one store; 4 bytes, the most frequent size, is tested
 * first. Returns false for any other size. */
static ALWAYS_INLINE bool copy_usual_size(void *to, const void *from, unsigned size)
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
    if (unlikely(offset > TESTDEV_RAM_SIZE - 8 || !copy_usual_size(&value, &d->ram[offset], size)))
        return testdev_read_bytes(d, offset, size);
    d->reads++;
    testdev_note_access(d, offset, size, value);
    return value;
}

static void testdev_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                          uint64_t value)
{
    struct testdev *d = device;
    (void)vcpu;
    if (unlikely(offset > TESTDEV_RAM_SIZE - 8 ||
                 !copy_usual_size(&d->ram[offset], &value, size))) {
        testdev_write_bytes(d, offset, size, value);
        return;
    }
    d->writes++;
    testdev_note_access(d, offset, size, value);
}

const struct bus_ops testdev_ops = {
    .name = "testdev", .read = testdev_read, .write = testdev_write};
