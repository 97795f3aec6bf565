/* SPDX-License-Identifier: MIT */
/*
 * A virtio network device, used by VMs that talk while another one floods them all.
 *
 * Arguments: `flood` sends broadcasts as fast as it can. `ask=N` sends numbered frames to VM N, and
 * waits for the answer to each; `answer` answers them. Both are done after ROUNDS frames. A frame
 * that is lost is sent again, and counted.
 */
#include "guest/programs/rt/rt.h"

#define VIRTIO 0xfe208000u

/* Registers (virtio 1.2, table 4.1). */
#define DEVICE_ID      0x008u
#define DRIVER_FEATURE 0x020u
#define DRIVER_HALF    0x024u
#define QUEUE_SELECT   0x030u
#define QUEUE_NUM      0x038u
#define QUEUE_READY    0x044u
#define QUEUE_NOTIFY   0x050u
#define STATUS         0x070u
#define QUEUE_DESC     0x080u
#define QUEUE_DRIVER   0x090u
#define QUEUE_DEVICE   0x0a0u
#define MAC            0x100u

#define STARTED  0xfu
#define WRITE    2u
#define SIZE     16u /* size of the queues */
#define RECEIVE  0u
#define TRANSMIT 1u
#define ROUNDS   200u
#define TYPE     0x88b5u /* an EtherType for experiments */
#define BYTES    1514u
#define STEP     11u /* of each eleventh byte, the contents are checked */

#define PATIENCE   40000000ull /* TSC ticks until a frame is sent again */
#define LONG_TIME  4000000000ull
#define FLOOD_TIME 20000000ull /* TSC ticks for which a flood lasts */
#define SPINS      2000u       /* iterations of a loop of 2 instructions */

static struct queue {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } descriptors[SIZE] __attribute__((aligned(16)));
    volatile struct {
        uint16_t flags, index, ring[SIZE];
    } available __attribute__((aligned(2)));
    volatile struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[SIZE];
    } used __attribute__((aligned(4)));
    uint16_t seen;
} queues[2];

static struct packet {
    uint8_t header[12];
    uint8_t to[6], from[6];
    uint16_t type;
    uint32_t number; /* of a question or an answer; 0 in a flood */
    uint8_t rest[BYTES - 18];
} __attribute__((packed)) packets[2][SIZE];

static uint32_t reg(unsigned offset)
{
    return read32(VIRTIO + offset);
}

static void set_reg(unsigned offset, uint32_t value)
{
    write32(VIRTIO + offset, value);
}

static void offer(unsigned number, uint16_t index)
{
    struct queue *queue = &queues[number];
    queue->available.ring[queue->available.index % SIZE] = index;
    __asm__ volatile("" : : : "memory");
    queue->available.index++;
}

static void start_queue(unsigned number)
{
    struct queue *queue = &queues[number];
    for (unsigned i = 0; i < SIZE; i++) {
        queue->descriptors[i].address = (uintptr_t)&packets[number][i];
        queue->descriptors[i].length = sizeof(struct packet);
        queue->descriptors[i].flags = number == RECEIVE ? WRITE : 0;
    }
    set_reg(QUEUE_SELECT, number);
    set_reg(QUEUE_NUM, SIZE);
    set_reg(QUEUE_DESC, (uint32_t)(uintptr_t)queue->descriptors);
    set_reg(QUEUE_DRIVER, (uint32_t)(uintptr_t)&queue->available);
    set_reg(QUEUE_DEVICE, (uint32_t)(uintptr_t)&queue->used);
    set_reg(QUEUE_READY, 1);
}

static void start(void)
{
    EXPECT_EQ(reg(DEVICE_ID), 1);
    EXPECT_EQ(reg(MAC), 0x54504502);
    set_reg(STATUS, 3);
    set_reg(DRIVER_HALF, 1);
    set_reg(DRIVER_FEATURE, 3); /* VERSION_1 and ACCESS_PLATFORM */
    set_reg(STATUS, 0xb);
    start_queue(RECEIVE);
    start_queue(TRANSMIT);
    set_reg(STATUS, STARTED);
    queues[RECEIVE].available.flags = queues[TRANSMIT].available.flags = 1; /* no interrupts */
    for (uint16_t i = 0; i < SIZE; i++)
        offer(RECEIVE, i);
    set_reg(QUEUE_NOTIFY, RECEIVE);
    EXPECT_EQ(reg(STATUS), STARTED);
}

/* Sends to VM `to`, or to all if this is 0. The device has returned the buffer when the
 * notification returns, or soon. */
static void send(unsigned to, uint32_t number)
{
    static uint16_t index;
    struct packet *packet = &packets[TRANSMIT][index % SIZE];
    uint32_t own = reg(MAC + 4) & 0xffff;
    for (unsigned i = 0; i < 6; i++)
        packet->to[i] = to ? (uint8_t)(reg(MAC) >> 8 * i) : 0xff;
    if (to) {
        packet->to[4] = (uint8_t)(to >> 8);
        packet->to[5] = (uint8_t)to;
    }
    packet->from[4] = (uint8_t)own;
    packet->from[5] = (uint8_t)(own >> 8);
    packet->type = TYPE;
    packet->number = number;
    for (unsigned i = 0; i < sizeof(packet->rest); i += STEP)
        packet->rest[i] = (uint8_t)(number + i);
    offer(TRANSMIT, index++ % SIZE);
    set_reg(QUEUE_NOTIFY, TRANSMIT);
}

static uint64_t floods; /* frames of a flood that were received */

/* Takes the next frame and gives its buffer back. Returns its number if it is a question or an
 * answer, whose sender *from is set to; 0 if there is none, or one of a flood. */
static uint32_t take(unsigned *from)
{
    struct queue *queue = &queues[RECEIVE];
    if (queue->used.index == queue->seen)
        return 0;
    __asm__ volatile("" : : : "memory");
    uint16_t index = (uint16_t)queue->used.ring[queue->seen++ % SIZE].id;
    const struct packet *packet = &packets[RECEIVE][index];
    uint32_t number = packet->number;
    unsigned wrong = packet->type != TYPE;
    for (unsigned i = 0; i < sizeof(packet->rest); i += STEP)
        wrong += packet->rest[i] != (uint8_t)(number + i);
    EXPECT_EQ(wrong, 0);
    *from = (unsigned)packet->from[4] << 8 | packet->from[5];
    floods += !number;
    offer(RECEIVE, index);
    set_reg(QUEUE_NOTIFY, RECEIVE);
    return number;
}

static unsigned peer; /* the argument of `ask` */

static void ask(void)
{
    uint64_t again = 0, longest = 0, end = rdtsc() + LONG_TIME;
    unsigned from;
    start();
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
    start();
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
    start();
    while (floods < 500 && rdtsc() < end) {
        uint64_t count = SPINS, begin = rdtsc();
        __asm__ volatile("1: dec %0\njnz 1b" : "+r"(count) : : "cc");
        ticks += floods ? rdtsc() - begin : 0;
        spins += floods ? SPINS : 0;
        for (unsigned i = 0; i < SIZE; i++)
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
    start();
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
