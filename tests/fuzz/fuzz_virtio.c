/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk whose driver is libFuzzer, by either transport. An input is a sequence of steps:
 * register accesses, values and descriptors in the rings, chains made available, notifications.
 * After each step, the line agrees with the interrupt status, the disk has not allocated more
 * memory than it may, and a device that needs a reset has done nothing. After a notification, the
 * guest's RAM is equal to that of a model, and the queue is broken only if the model's queue is.
 * After the last step, the image is unchanged, the disk has the contents of the model, and nothing
 * is left allocated.
 */
#include "tests/unit/dev/virtio_world.h"

#include "tests/unit/dev/virtq_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *next, *end_of_input;
static uint8_t original[IMAGE_SIZE];

static uint32_t take(unsigned bytes)
{
    uint32_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

#include "tests/fuzz/fuzz_pci.h"

/* Returns an address that has a meaning, perhaps with a small number added, or any address. */
static uint64_t take_address(void)
{
    static const uint64_t places[] = {DESCRIPTORS, AVAILABLE, USED,    INDIRECT,
                                      HEADER,      STATUS,    BUFFERS, RAM_BASE + RAM_SIZE,
                                      RAM_BASE};
    uint32_t kind = take(1);
    if (kind % 16 < ARRAY_SIZE(places))
        return places[kind % 16] + (kind & 0x80 ? (uint64_t)(int8_t)take(1) : 0);
    return (uint64_t)take(4) << 32 | take(4);
}

static uint32_t take_length(void)
{
    static const uint32_t lengths[] = {0, 1, 15, 16, 32, 512, 4096, 0x20000, ~0u};
    uint32_t kind = take(1);
    return kind < ARRAY_SIZE(lengths) ? lengths[kind] : kind & 1 ? kind * 16 : take(4);
}

static void put_descriptor(void)
{
    uint32_t where = take(1);
    struct vring_desc *table = where & 0x80 ? ram(INDIRECT) : ram(DESCRIPTORS);
    uint64_t address = take_address();
    uint32_t length = take_length(), flags = take(1);
    describe(&table[where % 64], address, length, flags % 8, flags >> 3);
}

static void access_register(void)
{
    if (by_pci) {
        fuzz_pci();
        return;
    }
    uint32_t offset = take(1) * 4, value = take(1);
    set_reg(offset % VIRTIO_MMIO_SIZE, value & 0x80 ? take(4) : value);
    (void)virtio_mmio_ops.read(&mmio, NULL, offset % (VIRTIO_MMIO_SIZE - 8), 8);
    (void)reg(offset % VIRTIO_MMIO_SIZE);
}

static void step(void)
{
    switch (take(1) % 10) {
    case 0:
        access_register();
        break;
    case 1:
    case 2:
    case 3:
        put_descriptor();
        break;
    case 4:
        make_available(take(1));
        break;
    case 5:
        available()->idx = (uint16_t)take(2);
        break;
    case 6:
        header(take(1) % 16, take(1) & 0x80 ? (uint64_t)take(4) << 32 | take(4) : take(1));
        break;
    case 7:
        available()->flags = (uint16_t)take(1);
        available()->ring[64] = (uint16_t)take(2);
        break;
    case 8:
        if (!disk.virtio.notified) /* nothing is left: it does nothing */
            assert_false(virtio_go_on(&disk.virtio));
        break;
    default:
        notify_beside_the_model();
    }
}

static void check(void)
{
    assert_int_equal(line_level, line_expected());
    assert_true(support_pages_in_use() <= virtio_blk_pages(IMAGE_SIZE, !disk.tables));
    assert_true(disk.virtio.work < VIRTIO_PIECE + 0x10000 + 2048 + 18 * VIRTIO_DESCRIPTOR);
    if (!needs_reset())
        return;
    unsigned before = dma_accesses;
    notify();
    assert_false(virtio_go_on(&disk.virtio));
    assert_int_equal(dma_accesses, before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    support_reset();
    uint32_t what = take(1);
    by_pci = take(1) & 1;
    make_disk(what & 1);
    memcpy(original, image, IMAGE_SIZE);
    model_reset();
    start_driver((what & 2 ? BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
                     (what & 4 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0),
                 (uint16_t)(1u << (what >> 3) % 7));
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), BUFFERS, 512,
             VRING_DESC_F_NEXT | (what & 0x80 ? VRING_DESC_F_WRITE : 0), 2);
    describe(descriptor(2), STATUS, 1, VRING_DESC_F_WRITE, 0);
    for (unsigned steps = 0; next < end_of_input && steps < 64; steps++) {
        step();
        check();
    }
    destroy_disk();
    assert_memory_equal(image, original, IMAGE_SIZE);
    assert_int_equal(support_pages_in_use(), 0);
    return 0;
}
