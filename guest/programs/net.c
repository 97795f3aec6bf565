/* SPDX-License-Identifier: MIT */
/*
 * A virtio network device, used by VMs that talk while another one floods them all.
 *
 * Arguments: `flood` sends broadcasts as fast as it can. `ask=N` sends numbered frames to VM N, and
 * waits for the answer to each; `answer` answers them. Both are done after ROUNDS frames. A frame
 * that is lost is sent again, and counted.
 */
#include "guest/programs/net/driver.h"

#define ROUNDS 200u
#define STEP   11u /* of each eleventh byte, the contents are checked */

#define PATIENCE   40000000ull /* TSC ticks until a frame is sent again */
#define LONG_TIME  4000000000ull
#define FLOOD_TIME 20000000ull /* TSC ticks for which a flood lasts */
#define SPINS      2000u       /* iterations of a loop of 2 instructions */

/* Sends to VM `to`, or to all if this is 0. */
static void send(unsigned to, uint32_t number)
{
    struct packet *packet = net_packet(to, number);
    for (unsigned i = 0; i < sizeof(packet->rest); i += STEP)
        packet->rest[i] = (uint8_t)(number + i);
    net_send(packet);
}

static uint64_t floods; /* frames of a flood that were received */

/* Takes the next frame and gives its buffer back. Returns its number if it is a question or an
 * answer, whose sender *from is set to; 0 if there is none, or one of a flood. */
static uint32_t take(unsigned *from)
{
    const struct packet *packet = net_received();
    if (!packet)
        return 0;
    uint32_t number = packet->number;
    unsigned wrong = packet->type != NET_TYPE;
    for (unsigned i = 0; i < sizeof(packet->rest); i += STEP)
        wrong += packet->rest[i] != (uint8_t)(number + i);
    EXPECT_EQ(wrong, 0);
    *from = net_sender(packet);
    floods += !number;
    net_return(packet);
    net_notify(RECEIVE);
    return number;
}

static unsigned peer; /* the argument of `ask` */

static void ask(void)
{
    uint64_t again = 0, longest = 0, end = rdtsc() + LONG_TIME;
    unsigned from;
    net_start();
    for (uint32_t number = 1; number <= ROUNDS && rdtsc() < end; number++) {
        uint64_t first = rdtsc(), sent = first;
        send(peer, number);
        while (take(&from) != number && rdtsc() < end) {
            if (rdtsc() - sent < PATIENCE)
                continue;
            sent = rdtsc();
            again += number > 1; /* the other VM may start later */
            send(peer, number);
        }
        if (number > 1 && rdtsc() - first > longest)
            longest = rdtsc() - first;
    }
    EXPECT(rdtsc() < end);
    EXPECT_EQ(again, 0);
    note("again", again);
    note("longest", longest);
    note("floods", floods);
}

static void answer(void)
{
    uint64_t end = rdtsc() + LONG_TIME;
    uint32_t number = 0;
    unsigned from;
    net_start();
    while (number < ROUNDS && rdtsc() < end) {
        uint32_t asked = take(&from);
        if (!asked)
            continue;
        number = asked;
        send(from, number);
    }
    EXPECT_EQ(number, ROUNDS);
    note("floods", floods);
}

/* How much of its time this VM has while it is flooded: the time of a loop of known length. */
static void work(void)
{
    uint64_t ticks = 0, spins = 0, end = rdtsc() + LONG_TIME;
    unsigned from;
    net_start();
    while (floods < 500 && rdtsc() < end) {
        uint64_t count = SPINS, begin = rdtsc();
        __asm__ volatile("1: dec %0\njnz 1b" : "+r"(count) : : "cc");
        ticks += floods ? rdtsc() - begin : 0;
        spins += floods ? SPINS : 0;
        for (unsigned i = 0; i < NET_BUFFERS; i++)
            (void)take(&from);
    }
    uint64_t percent = spins ? ticks * 100 / (2 * spins) : 0;
    EXPECT(floods >= 500);
    EXPECT(percent < 170);
    note("percent", percent);
}

static void flood(void)
{
    uint64_t end = rdtsc() + FLOOD_TIME, sent = 0;
    net_start();
    for (; rdtsc() < end; sent++)
        send(0, 0);
    EXPECT(sent > 500);
    EXPECT_EQ(counter(COUNTER_NET_SENT), sent);
    note("sent", sent);
    note("lost", counter(COUNTER_NET_LOST));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"flood", flood, NEED_TESTCTL}, {"ask", ask, 0}, {"answer", answer, 0}, {"work", work, 0}};
    unsigned which = 3;
    if (rt_args[0] == 'f')
        which = 0;
    else if (rt_args[0] == 'a' && rt_args[1] == 's')
        which = 1;
    else if (rt_args[0] == 'a')
        which = 2;
    if (which == 1)
        for (const char *at = rt_args + sizeof("ask=") - 1; *at >= '0' && *at <= '9'; at++)
            peer = 10 * peer + (unsigned)(*at - '0');
    run_tests(&tests[which], 1);
}
