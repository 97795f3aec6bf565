/* SPDX-License-Identifier: MIT */
/* The queue of the export channel, and its frames; see the header. Pure. */
#include "arch/x86/export.h"

#include "lib/assert.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define QUEUE 16384u /* bytes; a power of two */

static const struct export_device *device;
static struct spinlock writer; /* taken by spin_trylock() only */
static uint8_t queue[QUEUE];
static uint64_t put, taken; /* bytes since the start; guarded by `writer` */
static uint64_t waiting;    /* put - taken, for those who only ask */
static uint32_t number;
static uint32_t crc_of_byte[256];

/* The polynomial of IEEE 802.3, bits reversed. */
#define CRC_POLYNOMIAL 0xedb88320u

static uint32_t crc_add(uint32_t crc, const void *data, size_t size)
{
    for (const uint8_t *byte = data; size--; byte++)
        crc = crc >> 8 ^ crc_of_byte[(uint8_t)crc ^ *byte];
    return crc;
}

void export_open(const struct export_device *opened)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
        crc_of_byte[i] = crc;
    }
    put = taken = waiting = 0;
    number = 0;
    device = opened;
}

bool export_is_open(void)
{
    return device;
}

static void export_put(const void *data, size_t size)
{
    size_t at = put % QUEUE, before_end = size < QUEUE - at ? size : QUEUE - at;
    memcpy(queue + at, data, before_end);
    memcpy(queue, (const uint8_t *)data + before_end, size - before_end);
    put += size;
}

/* Two takes at most: up to the end of the array, and from its beginning. */
static void export_give(void)
{
    for (unsigned i = 0; i < 2 && taken < put; i++) {
        size_t at = taken % QUEUE, all = put - taken;
        size_t size = all < QUEUE - at ? all : QUEUE - at;
        size_t took = device->take(queue + at, size);
        taken += took;
        if (took < size)
            break;
    }
    __atomic_store_n(&waiting, put - taken, __ATOMIC_RELAXED);
}

bool export_bytes(uint8_t kind, const void *data, size_t size)
{
    struct export_frame frame = {
        .magic = EXPORT_MAGIC, .kind = kind, .version = EXPORT_VERSION, .size = (uint16_t)size};
    BUG_ON(size > EXPORT_MAX);
    if (!device)
        return false;
    if (!spin_trylock(&writer))
        return false;
    bool room = put - taken + sizeof(frame) + size <= QUEUE;
    if (room) {
        frame.number = number++;
        uint32_t crc =
            crc_add(~0u, &frame.kind, sizeof(frame) - offsetof(struct export_frame, kind));
        frame.crc = ~crc_add(crc, data, size);
        export_put(&frame, sizeof(frame));
        export_put(data, size);
    }
    export_give();
    spin_unlock(&writer);
    return room;
}

uint64_t export_waits(void)
{
    return __atomic_load_n(&waiting, __ATOMIC_RELAXED);
}

bool export_send(void)
{
    if (!export_waits() || !spin_trylock(&writer))
        return false;
    export_give();
    spin_unlock(&writer);
    return export_waits();
}
