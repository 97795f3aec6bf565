/* SPDX-License-Identifier: MIT */
/*
 * The switch with a thread for each of several stations, which send, receive, open and close their
 * ports, and attach and detach them, all at once; under ThreadSanitizer by `make tsan`. No frame
 * arrives damaged, twice or out of order, and none stays in a port whose owner was not woken.
 */
#include "tests/unit/support.h"

#include "dev/switch.h"

#include <pthread.h>
#include <string.h>

#define STATIONS 5u
#define FRAMES   10000u
#define ROUND    64u /* frames that each sends between two barriers */
#define GOODBYE  0xffffffffu

static struct net_switch lan;
static pthread_barrier_t together;

static struct station {
    struct switch_port port;
    uint64_t woken; /* set by `wake`; atomic */
    uint64_t random;
    uint32_t seen[STATIONS]; /* the last frame of each sender, plus 1 */
    uint64_t received, wakes;
    unsigned goodbyes;
} station[STATIONS];

static uint32_t rnd(struct station *s, uint32_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)(s->random >> 11) % below;
}

static void wake(void *context)
{
    __atomic_store_n(&((struct station *)context)->woken, 1, __ATOMIC_SEQ_CST);
}

static void attach(unsigned n)
{
    struct switch_port *port = &station[n].port;
    port->owner = &lan;
    port->wake = wake;
    port->context = &station[n];
    memcpy(port->mac, (uint8_t[MAC_SIZE]){2, 0, 0, 0, 0, (uint8_t)n}, MAC_SIZE);
    assert_int_equal(switch_attach(port), 0);
    switch_open(port, true);
}

/* A frame: the destination, the sender, its number, and bytes that depend on both. */
static void send(unsigned from, unsigned to, uint32_t number, size_t size)
{
    uint8_t frame[FRAME_MAX] = {2, 0, 0, 0, 0, (uint8_t)to, (uint8_t)from};
    if (to == STATIONS)
        memset(frame, 0xff, MAC_SIZE);
    memcpy(frame + 8, &number, sizeof(number));
    memset(frame + 12, (int)(uint8_t)(number * 31 + from), size - 12);
    (void)switch_send(&station[from].port, frame, size);
}

/* Takes a frame and checks it. Returns false if there is none. */
static bool take(unsigned at)
{
    struct station *s = &station[at];
    uint8_t frame[FRAME_MAX];
    uint32_t number;
    size_t size = switch_take(&s->port, frame);
    if (!size)
        return false;
    unsigned from = frame[6];
    memcpy(&number, frame + 8, sizeof(number));
    assert_true(from < STATIONS && from != at);
    assert_true(frame[5] < STATIONS || frame[5] == 0xff);
    for (size_t i = 12; i < size; i++)
        assert_int_equal(frame[i], (uint8_t)(number * 31 + from));
    if (number == GOODBYE)
        s->goodbyes++;
    else
        assert_true(number >= s->seen[from]);
    s->seen[from] = number == GOODBYE ? 0 : number + 1;
    s->received++;
    return true;
}

/* Takes all frames if the station was woken. */
static void look(unsigned at)
{
    struct station *s = &station[at];
    if (!__atomic_exchange_n(&s->woken, 0, __ATOMIC_SEQ_CST))
        return;
    s->wakes++;
    while (take(at))
        ;
}

static void *live(void *context)
{
    unsigned n = (unsigned)(uintptr_t)context;
    struct station *s = &station[n];
    pthread_barrier_wait(&together);
    for (uint32_t number = 0; number < FRAMES; number++) {
        unsigned to = rnd(s, STATIONS + 1);
        send(n, to, number, FRAME_MIN + rnd(s, 300));
        if (number % ROUND == 0) { /* however they are scheduled, they meet */
            pthread_barrier_wait(&together);
            look(n);
        }
        if (rnd(s, 8) == 0)
            look(n);
        if (rnd(s, 32) == 0)
            support_pause();
        if (n && rnd(s, 200) == 0) {
            switch_open(&s->port, false);
            switch_open(&s->port, true);
        }
        if (n && rnd(s, 400) == 0) {
            switch_detach(&s->port);
            attach(n);
        }
    }
    return NULL;
}

/* Each says goodbye to all when all ports have been emptied, so there is room. */
static void *say_goodbye(void *context)
{
    unsigned n = (unsigned)(uintptr_t)context;
    look(n);
    pthread_barrier_wait(&together);
    send(n, STATIONS, GOODBYE, 100);
    while (station[n].goodbyes < STATIONS - 1)
        look(n);
    return NULL;
}

static void on_all(void *(*work)(void *context))
{
    pthread_t threads[STATIONS];
    for (unsigned n = 0; n < STATIONS; n++)
        assert_int_equal(pthread_create(&threads[n], NULL, work, (void *)(uintptr_t)n), 0);
    for (unsigned n = 0; n < STATIONS; n++)
        assert_int_equal(pthread_join(threads[n], NULL), 0);
}

static void all_at_once(void **state)
{
    (void)state;
    pthread_barrier_init(&together, NULL, STATIONS);
    for (unsigned n = 0; n < STATIONS; n++) {
        station[n].random = n + 1;
        attach(n);
    }
    on_all(live);
    on_all(say_goodbye); /* hangs if a wake was lost */
    for (unsigned n = 0; n < STATIONS; n++) {
        struct switch_counts counts = switch_counts(&station[n].port);
        assert_false(switch_waits(&station[n].port));
        assert_true(station[n].received > 100 && station[n].wakes > 10);
        assert_true(n || counts.sent == FRAMES + 1);
    }
    for (unsigned n = 0; n < STATIONS; n++)
        switch_detach(&station[n].port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
    };
    return cmocka_run_group_tests_name("switch_threads", tests, NULL, NULL);
}
