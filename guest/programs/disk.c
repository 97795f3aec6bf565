/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk, used as a driver of the MMIO transport uses it: identification, reads and writes
 * with interrupts, more work than one notification does, and a driver that breaks its queue. The
 * disk's image is an ELF file. With several CPUs, one of them is stopped by an INIT while its disk
 * works.
 */
#include "guest/programs/rt/smp.h"

#define VIRTIO 0xfe200000u
#define PIN    16u
#define VECTOR 0x63
#define TICK   0x64 /* vector of the APIC's timer */
#define IOAPIC 0xfec00000u
#define LEVEL  BIT(15)

#define APIC_PERIODIC BIT(17)

/* Registers (virtio 1.2, table 4.1). */
#define MAGIC          0x000u
#define VERSION        0x004u
#define DEVICE_ID      0x008u
#define DRIVER_FEATURE 0x020u
#define DRIVER_HALF    0x024u
#define QUEUE_NUM_MAX  0x034u
#define QUEUE_NUM      0x038u
#define QUEUE_READY    0x044u
#define QUEUE_NOTIFY   0x050u
#define INTERRUPT      0x060u
#define INTERRUPT_ACK  0x064u
#define STATUS         0x070u
#define QUEUE_DESC     0x080u
#define QUEUE_DRIVER   0x090u
#define QUEUE_DEVICE   0x0a0u
#define CAPACITY       0x100u

#define STARTED     0xfu /* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */
#define NEEDS_RESET 0x40u
#define NEXT        1u
#define WRITE       2u
#define INDIRECT    4u
#define CHAIN_MAX   64u /* descriptors */

#define INDIRECT_DESC BIT(28) /* feature */
#define SECTOR        512u
#define SIZE          32u /* size of the queue */

#define LONG_TIME 20000000ull /* ticks of the TSC: longer than anything here may take */

static struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
} descriptors[SIZE] __attribute__((aligned(16)));
static volatile struct {
    uint16_t flags, index, ring[SIZE], event;
} available __attribute__((aligned(2)));
static volatile struct {
    uint16_t flags, index;
    struct {
        uint32_t id, length;
    } ring[SIZE];
    uint16_t event;
} used __attribute__((aligned(4)));
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static volatile uint8_t status;
static uint8_t buffer[0x10000] __attribute__((aligned(4096)));

static uint32_t reg(unsigned offset)
{
    return read32(VIRTIO + offset);
}

static void set_reg(unsigned offset, uint32_t value)
{
    write32(VIRTIO + offset, value);
}

static void place(unsigned offset, const volatile void *part)
{
    set_reg(offset, (uint32_t)(uintptr_t)part);
    set_reg(offset + 4, 0);
}

static void start(uint32_t features)
{
    set_reg(STATUS, 0);
    set_reg(STATUS, 3);
    set_reg(DRIVER_HALF, 0);
    set_reg(DRIVER_FEATURE, features);
    set_reg(DRIVER_HALF, 1);
    set_reg(DRIVER_FEATURE, 3); /* VERSION_1 and ACCESS_PLATFORM */
    set_reg(STATUS, 0xb);
    available.index = used.index = 0;
    set_reg(QUEUE_NUM, SIZE);
    place(QUEUE_DESC, descriptors);
    place(QUEUE_DRIVER, &available);
    place(QUEUE_DEVICE, &used);
    set_reg(QUEUE_READY, 1);
    set_reg(STATUS, STARTED);
}

static volatile unsigned interrupts;
static volatile uint32_t reasons;

static void take(struct frame *frame)
{
    (void)frame;
    uint32_t pending = reg(INTERRUPT);
    reasons |= pending;
    interrupts++;
    set_reg(INTERRUPT_ACK, pending);
    apic_write(APIC_REG_EOI, 0);
}

/* Makes `count` requests of one type available. Returns the used index after the last one. */
static uint16_t make_requests(uint32_t type, uint64_t sector, uint32_t bytes, unsigned count)
{
    header.type = type;
    header.sector = sector;
    status = 0xee;
    descriptors[0] = (struct descriptor){(uintptr_t)&header, sizeof(header), NEXT, 1};
    descriptors[1] =
        (struct descriptor){(uintptr_t)buffer, bytes, (uint16_t)(NEXT | (type ? 0 : WRITE)), 2};
    descriptors[2] = (struct descriptor){(uintptr_t)&status, 1, WRITE, 0};
    for (unsigned i = 0; i < count; i++)
        available.ring[(available.index + i) % SIZE] = 0;
    __asm__ volatile("" : : : "memory");
    available.index = (uint16_t)(available.index + count);
    return available.index;
}

static void notify(void)
{
    set_reg(QUEUE_NOTIFY, 0);
}

/* Makes the requests, notifies the device once, and waits with interrupts enabled. */
static bool transfer(uint32_t type, uint64_t sector, uint32_t bytes, unsigned count)
{
    uint16_t end = make_requests(type, sector, bytes, count);
    notify();
    __asm__ volatile("sti" : : : "memory");
    for (uint64_t until = rdtsc() + LONG_TIME; used.index != end && rdtsc() < until;)
        __asm__ volatile("pause" : : : "memory");
    __asm__ volatile("nop; cli" : : : "memory");
    return used.index == end && status == 0;
}

static void identity(void)
{
    EXPECT_EQ(reg(MAGIC), 0x74726976);
    EXPECT_EQ(reg(VERSION), 2);
    EXPECT_EQ(reg(DEVICE_ID), 2);
    EXPECT(reg(QUEUE_NUM_MAX) >= SIZE);
    EXPECT(reg(CAPACITY) >= sizeof(buffer) / SECTOR);
    start(0);
    EXPECT_EQ(reg(STATUS), STARTED);
    note("sectors", reg(CAPACITY));
}

static void reads(void)
{
    interrupts = 0;
    EXPECT(transfer(0, 0, SECTOR, 1));
    EXPECT_EQ(*(uint32_t *)buffer, 0x464c457f); /* 0x7f, "ELF" */
    EXPECT_EQ(interrupts, 1);
    EXPECT_EQ(used.ring[0].length, SECTOR + 1);
}

static void reads_what_it_has_written(void)
{
    for (unsigned i = 0; i < 2 * SECTOR; i++)
        buffer[i] = (uint8_t)(i ^ i >> 8);
    EXPECT(transfer(1, 7, 2 * SECTOR, 1));
    for (unsigned i = 0; i < 2 * SECTOR; i++)
        buffer[i] = 0;
    EXPECT(transfer(0, 7, 2 * SECTOR, 1));
    unsigned wrong = 0;
    for (unsigned i = 0; i < 2 * SECTOR; i++)
        wrong += buffer[i] != (uint8_t)(i ^ i >> 8);
    EXPECT_EQ(wrong, 0);
}

/* 1 MiB is more than one notification transfers. */
static void much_at_once(void)
{
    EXPECT(transfer(0, 0, sizeof(buffer), 16));
    EXPECT_EQ(used.ring[(used.index - 1) % SIZE].length, sizeof(buffer) + 1);
}

/* Returns the TSC ticks that one request takes, without an interrupt. */
static uint64_t ticks_of(uint32_t type, uint32_t bytes)
{
    header.type = type;
    header.sector = 1; /* so that 64 KiB touch 17 blocks */
    descriptors[1].flags = (uint16_t)(NEXT | (type ? 0 : WRITE));
    descriptors[1].length = bytes;
    available.flags = 1;
    available.ring[available.index % SIZE] = 0;
    available.index++;
    status = 0xee;
    uint64_t start = rdtsc();
    set_reg(QUEUE_NOTIFY, 0);
    uint64_t ticks = rdtsc() - start;
    available.flags = 0;
    EXPECT_EQ(status, 0);
    return ticks;
}

/* Returns the TSC ticks of a request that the device does not know, in as many descriptors as a
 * chain can have. */
static uint64_t ticks_of_descriptors(void)
{
    static struct descriptor table[CHAIN_MAX] __attribute__((aligned(16)));
    start(INDIRECT_DESC);
    for (unsigned i = 0; i < CHAIN_MAX; i++)
        table[i] = (struct descriptor){(uintptr_t)buffer, 1, NEXT | WRITE, (uint16_t)(i + 1)};
    table[0] = (struct descriptor){(uintptr_t)&header, sizeof(header), NEXT, 1};
    table[CHAIN_MAX - 1].flags = WRITE;
    header.type = 999;
    descriptors[0] = (struct descriptor){(uintptr_t)table, sizeof(table), INDIRECT, 0};
    available.ring[0] = 0;
    available.flags = available.index = 1;
    uint64_t begin = rdtsc();
    notify();
    uint64_t ticks = rdtsc() - begin;
    available.flags = 0;
    EXPECT_EQ(used.index, 1);
    start(0);
    return ticks;
}

/* Measures how long a request keeps the CPU: a usual request, the longest one, which writes to
 * blocks that were not written before, and the one with the most descriptors. */
static void requests_are_short(void)
{
    uint64_t longest = ticks_of(1, sizeof(buffer));
    EXPECT(longest < 50000);
    note("read_4k", ticks_of(0, 4096));
    note("write_64k", longest);
    note("descriptors", ticks_of_descriptors());
}

static void beyond_the_end(void)
{
    EXPECT(!transfer(0, reg(CAPACITY), SECTOR, 1));
    EXPECT_EQ(status, 1); /* VIRTIO_BLK_S_IOERR */
    EXPECT_EQ(reg(STATUS), STARTED);
}

/* A device with a broken queue stops and sets NEEDS_RESET. It works again after a reset. */
static void broken_queue(void)
{
    reasons = 0;
    available.ring[available.index % SIZE] = SIZE;
    available.index++;
    set_reg(QUEUE_NOTIFY, 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    EXPECT_EQ(reg(STATUS), STARTED | NEEDS_RESET);
    EXPECT_EQ(reasons, 2);
    start(0);
    EXPECT(transfer(0, 0, SECTOR, 1));
    EXPECT_EQ(*(uint32_t *)buffer, 0x464c457f);
}

/* CPU 1 notifies the device of much work and is stopped by an INIT before the end. CPU 0 sleeps
 * until the interrupt, and the work is done all the same. */
static void init_leaves_work(void)
{
    if (cpu_total() < 2)
        return;
    EXPECT(start_cpus(1, 1));
    start(0);
    uint16_t begin = used.index, end = make_requests(0, 0, sizeof(buffer), SIZE);
    run_on(1, notify);
    uint64_t until = rdtsc() + LONG_TIME;
    while (used.index == begin && rdtsc() < until)
        pause();
    send_ipi(apic_id_of(1), ICR_INIT | ICR_ASSERT);
    note("left", (uint16_t)(end - used.index));
    apic_write(APIC_REG_DIVIDE, 0xb);
    apic_write(APIC_REG_TIMER, APIC_PERIODIC | TICK);
    apic_write(APIC_REG_INITIAL, 100000);
    while (used.index != end && rdtsc() < until)
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    apic_write(APIC_REG_INITIAL, 0);
    EXPECT_EQ(used.index, end);
    forget_cpus();
}

static void tick(struct frame *frame)
{
    (void)frame;
    apic_write(APIC_REG_EOI, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"identity", identity, 0},
        {"reads", reads, 0},
        {"reads_what_it_has_written", reads_what_it_has_written, 0},
        {"much_at_once", much_at_once, 0},
        {"requests_are_short", requests_are_short, 0},
        {"beyond_the_end", beyond_the_end, 0},
        {"broken_queue", broken_queue, 0},
        {"init_leaves_work", init_leaves_work, 0},
    };

    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(VECTOR, take);
    set_handler(TICK, tick);
    write32(IOAPIC, 0x10 + 2 * PIN);
    write32(IOAPIC + 0x10, LEVEL | VECTOR);
    run_tests(tests, ARRAY_SIZE(tests));
}
