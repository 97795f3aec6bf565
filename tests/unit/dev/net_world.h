/* SPDX-License-Identifier: MIT */
/*
 * Stations: virtio network devices at one switch, each with a guest's RAM of its own and a driver
 * that uses both as the specification demands, or as a test wants. Include it in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include "dev/virtio_mmio.h"
#include "dev/virtio_net.h"
#include "lib/errno.h"
#include "lib/bits.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define STATIONS 3u

#define RAM_BASE 0x10000u
#define RAM_SIZE 0x50000u

#define RECEIVE  0u
#define TRANSMIT 1u
#define HEADER   12u

/* The driver's data: the three parts of each queue, and a buffer for each descriptor. */
#define DESCRIPTORS(queue)   (RAM_BASE + (queue)*0x4000)
#define AVAILABLE(queue)     (DESCRIPTORS(queue) + 0x1000)
#define USED(queue)          (DESCRIPTORS(queue) + 0x2000)
#define INDIRECT(queue)      (DESCRIPTORS(queue) + 0x3000)
#define BUFFER(queue, index) (RAM_BASE + 0x8000 + (queue)*0x20000 + (index)*BUFFER_SIZE)
#define BUFFER_SIZE          0x800u

#define NET_STARTED                                                                       \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
     VIRTIO_CONFIG_S_DRIVER_OK)
#define NET_NEEDED (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM))

static struct net_switch lan;
static struct station {
    uint8_t ram[RAM_SIZE];
    struct virtio_net net;
    struct virtio_mmio mmio;
    bool line_level;
    unsigned line_rises, wakes, accesses;
    uint16_t made[2], seen[2]; /* chains made available, and used elements seen, of each queue */
} station[STATIONS];
static unsigned busy_calls;
static uint16_t queue_size;

/* ---- The device ------------------------------------------------------------------------------ */

/* The RAM at this address, or NULL if the range is not in RAM. */
static inline void *net_ram(struct station *s, uint64_t address, size_t size)
{
    bool inside = address >= RAM_BASE && size <= RAM_SIZE && address - RAM_BASE <= RAM_SIZE - size;
    return inside ? s->ram + (address - RAM_BASE) : NULL;
}

static int net_dma_read(void *context, uint64_t address, void *buffer, size_t size)
{
    const void *from = net_ram(context, address, size);
    ((struct station *)context)->accesses++;
    if (!from)
        return -EFAULT;
    memcpy(buffer, from, size);
    return 0;
}

static int net_dma_write(void *context, uint64_t address, const void *buffer, size_t size)
{
    void *to = net_ram(context, address, size);
    ((struct station *)context)->accesses++;
    if (!to)
        return -EFAULT;
    memcpy(to, buffer, size);
    return 0;
}

static void net_line(void *context, unsigned number, bool level)
{
    struct station *s = context;
    assert_int_equal(number, 10);
    s->line_rises += level && !s->line_level;
    s->line_level = level;
}

static void net_busy(void)
{
    busy_calls++;
}

static void net_wake(void *context)
{
    struct station *s = context;
    assert_true(switch_waits(&s->net.port));
    s->wakes++;
}

/* Station n has the address 02:00:00:00:00:n. */
static inline void make_station(unsigned n)
{
    struct station *s = &station[n];
    memset(s, 0, sizeof(*s));
    s->net.virtio.dma = (struct dma){net_dma_read, net_dma_write, s};
    s->net.virtio.line = (struct line){net_line, s, 10};
    s->net.virtio.busy = net_busy;
    s->net.port.owner = &lan;
    s->net.port.wake = net_wake;
    s->net.port.context = s;
    memcpy(s->net.port.mac, (uint8_t[MAC_SIZE]){2, 0, 0, 0, 0, (uint8_t)n}, MAC_SIZE);
    assert_int_equal(virtio_net_init(&s->net), 0);
    s->mmio.virtio = &s->net.virtio;
}

static inline void make_stations(void)
{
    busy_calls = 0;
    for (unsigned n = 0; n < STATIONS; n++)
        make_station(n);
}

static inline void destroy_stations(void)
{
    for (unsigned n = 0; n < STATIONS; n++)
        virtio_net_destroy(&station[n].net);
}

static inline uint32_t net_reg(struct station *s, uint64_t offset)
{
    return (uint32_t)virtio_mmio_ops.read(&s->mmio, NULL, offset, 4);
}

static inline void net_set_reg(struct station *s, uint64_t offset, uint32_t value)
{
    virtio_mmio_ops.write(&s->mmio, NULL, offset, 4, value);
}

/* ---- The driver ------------------------------------------------------------------------------ */

static inline struct vring_desc *net_descriptor(struct station *s, unsigned queue, unsigned i)
{
    return (struct vring_desc *)net_ram(s, DESCRIPTORS(queue), 1) + i;
}

static inline struct vring_avail *net_available(struct station *s, unsigned queue)
{
    return net_ram(s, AVAILABLE(queue), 1);
}

static inline struct vring_used *net_used(struct station *s, unsigned queue)
{
    return net_ram(s, USED(queue), 1);
}

static inline uint8_t *net_buffer(struct station *s, unsigned queue, unsigned i)
{
    return net_ram(s, BUFFER(queue, i), 1);
}

static inline void net_start_queue(struct station *s, unsigned queue)
{
    memset(net_ram(s, DESCRIPTORS(queue), 0x4000), 0, 0x4000);
    s->made[queue] = s->seen[queue] = 0;
    net_set_reg(s, VIRTIO_MMIO_QUEUE_SEL, queue);
    net_set_reg(s, VIRTIO_MMIO_QUEUE_NUM, queue_size);
    net_set_reg(s, VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS(queue));
    net_set_reg(s, VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAILABLE(queue));
    net_set_reg(s, VIRTIO_MMIO_QUEUE_USED_LOW, USED(queue));
    net_set_reg(s, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* Initializes the device as section 3.1 of the specification demands. */
static inline void net_start(struct station *s, uint64_t features, uint16_t size)
{
    queue_size = size;
    net_set_reg(s, VIRTIO_MMIO_STATUS, 0);
    net_set_reg(s, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    features |= NET_NEEDED;
    for (uint32_t half = 0; half < 2; half++) {
        net_set_reg(s, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        net_set_reg(s, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
    }
    net_set_reg(s, VIRTIO_MMIO_STATUS, NET_STARTED & ~VIRTIO_CONFIG_S_DRIVER_OK);
    assert_true(net_reg(s, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
    net_start_queue(s, RECEIVE);
    net_start_queue(s, TRANSMIT);
    net_set_reg(s, VIRTIO_MMIO_STATUS, NET_STARTED);
}

static inline void net_describe(struct station *s, unsigned queue, unsigned i, uint64_t address,
                                uint32_t length, unsigned flags, unsigned next)
{
    *net_descriptor(s, queue, i) =
        (struct vring_desc){address, length, (uint16_t)flags, (uint16_t)next};
}

static inline void net_make_available(struct station *s, unsigned queue, unsigned head)
{
    net_available(s, queue)->ring[s->made[queue]++ % queue_size] = (uint16_t)head;
    net_available(s, queue)->idx = s->made[queue];
}

static inline void net_notify(struct station *s, unsigned queue)
{
    net_set_reg(s, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static inline bool net_needs_reset(struct station *s)
{
    return net_reg(s, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Makes `count` buffers of `size` bytes each available for reception, without a notification. */
static inline void give(struct station *s, unsigned count, uint32_t size)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned index = s->made[RECEIVE] % queue_size;
        net_describe(s, RECEIVE, index, BUFFER(RECEIVE, index), size, VRING_DESC_F_WRITE, 0);
        net_make_available(s, RECEIVE, index);
    }
}

/* Makes a frame available for sending, without a notification: from station `from` to station
 * `to`, or to all if this is STATIONS. The contents depend on `mark`. */
static inline void put(unsigned from, unsigned to, unsigned mark, uint32_t size)
{
    struct station *s = &station[from];
    unsigned index = s->made[TRANSMIT] % queue_size;
    uint8_t *buffer = net_buffer(s, TRANSMIT, index);
    memset(buffer, 0, HEADER);
    for (uint32_t i = 0; i < size; i++)
        buffer[HEADER + i] = (uint8_t)(mark + i * 7);
    memcpy(buffer + HEADER, (uint8_t[MAC_SIZE]){2, 0, 0, 0, 0, (uint8_t)to}, MAC_SIZE);
    if (to == STATIONS)
        memset(buffer + HEADER, 0xff, MAC_SIZE);
    net_describe(s, TRANSMIT, index, BUFFER(TRANSMIT, index), HEADER + size, 0, 0);
    net_make_available(s, TRANSMIT, index);
}

static inline void send(unsigned from, unsigned to, unsigned mark, uint32_t size)
{
    put(from, to, mark, size);
    net_notify(&station[from], TRANSMIT);
}

/* Checks that the next used buffer has a frame with these contents after the first bytes. */
static inline void expect_after(uint32_t first, unsigned at, unsigned mark, uint32_t size)
{
    static const uint8_t header[HEADER] = {[10] = 1}; /* one buffer */
    struct station *s = &station[at];
    const struct vring_used *used = net_used(s, RECEIVE);
    assert_int_not_equal(used->idx, s->seen[RECEIVE]);
    const struct vring_used_elem *element = &used->ring[s->seen[RECEIVE]++ % queue_size];
    const uint8_t *buffer = net_buffer(s, RECEIVE, element->id);
    assert_int_equal(element->len, HEADER + size);
    assert_memory_equal(buffer, header, HEADER);
    for (uint32_t i = first; i < size; i++)
        assert_int_equal(buffer[HEADER + i], (uint8_t)(mark + i * 7));
}

static inline void expect(unsigned at, unsigned mark, uint32_t size)
{
    expect_after(MAC_SIZE, at, mark, size);
}

static inline bool has_frame(unsigned at)
{
    return net_used(&station[at], RECEIVE)->idx != station[at].seen[RECEIVE];
}

static inline bool receive(unsigned at)
{
    return virtio_receive(&station[at].net.virtio);
}

/* ---- For tests whose drivers have all started ------------------------------------------------ */

static inline int setup(void **state)
{
    (void)state;
    support_reset();
    make_stations();
    for (unsigned n = 0; n < STATIONS; n++)
        net_start(&station[n], 0, 64);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    destroy_stations();
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        assert_null(lan.slots[n].port);
    return 0;
}
