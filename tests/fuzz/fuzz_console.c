/* SPDX-License-Identifier: MIT */
/*
 * A virtio console or an entropy device whose driver is libFuzzer, by either transport, while
 * somebody types and changes the size of the window. After each step, the line agrees with the
 * interrupt status, the work of a piece is bounded, the bytes that the driver has got are those
 * that were typed, in their order, and a device that needs a reset does nothing.
 */
#include "tests/unit/dev/virtio_driver.h"

#include "dev/virtio_console.h"
#include "dev/virtio_rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *next, *end_of_input;
static struct virtio_console console;
static struct virtio_rng rng;
static unsigned typed, taken; /* counts of bytes: byte n is (uint8_t)n */
static uint64_t shown;

static uint32_t take(unsigned bytes)
{
    uint32_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

#include "tests/fuzz/fuzz_pci.h"

static void transmit(void *context, const uint8_t *bytes, size_t count)
{
    (void)context, (void)bytes;
    assert_in_range(count, 1, 256);
    shown += count;
}

static int take_typed(void *context)
{
    (void)context;
    return taken == typed ? -1 : (uint8_t)taken++;
}

static bool waits(const void *context)
{
    (void)context;
    return taken != typed;
}

static void wake(void *context)
{
    (void)context;
}

static void source(struct virtio_rng *device, uint8_t bytes[VIRTIO_RNG_BYTES])
{
    (void)device;
    memset(bytes, 0x5a, VIRTIO_RNG_BYTES);
}

static void make(bool is_rng)
{
    memset(&console, 0, sizeof(console));
    memset(&rng, 0, sizeof(rng));
    typed = taken = 0;
    shown = 0;
    console.transmit = transmit;
    console.take = take_typed;
    console.waits = waits;
    console.wake = wake;
    rng.source = source;
    prepare(is_rng ? &rng.virtio : &console.virtio);
    if (is_rng)
        virtio_rng_init(&rng);
    else
        virtio_console_init(&console);
    connect(is_rng ? &rng.virtio : &console.virtio);
}

static void put_descriptor(void)
{
    uint32_t where = take(1), flags = take(1), kind = take(1);
    struct vring_desc *table = where & 0x80 ? ram(INDIRECT) : ram(DESCRIPTORS);
    uint64_t address = kind & 0x80 ? BUFFERS + take(2) : (uint64_t)take(4) << 8;
    if (flags & VRING_DESC_F_INDIRECT)
        address = INDIRECT + 16 * (kind % 8);
    describe(&table[where % 64], address, kind & 0x40 ? take(4) : 16 * take(1), flags % 8,
             flags >> 3);
}

static void access_register(void)
{
    uint32_t offset = take(1) * 4, value = take(1);
    if (by_pci) {
        fuzz_pci();
        return;
    }
    set_reg(offset % VIRTIO_MMIO_SIZE, value & 0x80 ? take(4) : value);
    (void)virtio_mmio_ops.read(&mmio, NULL, offset % (VIRTIO_MMIO_SIZE - 8), 8);
}

/* The driver sees what was typed, and no other bytes. A buffer is cleared before it is used. */
static void receive(void)
{
    unsigned before = taken;
    memset(ram(BUFFERS), 0, RAM_SIZE / 2);
    if (virtio->ops->input_waits && virtio_receive(virtio))
        assert_true(taken != typed);
    assert_true(taken - before <= typed - before);
}

static void step(void)
{
    switch (take(1) % 10) {
    case 0:
    case 1:
        access_register();
        break;
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
        typed += take(1);
        receive();
        break;
    case 7:
        if (virtio == &console.virtio)
            virtio_console_resize(&console, (uint16_t)take(1), (uint16_t)take(1));
        break;
    case 8:
        (void)virtio_go_on(virtio);
        break;
    default:
        set_reg(VIRTIO_MMIO_QUEUE_NOTIFY, take(1) % 3);
    }
}

static void check(void)
{
    assert_int_equal(line_level, line_expected());
    assert_true(virtio->work < 2 * VIRTIO_PIECE + 2048 + 64 * VIRTIO_DESCRIPTOR);
    if (!needs_reset())
        return;
    unsigned before = dma_accesses;
    uint64_t before_shown = shown;
    notify();
    assert_false(virtio_go_on(virtio));
    assert_true(!virtio->ops->input_waits || !virtio_receive(virtio));
    assert_int_equal(dma_accesses, before);
    assert_int_equal(shown, before_shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    support_reset();
    uint32_t what = take(1);
    by_pci = what & 1;
    make(what & 2);
    queue_number = what >> 2 & 1 && !(what & 2);
    start_driver((what & 8 ? BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
                     (what & 0x10 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0),
                 (uint16_t)(1u << (what >> 5) % 7));
    for (unsigned i = 0; i < 64; i++)
        describe(descriptor(i), BUFFERS + 64 * i, 64, queue_number ? 0 : VRING_DESC_F_WRITE, 0);
    for (unsigned steps = 0; next < end_of_input && steps < 64; steps++) {
        step();
        check();
    }
    return 0;
}
