/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk, used as a driver of the MMIO transport uses it: identification, reads and writes
 * with interrupts, more work than one notification does, and a driver that breaks its queue. The
 * disk's image is an ELF file. With several CPUs, one of them is stopped by an INIT while its disk
 * works.
 */
#include "guest/programs/disk/driver.h"
#include "guest/programs/rt/smp.h"

#define TICK          0x64 /* vector of the APIC's timer */
#define APIC_PERIODIC BIT(17)
#define CHAIN_MAX     64u /* descriptors */

#define LONG_TIME 20000000ull /* ticks of the TSC: longer than anything here may take */

/* Makes `count` requests of one type available. Returns the used index after the last one. */
static uint16_t make_requests(uint32_t type, uint64_t sector, uint32_t bytes, unsigned count)
{
    disk_request(type, sector, bytes);
    disk_offer(count);
    return available.index;
}

static void notify(void)
{
    disk_set_reg(QUEUE_NOTIFY, 0);
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
    EXPECT_EQ(disk_reg(MAGIC), 0x74726976);
    EXPECT_EQ(disk_reg(VERSION), 2);
    EXPECT_EQ(disk_reg(DEVICE_ID), 2);
    EXPECT(disk_reg(QUEUE_NUM_MAX) >= SIZE);
    EXPECT(disk_reg(CAPACITY) >= sizeof(buffer) / SECTOR);
    disk_start(0);
    EXPECT_EQ(disk_reg(STATUS), STARTED);
    note("sectors", disk_reg(CAPACITY));
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
static uint64_t ticks_of(uint32_t type, uint64_t sector, uint32_t bytes)
{
    disk_request(type, sector, bytes);
    available.flags = 1;
    disk_offer(1);
    uint64_t start = rdtsc();
    disk_set_reg(QUEUE_NOTIFY, 0);
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
    disk_start(INDIRECT_DESC);
    for (unsigned i = 0; i < CHAIN_MAX; i++)
        table[i] = (struct descriptor){(uintptr_t)buffer, 1, NEXT | WRITE, (uint16_t)(i + 1)};
    disk_request(999, 0, 0);
    table[0] = descriptors[0]; /* the header */
    table[CHAIN_MAX - 1].flags = WRITE;
    descriptors[0] = (struct descriptor){(uintptr_t)table, sizeof(table), INDIRECT, 0};
    available.ring[0] = 0;
    available.flags = available.index = 1;
    uint64_t begin = rdtsc();
    notify();
    uint64_t ticks = rdtsc() - begin;
    available.flags = 0;
    EXPECT_EQ(used.index, 1);
    disk_start(0);
    return ticks;
}

/* Measures how long a request keeps the CPU: a usual request, the longest one, which writes to
 * blocks that were not written before, and the one with the most descriptors. The longest one is
 * sent twice, to 17 blocks each time, because another VM may get the CPU meanwhile. */
static void requests_are_short(void)
{
    uint64_t longest = ticks_of(1, 1, sizeof(buffer));
    uint64_t again = ticks_of(1, 1 + 17 * 8, sizeof(buffer));
    longest = again < longest ? again : longest;
    EXPECT(longest < 50000);
    note("read_4k", ticks_of(0, 1, 4096));
    note("write_64k", longest);
    note("descriptors", ticks_of_descriptors());
}

static void beyond_the_end(void)
{
    EXPECT(!transfer(0, disk_reg(CAPACITY), SECTOR, 1));
    EXPECT_EQ(status, 1); /* VIRTIO_BLK_S_IOERR */
    EXPECT_EQ(disk_reg(STATUS), STARTED);
}

/* A device with a broken queue stops and sets NEEDS_RESET. It works again after a reset. */
static void broken_queue(void)
{
    reasons = 0;
    available.ring[available.index % SIZE] = SIZE;
    available.index++;
    disk_set_reg(QUEUE_NOTIFY, 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    EXPECT_EQ(disk_reg(STATUS), STARTED | NEEDS_RESET);
    EXPECT_EQ(reasons, 2);
    disk_start(0);
    EXPECT(transfer(0, 0, SECTOR, 1));
    EXPECT_EQ(*(uint32_t *)buffer, 0x464c457f);
}

/* CPU 1 notifies the device of much work and is stopped by an INIT before the end. CPU 0 sleeps
 * until the interrupt, and the work is done all the same, perhaps before send_ipi() returns. */
static void init_leaves_work(void)
{
    if (cpu_total() < 2)
        return;
    EXPECT(start_cpus(1, 1));
    disk_start(0);
    uint16_t begin = used.index, end = make_requests(0, 0, sizeof(buffer), SIZE);
    run_on(1, notify);
    uint64_t until = rdtsc() + LONG_TIME;
    while (used.index == begin && rdtsc() < until)
        pause();
    note("left", (uint16_t)(end - used.index));
    send_ipi(apic_id_of(1), ICR_INIT | ICR_ASSERT);
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

    disk_take_interrupts();
    set_handler(TICK, tick);
    run_tests(tests, ARRAY_SIZE(tests));
}
