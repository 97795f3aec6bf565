/* SPDX-License-Identifier: MIT */
/*
 * The switch: who gets a frame, which frames are lost when a queue is full, and random traffic,
 * whose results are compared with a model that is a list of frames for each port.
 */
#include "tests/unit/support.h"

#include "dev/switch.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <stdlib.h>
#include <string.h>

static struct net_switch lan;
static struct switch_port ports[SWITCH_PORTS + 1];
static unsigned wakes[SWITCH_PORTS + 1];

static void wake(void *context)
{
    assert_true(switch_waits(context));
    wakes[(struct switch_port *)context - ports]++;
}

/* Port n has the address 02:00:00:00:00:n. */
static int attach(unsigned n)
{
    struct switch_port *port = &ports[n];
    memset(port, 0xee, sizeof(*port));
    port->owner = &lan;
    port->wake = wake;
    port->context = port;
    memcpy(port->mac, (uint8_t[MAC_SIZE]){2, 0, 0, 0, 0, (uint8_t)n}, MAC_SIZE);
    wakes[n] = 0;
    return switch_attach(port);
}

static int setup(void **state)
{
    (void)state;
    memset(&lan, 0, sizeof(lan));
    for (unsigned n = 0; n < SWITCH_PORTS; n++) {
        assert_int_equal(attach(n), 0);
        switch_open(&ports[n], true);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        switch_detach(&ports[n]);
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        if (lan.slots[n].port || lan.slots[n].address || lan.slots[n].lock.taken)
            return 1;
    return lan.lock.taken != 0;
}

/* A frame to port `to`, or as the first byte says, with contents that depend on `mark`. */
static const uint8_t *frame(uint8_t first, unsigned to, unsigned mark, size_t size)
{
    static uint8_t bytes[FRAME_MAX];
    const uint8_t mac[MAC_SIZE] = {first, 0, 0, 0, 0, (uint8_t)to};
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(mark + i * 7);
    memcpy(bytes, mac, MAC_SIZE);
    memcpy(bytes + MAC_SIZE, &mark, sizeof(mark));
    return bytes;
}

static unsigned send(unsigned from, unsigned to, unsigned mark)
{
    return switch_send(&ports[from], frame(2, to, mark, 60), 60);
}

/* Takes the next frame of a port and returns its mark, or ~0u if there is none. */
static unsigned take(unsigned port)
{
    uint8_t bytes[FRAME_MAX];
    unsigned mark = ~0u;
    bool waits = switch_waits(&ports[port]);
    size_t size = switch_take(&ports[port], bytes);
    assert_int_equal(waits, size != 0);
    if (!size)
        return mark;
    memcpy(&mark, bytes + MAC_SIZE, sizeof(mark));
    assert_memory_equal(bytes, frame(bytes[0], bytes[5], mark, size), size);
    return mark;
}

static unsigned queued(unsigned port)
{
    return ports[port].count;
}

/* ---- Who gets a frame ------------------------------------------------------------------------ */

static void to_one(void **state)
{
    (void)state;
    assert_int_equal(send(1, 2, 77), 1);
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        assert_int_equal(queued(n), n == 2);
    assert_int_equal(wakes[2], 1);
    assert_int_equal(take(2), 77);
    assert_int_equal(take(2), ~0u);
    /* A frame to the sender itself goes nowhere. */
    assert_int_equal(send(1, 1, 78), 0);
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        assert_int_equal(queued(n), 0);
}

static void to_all(void **state)
{
    (void)state;
    static const struct {
        uint8_t first;
        unsigned to;
    } rows[] = {{0xff, 0xff}, {0x01, 2}, {0x03, 2}, {0x02, 200}, {0, 0}, {0, 2}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const uint8_t *bytes = frame(rows[i].first, rows[i].to, i, FRAME_MIN);
        assert_int_equal(switch_send(&ports[3], bytes, FRAME_MIN), SWITCH_PORTS - 1);
        for (unsigned n = 0; n < SWITCH_PORTS; n++)
            assert_int_equal(take(n), n == 3 ? ~0u : i);
    }
}

static void sizes(void **state)
{
    (void)state;
    uint8_t bytes[FRAME_MAX];
    for (size_t size = FRAME_MIN; size <= FRAME_MAX; size++) {
        assert_int_equal(switch_send(&ports[0], frame(2, 1, (unsigned)size, size), size), 1);
        memset(bytes, 0, sizeof(bytes));
        assert_int_equal(switch_take(&ports[1], bytes), size);
        assert_memory_equal(bytes, frame(2, 1, (unsigned)size, size), size);
    }
}

static void closed_ports(void **state)
{
    (void)state;
    assert_int_equal(send(0, 1, 1), 1);
    switch_open(&ports[1], true); /* opening an open port changes nothing */
    assert_int_equal(queued(1), 1);
    switch_open(&ports[1], false);
    assert_int_equal(queued(1), 0);
    assert_int_equal(send(0, 1, 2), 1);
    assert_int_equal(wakes[1], 1);
    switch_open(&ports[1], true);
    assert_int_equal(take(1), ~0u);
    assert_int_equal(send(0, 1, 3), 1);
    assert_int_equal(wakes[1], 2);
    assert_int_equal(take(1), 3);
}

static void ports_are_limited(void **state)
{
    (void)state;
    assert_int_equal(attach(SWITCH_PORTS), -ENOSPC);
    switch_detach(&ports[5]);
    assert_int_equal(send(0, 5, 1), SWITCH_PORTS - 2); /* its address is unknown now */
    assert_int_equal(attach(SWITCH_PORTS), 0);
    assert_int_equal(ports[SWITCH_PORTS].number, 5);
    switch_open(&ports[SWITCH_PORTS], true);
    assert_int_equal(send(0, SWITCH_PORTS, 2), 1);
    assert_int_equal(take(SWITCH_PORTS), 2);
    switch_detach(&ports[SWITCH_PORTS]);
    assert_int_equal(attach(5), 0);
}

/* ---- Full queues ----------------------------------------------------------------------------- */

static uint64_t lost(unsigned port)
{
    return switch_counts(&ports[port]).lost;
}

/* A wake is due whenever the queue is no longer empty, and only then. */
static void wakes_are_not_repeated(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PORT_FRAMES + 3; i++)
        send(0, 1, i);
    assert_int_equal(wakes[1], 1);
    for (unsigned i = 0; i < PORT_FRAMES; i++)
        assert_int_equal(take(1), i);
    assert_int_equal(take(1), ~0u);
    send(0, 1, 0);
    assert_int_equal(wakes[1], 2);
    assert_int_equal(switch_counts(&ports[0]).sent, PORT_FRAMES + 4);
    assert_int_equal(switch_counts(&ports[1]).received, PORT_FRAMES);
    assert_int_equal(lost(0), 3);
    assert_int_equal(lost(1), 0);
}

/* Whoever floods a port loses his own frames, the newest ones, and not those of others. */
static void a_flood_makes_room(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        send(0, 1, i);
    assert_int_equal(lost(0), 1000 - PORT_FRAMES);
    for (unsigned i = 0; i < PORT_FRAMES / 2; i++) {
        send(2, 1, 5000 + i);
        send(0, 1, 2000);
    }
    assert_int_equal(lost(2), 0);
    assert_int_equal(queued(1), PORT_FRAMES);
    send(2, 1, 6000);
    assert_int_equal(lost(2), 1);
    for (unsigned i = 0; i < PORT_FRAMES; i++)
        assert_int_equal(take(1), i < PORT_FRAMES / 2 ? i : 5000 + i - PORT_FRAMES / 2);
}

/* With all ports sending, each has its share. */
static void everybody_has_a_share(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        send(1, 0, i);
    for (unsigned i = 0; i < 100; i++)
        for (unsigned n = 2; n < SWITCH_PORTS; n++)
            send(n, 0, i);
    unsigned share = PORT_FRAMES / (SWITCH_PORTS - 1);
    for (unsigned n = 1; n < SWITCH_PORTS; n++)
        assert_in_range(ports[0].held[n], share, share + 1);
}

/* Frames of a sender that is gone stay, but are not its successor's at the same port. */
static void a_sender_that_is_gone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PORT_FRAMES; i++)
        send(4, 1, i);
    switch_detach(&ports[4]);
    assert_int_equal(attach(4), 0);
    assert_int_equal(ports[4].number, 4);
    for (unsigned i = 0; i < PORT_FRAMES / 2; i++)
        send(4, 1, 100 + i);
    assert_int_equal(lost(4), 0);
    assert_int_equal(ports[1].held[SWITCH_PORTS], PORT_FRAMES / 2);
    for (unsigned i = 0; i < PORT_FRAMES; i++)
        assert_int_equal(take(1), i < PORT_FRAMES / 2 ? i : 100 + i - PORT_FRAMES / 2);
}

/* ---- The model ------------------------------------------------------------------------------- */

static struct {
    bool attached, open;
    unsigned count, wakes;
    struct {
        unsigned mark, sender;
    } frames[PORT_FRAMES];
    uint64_t sent, received, lost;
} model[SWITCH_PORTS];

#define GONE SWITCH_PORTS

static void model_lose(unsigned sender)
{
    if (sender != GONE)
        model[sender].lost++;
}

static void model_put(unsigned port, unsigned sender, unsigned mark)
{
    if (!model[port].open || !model[port].attached || port == sender)
        return;
    if (model[port].count == PORT_FRAMES) {
        unsigned held[GONE + 1] = {0}, most = 0, at = PORT_FRAMES; /* by sender */
        for (unsigned i = 0; i < PORT_FRAMES; i++)
            held[model[port].frames[i].sender]++;
        for (unsigned i = 1; i <= GONE; i++)
            if (held[i] > held[most])
                most = i;
        if (held[most] < held[sender] + 2) {
            model_lose(sender);
            return;
        }
        model_lose(most);
        while (model[port].frames[--at].sender != most)
            ;
        for (; at + 1 < PORT_FRAMES; at++)
            model[port].frames[at] = model[port].frames[at + 1];
        model[port].count--;
    }
    model[port].wakes += !model[port].count;
    model[port].frames[model[port].count].mark = mark;
    model[port].frames[model[port].count++].sender = sender;
}

static void model_send(unsigned from, unsigned to, unsigned mark)
{
    model[from].sent++;
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        if (n == to || to >= SWITCH_PORTS || !model[to].attached)
            model_put(n, from, mark);
}

static unsigned model_take(unsigned port)
{
    if (!model[port].count)
        return ~0u;
    unsigned mark = model[port].frames[0].mark;
    for (unsigned i = 1; i < model[port].count; i++)
        model[port].frames[i - 1] = model[port].frames[i];
    model[port].count--;
    model[port].received++;
    return mark;
}

static void model_detach(unsigned port)
{
    memset(&model[port], 0, sizeof(model[port]));
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        for (unsigned i = 0; i < model[n].count; i++)
            if (model[n].frames[i].sender == port)
                model[n].frames[i].sender = GONE;
}

static void model_check(unsigned port)
{
    struct switch_counts counts = switch_counts(&ports[port]);
    assert_int_equal(queued(port), model[port].count);
    assert_int_equal(wakes[port], model[port].wakes);
    assert_int_equal(counts.sent, model[port].sent);
    assert_int_equal(counts.received, model[port].received);
    assert_int_equal(counts.lost, model[port].lost);
}

/* Attaches the port to the only number that is free, or detaches it. */
static void change_attachment(unsigned port)
{
    if (model[port].attached) {
        switch_detach(&ports[port]);
        model_detach(port);
        return;
    }
    assert_int_equal(attach(port), 0);
    assert_int_equal(ports[port].number, port);
    model[port].attached = true;
}

static void model_step(unsigned step, unsigned *detached)
{
    unsigned port = (unsigned)random() % SWITCH_PORTS, to = (unsigned)random() % (SWITCH_PORTS + 2);
    unsigned kind = (unsigned)random() % 1000;
    if (kind < 5 && (*detached == SWITCH_PORTS || *detached == port)) {
        *detached = model[port].attached ? port : SWITCH_PORTS;
        change_attachment(port);
    }
    if (!model[port].attached)
        return;
    if (kind < 10) {
        model[port].open = !model[port].open;
        model[port].count = model[port].open ? model[port].count : 0;
        switch_open(&ports[port], model[port].open);
    } else if (kind < 300) {
        assert_int_equal(take(port), model_take(port));
    } else {
        unsigned burst = kind % 8 ? 1 : kind / 8; /* now and then, a flood */
        for (unsigned i = 0; i < burst; i++) {
            send(port, to, step + i);
            model_send(port, to, step + i);
        }
    }
    model_check(port);
}

static void random_traffic(void **state)
{
    (void)state;
    unsigned detached = SWITCH_PORTS;
    srandom(15);
    memset(model, 0, sizeof(model));
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        model[n].attached = model[n].open = true;
    for (unsigned step = 0; step < support_rounds(30000); step++)
        model_step(step, &detached);
    if (detached < SWITCH_PORTS)
        change_attachment(detached);
    for (unsigned n = 0; n < SWITCH_PORTS; n++)
        model_check(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(to_one, setup, teardown),
        cmocka_unit_test_setup_teardown(to_all, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(wakes_are_not_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(everybody_has_a_share, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sender_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(random_traffic, setup, teardown),
    };
    return cmocka_run_group_tests_name("switch", tests, NULL, NULL);
}
