/* SPDX-License-Identifier: MIT */
/*
 * The virtio network device: frames between stations at a switch, what a driver may do wrong with
 * its message, and random traffic, whose frames must all arrive unchanged and in order.
 */
#include "tests/unit/dev/net_world.h"

#include <stdlib.h>

/* ---- Frames ---------------------------------------------------------------------------------- */

static void configuration(void **state)
{
    (void)state;
    struct station *s = &station[2];
    assert_int_equal(net_reg(s, VIRTIO_MMIO_DEVICE_ID), 1);
    assert_int_equal(net_reg(s, VIRTIO_MMIO_CONFIG), 2);
    assert_int_equal(net_reg(s, VIRTIO_MMIO_CONFIG + 4), 0x10200); /* link up */
    assert_int_equal(net_reg(s, VIRTIO_MMIO_CONFIG + 8), 0);
    uint64_t features = 0;
    for (uint32_t half = 0; half < 2; half++) {
        net_set_reg(s, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        features |= (uint64_t)net_reg(s, VIRTIO_MMIO_DEVICE_FEATURES) << 32 * half;
    }
    assert_true(features == (BIT(5) | BIT(16) | BIT(28) | BIT(29) | BIT(32) | BIT(33)));
    for (uint32_t queue = 0; queue < 3; queue++) {
        net_set_reg(s, VIRTIO_MMIO_QUEUE_SEL, queue);
        assert_int_equal(net_reg(s, VIRTIO_MMIO_QUEUE_NUM_MAX), queue < 2 ? VIRTQ_SIZE_MAX : 0);
    }
}

static void one_frame(void **state)
{
    (void)state;
    give(&station[1], 2, 1526);
    net_notify(&station[1], RECEIVE);
    assert_int_equal(station[1].wakes, 0);
    send(0, 1, 5, 1514);
    assert_int_equal(net_used(&station[0], TRANSMIT)->idx, 1);
    assert_int_equal(net_used(&station[0], TRANSMIT)->ring[0].len, 0);
    assert_true(station[0].line_level);
    /* The receiver's memory is not accessed before its own CPU does it. */
    assert_int_equal(station[1].accesses, 0);
    assert_int_equal(station[1].wakes, 1);
    assert_false(receive(1));
    expect(1, 5, 1514);
    assert_true(station[1].line_level);
    assert_false(receive(1));
    assert_false(has_frame(1));
    assert_int_equal(station[2].wakes, 0);
}

static void to_everybody(void **state)
{
    (void)state;
    for (unsigned n = 0; n < STATIONS; n++) {
        give(&station[n], 4, 1526);
        net_notify(&station[n], RECEIVE);
    }
    send(1, STATIONS, 9, 60);
    for (unsigned n = 0; n < STATIONS; n++) {
        assert_int_equal(station[n].wakes, n != 1);
        assert_false(receive(n));
        if (n != 1)
            expect(n, 9, 60);
        assert_false(has_frame(n));
    }
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        uint32_t size;
        bool arrives;
    } rows[] = {{0, false},   {13, false},  {14, true},    {60, true},
                {1514, true}, {1518, true}, {1519, false}, {2000, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        give(&station[0], 1, 1530);
        send(2, 0, i, rows[i].size);
        assert_false(receive(0));
        assert_int_equal(has_frame(0), rows[i].arrives);
        if (rows[i].arrives)
            expect(0, i, rows[i].size);
        assert_int_equal(net_used(&station[2], TRANSMIT)->idx, i + 1);
        assert_false(net_needs_reset(&station[2]));
    }
}

/* Header and frame may be in any segments, and an indirect table may hold them. */
static void segments(void **state)
{
    (void)state;
    struct station *s = &station[0];
    net_start(s, BIT(VIRTIO_RING_F_INDIRECT_DESC), 64);
    give(&station[1], 1, 1526);
    put(0, 1, 3, 100);
    struct vring_desc *table = net_ram(s, INDIRECT(TRANSMIT), 1);
    uint64_t buffer = BUFFER(TRANSMIT, 0);
    table[0] = (struct vring_desc){buffer, 5, VRING_DESC_F_NEXT, 2};
    table[2] = (struct vring_desc){buffer + 5, 0, VRING_DESC_F_NEXT, 1};
    table[1] = (struct vring_desc){buffer + 5, 20, VRING_DESC_F_NEXT, 3};
    table[3] = (struct vring_desc){buffer + 25, HEADER + 100 - 25, 0, 0};
    net_describe(s, TRANSMIT, 0, INDIRECT(TRANSMIT), 64, VRING_DESC_F_INDIRECT, 0);
    net_notify(s, TRANSMIT);
    assert_false(receive(1));
    expect(1, 3, 100);
    /* The receiver's buffer, in three segments. */
    s = &station[1];
    net_describe(s, RECEIVE, 1, BUFFER(RECEIVE, 1), 12, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 5);
    net_describe(s, RECEIVE, 5, BUFFER(RECEIVE, 1) + 12, 50, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
                 6);
    net_describe(s, RECEIVE, 6, BUFFER(RECEIVE, 1) + 62, 1500, VRING_DESC_F_WRITE, 0);
    net_make_available(s, RECEIVE, 1);
    send(2, 1, 8, 700);
    assert_false(receive(1));
    expect(1, 8, 700);
}

/* ---- Broken drivers -------------------------------------------------------------------------- */

static void no_header(void)
{
    net_describe(&station[0], TRANSMIT, 0, BUFFER(TRANSMIT, 0), 11, 0, 0);
}

static void nothing_to_read(void)
{
    net_describe(&station[0], TRANSMIT, 0, BUFFER(TRANSMIT, 0), 100, VRING_DESC_F_WRITE, 0);
}

static void packet_not_in_ram(void)
{
    net_describe(&station[0], TRANSMIT, 0, RAM_BASE + RAM_SIZE - 50, 100, 0, 0);
}

static void checksum_wanted(void)
{
    net_buffer(&station[0], TRANSMIT, 0)[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
}

static void segmentation_wanted(void)
{
    net_buffer(&station[0], TRANSMIT, 0)[1] = VIRTIO_NET_HDR_GSO_TCPV4;
}

static void head_beyond(void)
{
    net_available(&station[0], TRANSMIT)->ring[0] = 64;
}

static const struct {
    const char *said;
    void (*how)(void);
} broken[] = {
    {"queue 1: a packet of 11 bytes; its header has 12", no_header},
    {"queue 1: a packet of 0 bytes; its header has 12", nothing_to_read},
    {"queue 1: a buffer of 100 bytes at 0x5ffce is not in its RAM", packet_not_in_ram},
    {"queue 1: a packet with flags 0x1 and GSO type 0; no offload was negotiated", checksum_wanted},
    {"queue 1: a packet with flags 0 and GSO type 0x1; no offload", segmentation_wanted},
    {"queue 1: descriptor 64 of a table of 64", head_beyond},
};

static void broken_senders(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(broken); i++) {
        support_reset();
        net_start(&station[0], 0, 64);
        station[1].wakes = 0;
        put(0, 1, 0, 100);
        broken[i].how();
        net_notify(&station[0], TRANSMIT);
        assert_true(net_needs_reset(&station[0]));
        assert_int_equal(station[1].wakes, 0);
        assert_true(net_reg(&station[0], VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
        if (!strstr(support_log(), "virtio net: ") || !strstr(support_log(), broken[i].said))
            fail_msg("not said: %s\n%s", broken[i].said, support_log());
    }
}

static void a_receive_buffer_not_in_ram(void **state)
{
    (void)state;
    struct station *s = &station[1];
    net_describe(s, RECEIVE, 0, RAM_BASE + RAM_SIZE - 80, 1526, VRING_DESC_F_WRITE, 0);
    net_make_available(s, RECEIVE, 0);
    send(0, 1, 0, 60); /* the frame fits into the rest of RAM */
    assert_false(receive(1));
    assert_false(net_needs_reset(s));
    net_describe(s, RECEIVE, 1, RAM_BASE + RAM_SIZE - 71, 1526, VRING_DESC_F_WRITE, 0);
    net_make_available(s, RECEIVE, 1);
    send(0, 1, 0, 60);
    assert_false(receive(1));
    assert_true(net_needs_reset(s));
    assert_non_null(strstr(support_log(), "queue 0: a buffer of 1526 bytes at 0x5ffb9 is not in"));
    /* The sender has not noticed. */
    send(0, 2, 0, 60);
    assert_int_equal(net_used(&station[0], TRANSMIT)->idx, 3);
    assert_int_equal(station[2].wakes, 1);
}

static void a_full_switch(void **state)
{
    (void)state;
    static struct virtio_net more[SWITCH_PORTS - STATIONS + 1];
    for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
        more[i] = station[0].net;
        more[i].port.mac[5] = (uint8_t)(100 + i);
        int error = virtio_net_init(&more[i]);
        assert_int_equal(!error, i + 1 < ARRAY_SIZE(more));
    }
    assert_non_null(strstr(support_log(), "virtio net: the switch has no more than 16 ports"));
    for (unsigned i = 0; i + 1 < ARRAY_SIZE(more); i++)
        virtio_net_destroy(&more[i]);
}

/* ---- Random traffic -------------------------------------------------------------------------- */

/* For each pair of stations, the numbers of frames sent and received. No more frames are on their
 * way to a station than its port holds, so none may be lost. */
static unsigned sent[STATIONS][STATIONS], got[STATIONS][STATIONS];

static unsigned on_the_way(unsigned to)
{
    unsigned sum = 0;
    for (unsigned from = 0; from < STATIONS; from++)
        sum += sent[from][to] - got[from][to];
    return sum;
}

/* Takes all used buffers, whose frames name their senders, numbers and sizes. */
static void take_all(unsigned at)
{
    struct station *s = &station[at];
    const struct vring_used *used = net_used(s, RECEIVE);
    while (used->idx != s->seen[RECEIVE]) {
        const struct vring_used_elem *element = &used->ring[s->seen[RECEIVE] % queue_size];
        const uint8_t *bytes = net_buffer(s, RECEIVE, element->id) + HEADER;
        unsigned from = bytes[6], number = got[from][at]++;
        assert_true(from < STATIONS && from != at);
        assert_int_equal(bytes[7], (uint8_t)number);
        expect_after(10, at, number, (uint32_t)(bytes[8] | bytes[9] << 8));
    }
}

static void send_random(unsigned from)
{
    unsigned to = (from + 1 + (unsigned)random() % (STATIONS - 1)) % STATIONS;
    uint32_t size = 20 + (uint32_t)random() % 1499;
    unsigned index = station[from].made[TRANSMIT] % queue_size, number = sent[from][to];
    if (on_the_way(to) == PORT_FRAMES ||
        (uint16_t)(station[from].made[TRANSMIT] - net_used(&station[from], TRANSMIT)->idx) ==
            queue_size)
        return;
    put(from, to, number, size);
    uint8_t *bytes = net_buffer(&station[from], TRANSMIT, index) + HEADER;
    bytes[6] = (uint8_t)from;
    bytes[7] = (uint8_t)number;
    bytes[8] = (uint8_t)size;
    bytes[9] = (uint8_t)(size >> 8);
    sent[from][to]++;
    if (random() % 2)
        net_notify(&station[from], TRANSMIT);
}

static void give_some(unsigned at)
{
    struct station *s = &station[at];
    unsigned free = queue_size - (uint16_t)(s->made[RECEIVE] - s->seen[RECEIVE]);
    give(s, (unsigned)random() % (free + 1), 1530);
    net_notify(s, RECEIVE);
}

static void random_traffic(void **state)
{
    (void)state;
    srandom(3);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned n = (unsigned)random() % STATIONS;
        switch (random() % 5) {
        case 0:
            give_some(n);
            break;
        case 1:
            (void)virtio_go_on(&station[n].net.virtio);
            break;
        case 2:
            (void)receive(n);
            break;
        case 3:
            take_all(n);
            break;
        default:
            send_random(n);
        }
        assert_int_equal(station[n].line_level, station[n].net.virtio.interrupts != 0);
    }
    for (unsigned n = 0; n < STATIONS; n++)
        net_notify(&station[n], TRANSMIT);
    for (unsigned round = 0; round < 100; round++)
        for (unsigned n = 0; n < STATIONS; n++) {
            (void)virtio_go_on(&station[n].net.virtio);
            give_some(n);
            (void)receive(n);
            take_all(n);
        }
    for (unsigned n = 0; n < STATIONS; n++) {
        assert_int_equal(on_the_way(n), 0);
        assert_int_equal(switch_counts(&station[n].net.port).lost, 0);
        assert_true(sent[n][(n + 1) % STATIONS] > 300);
        assert_false(net_needs_reset(&station[n]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(one_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(to_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(segments, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_senders, setup, teardown),
        cmocka_unit_test_setup_teardown(a_receive_buffer_not_in_ram, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_switch, setup, teardown),
        cmocka_unit_test_setup_teardown(random_traffic, setup, teardown),
    };
    return cmocka_run_group_tests_name("virtio_net", tests, NULL, NULL);
}
