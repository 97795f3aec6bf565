/* SPDX-License-Identifier: MIT */
/*
 * A virtio network device whose driver is libFuzzer, at a switch with two devices whose drivers are
 * sound. An input is a sequence of steps: register accesses, values and descriptors in the rings,
 * chains made available, notifications, frames from the other devices. After each step, the line
 * agrees with the interrupt status, a piece of work was bounded, and a device that needs a reset
 * has done nothing. The memory of the other drivers is accessed only by calls of their own devices,
 * and after the last step they can still exchange frames.
 */
#include "tests/unit/dev/net_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Regions of a bus are removed only by the transport that these drivers do not use. */
void tlb_wait_epoch(const void *owner)
{
    (void)owner;
}

static const uint8_t *next, *end_of_input;
static struct station *const hostile = &station[0];

static uint32_t take(unsigned bytes)
{
    uint32_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

/* Returns an address that has a meaning, perhaps with a small number added, or any address. */
static uint64_t take_address(unsigned queue)
{
    const uint64_t places[] = {
        BUFFER(queue, 0),  BUFFER(queue, 1),         DESCRIPTORS(queue), AVAILABLE(queue),
        USED(queue),       INDIRECT(queue),          RAM_BASE,           RAM_BASE + RAM_SIZE,
        BUFFER(!queue, 0), RAM_BASE + RAM_SIZE - 100};
    uint32_t kind = take(1);
    if (kind % 16 < ARRAY_SIZE(places))
        return places[kind % 16] + (kind & 0x80 ? (uint64_t)(int8_t)take(1) : 0);
    return (uint64_t)take(4) << 32 | take(4);
}

static uint32_t take_length(void)
{
    static const uint32_t lengths[] = {0, 1, 11, 12, 25, 26, 72, 1526, 1530, 1531, 0x20000, ~0u};
    uint32_t kind = take(1);
    return kind < ARRAY_SIZE(lengths) ? lengths[kind] : kind & 1 ? kind * 16 : take(4);
}

static void put_descriptor(unsigned queue)
{
    uint32_t where = take(1);
    struct vring_desc *table =
        where & 0x80 ? net_ram(hostile, INDIRECT(queue), 1) : net_descriptor(hostile, queue, 0);
    uint64_t address = take_address(queue);
    uint32_t length = take_length(), flags = take(1);
    table[where % 64] = (struct vring_desc){address, length, flags % 8, (uint16_t)(flags >> 3)};
}

static void access_register(void)
{
    uint32_t offset = take(1) * 4, value = take(1);
    net_set_reg(hostile, offset % VIRTIO_MMIO_SIZE, value & 0x80 ? take(4) : value);
    (void)virtio_mmio_ops.read(&hostile->mmio, NULL, offset % (VIRTIO_MMIO_SIZE - 8), 8);
    (void)net_reg(hostile, offset % VIRTIO_MMIO_SIZE);
}

/* A sound driver sends a frame of 60 bytes. */
static void others_send(unsigned from, unsigned to)
{
    struct station *s = &station[from];
    uint8_t *packet = net_buffer(s, TRANSMIT, 0);
    memset(packet, 0, HEADER + 60);
    packet[HEADER] = 2;
    packet[HEADER + 5] = (uint8_t)to;
    net_describe(s, TRANSMIT, 0, BUFFER(TRANSMIT, 0), HEADER + 60, 0, 0);
    net_make_available(s, TRANSMIT, 0);
    net_notify(s, TRANSMIT);
    assert_int_equal(net_used(s, TRANSMIT)->idx, s->made[TRANSMIT]);
}

static unsigned accesses_of_others(void)
{
    return station[1].accesses + station[2].accesses;
}

static void step(void)
{
    uint32_t what = take(1);
    unsigned queue = what >> 7;
    switch (what % 11) {
    case 0:
        access_register();
        break;
    case 1:
    case 2:
        put_descriptor(queue);
        break;
    case 3:
        net_make_available(hostile, queue, take(1));
        break;
    case 4:
        net_available(hostile, queue)->idx = (uint16_t)take(2);
        break;
    case 5:
        memcpy(net_buffer(hostile, TRANSMIT, 0), &(uint32_t){take(2)}, 2);
        break;
    case 6:
        net_buffer(hostile, TRANSMIT, 0)[HEADER] = (uint8_t)take(1);
        net_buffer(hostile, TRANSMIT, 0)[HEADER + 5] = (uint8_t)take(1);
        break;
    case 7:
        net_available(hostile, queue)->flags = (uint16_t)take(1);
        net_available(hostile, queue)->ring[queue_size] = (uint16_t)take(2);
        break;
    case 8:
        (void)virtio_go_on(&hostile->net.virtio);
        break;
    case 9:
        (void)virtio_receive(&hostile->net.virtio);
        break;
    default:
        net_notify(hostile, queue);
    }
}

static void check(void)
{
    const struct virtio *v = &hostile->net.virtio;
    assert_int_equal(hostile->line_level, v->interrupts != 0);
    assert_true(v->work < VIRTIO_PIECE + STATIONS * FRAME_MAX + 2048 + 64 * VIRTIO_DESCRIPTOR);
    assert_true(hostile->net.port.count <= PORT_FRAMES);
    if (!net_needs_reset(hostile))
        return;
    unsigned before = hostile->accesses;
    net_notify(hostile, RECEIVE);
    net_notify(hostile, TRANSMIT);
    assert_false(virtio_go_on(&hostile->net.virtio));
    assert_false(virtio_receive(&hostile->net.virtio));
    assert_false(switch_waits(&hostile->net.port));
    assert_int_equal(hostile->accesses, before);
}

/* Takes what the others were sent, then sends one more frame from one to the other. */
static void the_others_talk(void)
{
    struct station *s = &station[1];
    for (unsigned i = 0; i < 64; i++) {
        net_describe(s, RECEIVE, i, BUFFER(RECEIVE, i), 1530, VRING_DESC_F_WRITE, 0);
        net_make_available(s, RECEIVE, i);
    }
    while (virtio_receive(&s->net.virtio))
        assert_true(s->net.virtio.work < VIRTIO_PIECE + FRAME_MAX + 2048 + VIRTIO_DESCRIPTOR);
    uint16_t before = net_used(s, RECEIVE)->idx;
    assert_true(before <= PORT_FRAMES);
    others_send(2, 1);
    assert_false(virtio_receive(&s->net.virtio));
    assert_int_equal(net_used(s, RECEIVE)->idx, before + 1);
    assert_int_equal(net_used(s, RECEIVE)->ring[before].len, HEADER + 60);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    support_reset();
    make_stations();
    for (unsigned n = STATIONS; n-- > 1;)
        net_start(&station[n], 0, 64);
    uint32_t what = take(1);
    net_start(hostile,
              (what & 1 ? BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
                  (what & 2 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0),
              64);
    for (unsigned i = 0; i < 64; i++)
        for (unsigned queue = 0; queue < 2; queue++)
            net_describe(hostile, queue, i, BUFFER(queue, i % 2), queue ? 72 : 1526,
                         queue ? 0 : VRING_DESC_F_WRITE, 0);
    net_buffer(hostile, TRANSMIT, 0)[HEADER] = 2;
    net_buffer(hostile, TRANSMIT, 0)[HEADER + 5] = 1;
    for (unsigned steps = 0; next < end_of_input && steps < 64; steps++) {
        unsigned before = accesses_of_others();
        if (take(1) % 6) {
            step();
            assert_int_equal(accesses_of_others(), before);
        } else {
            others_send(1 + (take(1) & 1), take(1) & 1 ? 0 : 200);
        }
        check();
    }
    the_others_talk();
    destroy_stations();
    assert_int_equal(support_pages_in_use(), 0);
    return 0;
}
