/* SPDX-License-Identifier: MIT */
/*
 * The virtio network device when something has to wait: frames for buffers, a driver that has not
 * started, work that is more than a piece, and the victim of a flood.
 */
#include "tests/unit/dev/net_world.h"

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Frames for which there is no buffer wait in the port until the driver provides some. */
static void frames_wait_for_buffers(void **state)
{
    (void)state;
    for (unsigned features = 0; features < 2; features++) {
        net_start(&station[1], features ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0, 64);
        station[1].wakes = 0;
        for (unsigned i = 0; i < 3; i++)
            send(0, 1, i, 60);
        assert_int_equal(station[1].wakes, 1);
        assert_false(receive(1));
        assert_false(has_frame(1));
        if (features) /* the device asks to be notified */
            assert_int_equal(*(uint16_t *)&net_used(&station[1], RECEIVE)->ring[64], 0);
        give(&station[1], 2, 1526);
        assert_int_equal(station[1].wakes, 1);
        net_notify(&station[1], RECEIVE);
        assert_int_equal(station[1].wakes, 2);
        assert_false(receive(1));
        expect(1, 0, 60);
        expect(1, 1, 60);
        give(&station[1], 2, 1526);
        net_notify(&station[1], RECEIVE);
        assert_int_equal(station[1].wakes, 3);
        assert_false(receive(1));
        expect(1, 2, 60);
        /* The buffer that is left is used for the next frame, without a notification. */
        send(0, 1, 7, 60);
        assert_int_equal(station[1].wakes, 4);
        assert_false(receive(1));
        expect(1, 7, 60);
    }
}

/* A port is open while the driver runs the receive queue. */
static void a_device_that_is_not_started(void **state)
{
    (void)state;
    struct station *s = &station[1];
    for (unsigned way = 0; way < 4; way++) {
        net_start(s, 0, 64);
        give(s, 8, 1526);
        send(0, 1, 1, 60);
        assert_true(switch_waits(&s->net.port));
        switch (way) {
        case 0:
            net_set_reg(s, VIRTIO_MMIO_STATUS, 0);
            break;
        case 1:
            net_set_reg(s, VIRTIO_MMIO_QUEUE_SEL, RECEIVE);
            net_set_reg(s, VIRTIO_MMIO_QUEUE_READY, 0);
            break;
        case 2: /* its transmit queue becomes broken */
            net_available(s, TRANSMIT)->idx = 65;
            net_notify(s, TRANSMIT);
            assert_true(net_needs_reset(s));
            break;
        default: /* its receive queue becomes broken */
            net_available(s, RECEIVE)->idx = 65;
            assert_false(receive(1));
            assert_true(net_needs_reset(s));
        }
        unsigned accesses = s->accesses;
        s->wakes = 0;
        send(0, 1, 2, 60);
        assert_false(switch_waits(&s->net.port));
        assert_int_equal(s->wakes, 0);
        assert_false(receive(1));
        net_notify(s, RECEIVE);
        assert_int_equal(s->accesses, accesses);
        assert_false(has_frame(1));
    }
}

/* If a buffer is too small, its driver loses the frame, and nothing else happens. */
static void small_buffers(void **state)
{
    (void)state;
    static const uint32_t rooms[] = {0, 1, 12, HEADER + 59, HEADER + 60};
    for (unsigned i = 0; i < ARRAY_SIZE(rooms); i++) {
        struct station *s = &station[1];
        uint16_t index = s->made[RECEIVE];
        give(s, 1, rooms[i]);
        memset(net_buffer(s, RECEIVE, index), 0xee, 200);
        send(0, 1, i, 60);
        assert_false(receive(1));
        if (rooms[i] == HEADER + 60) {
            expect(1, i, 60);
            continue;
        }
        assert_int_equal(net_used(s, RECEIVE)->ring[index].len, 0);
        assert_int_equal(net_buffer(s, RECEIVE, index)[0], 0xee);
        s->seen[RECEIVE]++;
    }
    assert_false(net_needs_reset(&station[1]));
}

/* ---- Work in pieces -------------------------------------------------------------------------- */

static void sends_in_pieces(void **state)
{
    (void)state;
    struct station *s = &station[0];
    for (unsigned i = 0; i < 12; i++)
        put(0, 2, i, 1518);
    net_notify(s, TRANSMIT);
    /* A frame that one port gets is copied twice; a chain of one descriptor costs 2688 more. */
    assert_int_equal(net_used(s, TRANSMIT)->idx, 2);
    assert_int_equal(busy_calls, 1);
    assert_true(virtio_go_on(&s->net.virtio));
    assert_int_equal(net_used(s, TRANSMIT)->idx, 4);
    while (virtio_go_on(&s->net.virtio))
        ;
    assert_int_equal(net_used(s, TRANSMIT)->idx, 12);
    /* A broadcast of 1000 bytes is copied three times here, so there are two in a piece. */
    for (unsigned i = 0; i < 12; i++)
        put(0, STATIONS, i, 1000);
    net_notify(s, TRANSMIT);
    assert_int_equal(net_used(s, TRANSMIT)->idx, 14);
}

/* Receiving is a bounded piece too, and is never done by a notification. Frames arrive while the
 * driver is receiving. */
static void receives_in_pieces(void **state)
{
    (void)state;
    struct station *s = &station[2];
    for (unsigned i = 0; i < 12; i++)
        send(0, 2, i, 1518);
    give(s, 64, 1530);
    net_notify(s, RECEIVE);
    assert_int_equal(s->accesses, 0);
    assert_int_equal(busy_calls, 0);
    for (unsigned pieces = 1; pieces <= 6; pieces++) {
        assert_int_equal(receive(2), pieces < 6);
        assert_int_equal(net_used(s, RECEIVE)->idx, 2 * pieces);
    }
    for (unsigned i = 0; i < 12; i++)
        expect(2, i, 1518);
    /* Sending in between is not confused with receiving. */
    for (unsigned i = 0; i < 12; i++) {
        send(0, 2, i, 1518);
        put(2, 1, i, 1518);
    }
    net_notify(s, TRANSMIT);
    assert_true(receive(2));
    assert_true(virtio_go_on(&s->net.virtio));
    while (receive(2))
        assert_int_equal(net_used(s, TRANSMIT)->idx, 4);
    for (unsigned i = 0; i < 12; i++)
        expect(2, i, 1518);
}

/* Nobody fills the memory or the time of a station that does not receive. */
static void a_flood(void **state)
{
    (void)state;
    give(&station[1], 64, 1526);
    for (unsigned i = 0; i < 500; i++)
        send(0, 1, i, 60);
    assert_int_equal(station[1].wakes, 1);
    assert_int_equal(station[1].accesses, 0);
    assert_int_equal(switch_counts(&station[0].net.port).lost, 500 - PORT_FRAMES);
    send(2, 1, 1000, 60);
    assert_int_equal(switch_counts(&station[2].net.port).lost, 0);
    while (receive(1))
        ;
    for (unsigned i = 0; i < PORT_FRAMES - 1; i++)
        expect(1, i, 60);
    expect(1, 1000, 60);
    assert_false(has_frame(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_wait_for_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_is_not_started, setup, teardown),
        cmocka_unit_test_setup_teardown(small_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(sends_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(receives_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood, setup, teardown),
    };
    return cmocka_run_group_tests_name("virtio_net_waits", tests, NULL, NULL);
}
