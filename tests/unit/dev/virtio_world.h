/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk with its MMIO transport, a guest's RAM, and a driver that uses both as the
 * specification demands, or as a test wants. Include it in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include "dev/virtio_blk.h"
#include "dev/virtio_mmio.h"
#include "lib/bits.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* RAM does not begin at address 0, so that a cleared address is not in RAM. */
#define RAM_BASE 0x10000u
#define RAM_SIZE 0x40000u

static uint8_t guest_ram[RAM_SIZE];
static unsigned dma_accesses;

static inline bool in_ram(uint64_t address, size_t size)
{
    return address >= RAM_BASE && address <= RAM_BASE + RAM_SIZE - size && size <= RAM_SIZE;
}

static int test_dma_read(void *context, uint64_t address, void *buffer, size_t size)
{
    assert_ptr_equal(context, guest_ram);
    dma_accesses++;
    if (!in_ram(address, size))
        return -1;
    memcpy(buffer, guest_ram + (address - RAM_BASE), size);
    return 0;
}

static int test_dma_write(void *context, uint64_t address, const void *buffer, size_t size)
{
    assert_ptr_equal(context, guest_ram);
    dma_accesses++;
    if (!in_ram(address, size))
        return -1;
    memcpy(guest_ram + (address - RAM_BASE), buffer, size);
    return 0;
}

static inline void *ram(uint64_t address)
{
    return guest_ram + (address - RAM_BASE);
}

/* ---- The device ------------------------------------------------------------------------------ */

#define IMAGE_BLOCKS 40u
#define IMAGE_SIZE   (IMAGE_BLOCKS * 4096u - 1536u) /* the last block is not whole */

static uint8_t image[IMAGE_SIZE];
static struct virtio_blk disk;
static struct virtio_mmio mmio;
static bool line_level;
static unsigned line_rises, busy_calls;

static void test_line(void *context, unsigned number, bool level)
{
    assert_ptr_equal(context, &line_level);
    assert_int_equal(number, 16);
    line_rises += level && !line_level;
    line_level = level;
}

static void test_busy(void)
{
    busy_calls++;
}

static inline void make_disk(bool read_only)
{
    static bool filled;
    for (unsigned i = 0; !filled && i < IMAGE_SIZE; i++)
        image[i] = (uint8_t)(i * 7 + i / 512 * 13 + 1);
    filled = true;
    memset(&disk, 0, sizeof(disk));
    memset(guest_ram, 0, sizeof(guest_ram));
    line_level = false;
    line_rises = busy_calls = dma_accesses = 0;
    disk.virtio.dma = (struct dma){test_dma_read, test_dma_write, guest_ram};
    disk.virtio.line = (struct line){test_line, &line_level, 16};
    disk.virtio.busy = test_busy;
    assert_int_equal(virtio_blk_init(&disk, image, IMAGE_SIZE, read_only, "a-serial"), 0);
    mmio = (struct virtio_mmio){.virtio = &disk.virtio};
}

static inline void destroy_disk(void)
{
    while (!virtio_blk_destroy_piece(&disk))
        ;
}

static inline uint32_t reg(uint64_t offset)
{
    return (uint32_t)virtio_mmio_ops.read(&mmio, NULL, offset, 4);
}

static inline void set_reg(uint64_t offset, uint32_t value)
{
    virtio_mmio_ops.write(&mmio, NULL, offset, 4, value);
}

/* ---- The driver ------------------------------------------------------------------------------ */

#define DESCRIPTORS RAM_BASE
#define AVAILABLE   (RAM_BASE + 0x1000)
#define USED        (RAM_BASE + 0x2000)
#define INDIRECT    (RAM_BASE + 0x3000)
#define HEADER      (RAM_BASE + 0x4000)
#define STATUS      (RAM_BASE + 0x4100)
#define BUFFERS     (RAM_BASE + 0x10000)

#define STATUS_STARTED                                                                    \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
     VIRTIO_CONFIG_S_DRIVER_OK)

static uint16_t queue_size;
static uint16_t made_available, seen_used;

static inline struct vring_desc *descriptor(unsigned i)
{
    return (struct vring_desc *)ram(DESCRIPTORS) + i;
}

static inline struct vring_avail *available(void)
{
    return ram(AVAILABLE);
}

static inline struct vring_used *used(void)
{
    return ram(USED);
}

static inline void put_features(uint64_t features)
{
    for (uint32_t half = 0; half < 2; half++) {
        set_reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        set_reg(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
    }
}

#define NEEDED (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM))

static inline void place_queue(uint16_t size, uint64_t descriptors, uint64_t avail, uint64_t u)
{
    set_reg(VIRTIO_MMIO_QUEUE_SEL, 0);
    set_reg(VIRTIO_MMIO_QUEUE_NUM, size);
    set_reg(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)descriptors);
    set_reg(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(descriptors >> 32));
    set_reg(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)avail);
    set_reg(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(avail >> 32));
    set_reg(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)u);
    set_reg(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(u >> 32));
    set_reg(VIRTIO_MMIO_QUEUE_READY, 1);
    queue_size = size;
    made_available = seen_used = 0;
}

/* Initializes the device as section 3.1 of the specification demands. */
static inline void start_driver(uint64_t features, uint16_t size)
{
    set_reg(VIRTIO_MMIO_STATUS, 0);
    set_reg(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set_reg(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    put_features(NEEDED | features);
    set_reg(VIRTIO_MMIO_STATUS, STATUS_STARTED & ~VIRTIO_CONFIG_S_DRIVER_OK);
    assert_true(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
    memset(ram(DESCRIPTORS), 0, 0x4000);
    place_queue(size, DESCRIPTORS, AVAILABLE, USED);
    set_reg(VIRTIO_MMIO_STATUS, STATUS_STARTED);
}

static inline void describe(struct vring_desc *d, uint64_t address, uint32_t length, unsigned flags,
                            unsigned next)
{
    *d = (struct vring_desc){address, length, (uint16_t)flags, (uint16_t)next};
}

static inline void make_available(unsigned head)
{
    available()->ring[made_available++ % queue_size] = (uint16_t)head;
    available()->idx = made_available;
}

static inline void notify(void)
{
    set_reg(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* Returns the next used element, which must exist. */
static inline struct vring_used_elem take_used(void)
{
    assert_int_not_equal(used()->idx, seen_used);
    return used()->ring[seen_used++ % queue_size];
}

static inline void header(uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr h = {.type = type, .sector = sector};
    memcpy(ram(HEADER), &h, sizeof(h));
    *(uint8_t *)ram(STATUS) = 0xee;
}

/* Makes one request with `count` consecutive buffers of `length` bytes each. Returns its status;
 * `request_written` is set to the number of bytes that the device reports as written. */
static uint32_t request_written;
static inline uint8_t request(uint32_t type, uint64_t sector, unsigned count, uint32_t length)
{
    unsigned write =
        type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID ? VRING_DESC_F_WRITE : 0;
    header(type, sector);
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 1; i <= count; i++)
        describe(descriptor(i), BUFFERS + (i - 1) * length, length, VRING_DESC_F_NEXT | write,
                 i + 1);
    describe(descriptor(count + 1), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
    notify();
    struct vring_used_elem element = take_used();
    assert_int_equal(element.id, 0);
    request_written = element.len;
    return *(uint8_t *)ram(STATUS);
}

static inline bool needs_reset(void)
{
    return reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* ---- For tests that have one disk ------------------------------------------------------------ */

static inline int setup_disk(void **state)
{
    (void)state;
    support_reset();
    make_disk(false);
    return 0;
}

static inline int teardown_disk(void **state)
{
    (void)state;
    destroy_disk();
    return support_pages_in_use() != 0;
}

static inline bool said(const char *text)
{
    return strstr(support_log(), text);
}
