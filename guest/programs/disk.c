/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk, used as a driver of the MMIO transport uses it: identification, reads and writes
 * with interrupts, more work than one notification does, and a driver that breaks its queue. The
 * disk's image is an ELF file.
 */
#include "guest/programs/disk/driver.h"

#define LONG_TIME 20000000ull /* ticks of the TSC: longer than anything here may take */

/* Makes `count` requests of one type available, notifies the device once, and waits for the
 * requests with interrupts enabled. */
static bool transfer(uint32_t type, uint64_t sector, uint32_t bytes, unsigned count)
{
    uint16_t end = (uint16_t)(used.index + count);
    disk_request(type, sector, bytes);
    disk_offer(count);
    disk_set_reg(QUEUE_NOTIFY, 0);
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
    disk_start();
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
static uint64_t ticks_of(uint32_t type, uint32_t bytes)
{
    disk_request(type, 1, bytes); /* from there, 64 KiB touch 17 blocks */
    available.flags = 1;
    disk_offer(1);
    uint64_t start = rdtsc();
    disk_set_reg(QUEUE_NOTIFY, 0);
    uint64_t ticks = rdtsc() - start;
    available.flags = 0;
    EXPECT_EQ(status, 0);
    return ticks;
}

/* Measures how long a request keeps the CPU: a usual request, and the longest one, which writes to
 * blocks that were not written before. */
static void requests_are_short(void)
{
    uint64_t longest = ticks_of(1, sizeof(buffer));
    EXPECT(longest < 50000);
    note("read_4k", ticks_of(0, 4096));
    note("write_64k", longest);
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
    disk_start();
    EXPECT(transfer(0, 0, SECTOR, 1));
    EXPECT_EQ(*(uint32_t *)buffer, 0x464c457f);
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
    };

    disk_take_interrupts();
    run_tests(tests, ARRAY_SIZE(tests));
}
