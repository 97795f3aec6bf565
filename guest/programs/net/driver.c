/* SPDX-License-Identifier: MIT */
#include "guest/programs/net/driver.h"

#include "guest/programs/rt/apic.h"

#define VIRTIO 0xfe208000u
#define PIN    10u
#define VECTOR 0x65
#define IOAPIC 0xfec00000u
#define LEVEL  BIT(15)

static struct queue {
    struct descriptor descriptors[NET_BUFFERS] __attribute__((aligned(16)));
    volatile struct {
        uint16_t flags, index, ring[NET_BUFFERS];
    } available __attribute__((aligned(2)));
    volatile struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[NET_BUFFERS];
    } used __attribute__((aligned(4)));
    uint16_t seen;
} queues[2];

static struct packet packets[2][NET_BUFFERS];
static uint8_t own[6]; /* the device's address */
volatile unsigned net_interrupts;

static uint32_t reg(unsigned offset)
{
    return read32(VIRTIO + offset);
}

static void set_reg(unsigned offset, uint32_t value)
{
    write32(VIRTIO + offset, value);
}

static void offer(unsigned number, const struct packet *packet)
{
    struct queue *queue = &queues[number];
    uint16_t index = queue->available.index;
    queue->available.ring[index % NET_BUFFERS] = (uint16_t)(packet - packets[number]);
    __asm__ volatile("" : : : "memory");
    queue->available.index = (uint16_t)(index + 1);
}

static void start_queue(unsigned number)
{
    struct queue *queue = &queues[number];
    for (unsigned i = 0; i < NET_BUFFERS; i++) {
        queue->descriptors[i].address = (uintptr_t)&packets[number][i];
        queue->descriptors[i].length = sizeof(struct packet);
        queue->descriptors[i].flags = number == RECEIVE ? WRITE : 0;
    }
    queue->available.flags = NO_INTERRUPT;
    set_reg(QUEUE_SELECT, number);
    set_reg(QUEUE_NUM, NET_BUFFERS);
    set_reg(QUEUE_DESC, (uint32_t)(uintptr_t)queue->descriptors);
    set_reg(QUEUE_DRIVER, (uint32_t)(uintptr_t)&queue->available);
    set_reg(QUEUE_DEVICE, (uint32_t)(uintptr_t)&queue->used);
    set_reg(QUEUE_READY, 1);
}

void net_start(void)
{
    EXPECT_EQ(reg(DEVICE_ID), 1);
    EXPECT_EQ(reg(CONFIG), 0x54504502);
    for (unsigned i = 0; i < sizeof(own); i++)
        own[i] = (uint8_t)(reg(CONFIG + (i & 4)) >> 8 * (i % 4));
    set_reg(STATUS, 3);
    set_reg(DRIVER_HALF, 1);
    set_reg(DRIVER_FEATURE, 3); /* VERSION_1 and ACCESS_PLATFORM */
    set_reg(STATUS, 0xb);
    start_queue(RECEIVE);
    start_queue(TRANSMIT);
    set_reg(STATUS, STARTED);
    for (unsigned i = 0; i < NET_BUFFERS; i++)
        offer(RECEIVE, &packets[RECEIVE][i]);
    net_notify(RECEIVE);
    EXPECT_EQ(reg(STATUS), STARTED);
}

static void take(struct frame *frame)
{
    (void)frame;
    net_interrupts++;
    set_reg(INTERRUPT_ACK, reg(INTERRUPT));
    apic_write(APIC_REG_EOI, 0);
}

void net_take_interrupts(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(VECTOR, take);
    write32(IOAPIC, 0x10 + 2 * PIN);
    write32(IOAPIC + 0x10, LEVEL | VECTOR);
    queues[RECEIVE].available.flags = 0;
}

void net_refuse_interrupts(void)
{
    queues[RECEIVE].available.flags = NO_INTERRUPT;
}

struct packet *net_packet(unsigned to, uint32_t number)
{
    static unsigned next;
    struct packet *packet = &packets[TRANSMIT][next++ % NET_BUFFERS];
    for (unsigned i = 0; i < sizeof(own); i++) {
        packet->to[i] = to ? own[i] : 0xff;
        packet->from[i] = own[i];
    }
    if (to) {
        packet->to[4] = (uint8_t)(to >> 8);
        packet->to[5] = (uint8_t)to;
    }
    packet->type = NET_TYPE;
    packet->number = number;
    return packet;
}

void net_send(const struct packet *packet)
{
    offer(TRANSMIT, packet);
    net_notify(TRANSMIT);
}

struct packet *net_received(void)
{
    struct queue *queue = &queues[RECEIVE];
    if (queue->used.index == queue->seen)
        return NULL;
    __asm__ volatile("" : : : "memory");
    return &packets[RECEIVE][queue->used.ring[queue->seen++ % NET_BUFFERS].id];
}

struct packet *net_wait(void)
{
    struct packet *packet;
    while (!(packet = net_received()))
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    return packet;
}

void net_return(const struct packet *packet)
{
    offer(RECEIVE, packet);
}

void net_notify(unsigned queue)
{
    set_reg(QUEUE_NOTIFY, queue);
}

unsigned net_sender(const struct packet *packet)
{
    return (unsigned)packet->from[4] << 8 | packet->from[5];
}

unsigned net_own(void)
{
    return (unsigned)own[4] << 8 | own[5];
}
