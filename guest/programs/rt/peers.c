/* SPDX-License-Identifier: MIT */
/* Implements rt/peers.h. */
#include "guest/programs/rt/peers.h"

#define PATIENCE 1000000000u

static struct peer peers[CPUS_MAX];
static volatile bool stop;
static volatile uint64_t asked;
static void (*take_turn)(struct peer *self);

unsigned peers_count(void)
{
    return cpus_running - 1;
}

static void live(void)
{
    struct peer *self = &peers[apic_id()];
    while (!stop) {
        take_turn(self);
        self->turns++;
    }
}

static void wait_for(volatile uint64_t *count, uint64_t wanted)
{
    for (uint64_t end = rdtsc() + PATIENCE; *count < wanted; pause()) {
        if (rdtsc() < end)
            continue;
        print("Bail out! a peer stands still, at %lu of %lu\n", *count, wanted);
        debug_exit(1);
    }
}

void peers_turn(void)
{
    uint64_t wanted[CPUS_MAX];
    for (unsigned i = 1; i <= peers_count(); i++)
        wanted[i] = peers[i].turns + 2;
    for (unsigned i = 1; i <= peers_count(); i++)
        wait_for(&peers[i].turns, wanted[i]);
}

void peers_ask(void)
{
    asked++;
    for (unsigned i = 1; i <= peers_count(); i++)
        wait_for(&peers[i].answered, asked);
}

bool peer_asked(const struct peer *self)
{
    return self->answered != asked;
}

void peers_start(void (*turn)(struct peer *self))
{
    EXPECT(peers_count() || start_cpus(1, cpu_total() - 1));
    stop = false;
    asked = 0;
    take_turn = turn;
    for (unsigned i = 1; i <= peers_count(); i++)
        peers[i] = (struct peer){.number = i};
    for (unsigned i = 1; i <= peers_count(); i++)
        run_on(i, live);
    peers_turn();
}

uint64_t peers_stop(void)
{
    uint64_t turns = 0, wrong = 0;
    stop = true;
    for (unsigned i = 1; i <= peers_count(); i++) {
        EXPECT(finished(i));
        turns += peers[i].turns;
        wrong += peers[i].wrong;
    }
    EXPECT_EQ(wrong, 0);
    note("turns", turns);
    note("stale", wrong);
    return turns;
}

uint64_t peers_rounds(uint64_t otherwise)
{
    uint64_t number = 0;
    for (const char *at = rt_args; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number ? number : otherwise;
}
