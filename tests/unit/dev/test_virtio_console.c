/* SPDX-License-Identifier: MIT */
/*
 * The virtio console, by both transports: what the driver sends and what is typed arrives in order
 * and once, in pieces of bounded work, and the driver learns of each new size of the window.
 */
#include "tests/unit/dev/virtio_driver.h"

#include "dev/virtio_console.h"

#define RECEIVE  0u
#define TRANSMIT 1u

static struct virtio_console console;
static uint8_t shown[0x10000];
static size_t shown_count;
static const char *typed;
static unsigned wakes;

static void transmit(void *context, const uint8_t *bytes, size_t count)
{
    assert_ptr_equal(context, &console);
    assert_in_range(count, 1, sizeof(shown) - shown_count);
    memcpy(shown + shown_count, bytes, count);
    shown_count += count;
}

static int take(void *context)
{
    assert_ptr_equal(context, &console);
    return *typed ? (uint8_t)*typed++ : -1;
}

static bool waits(const void *context)
{
    assert_ptr_equal(context, &console);
    return *typed;
}

static void wake(void *context)
{
    assert_true(waits(context));
    wakes++;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    typed = "";
    wakes = 0;
    shown_count = 0;
    memset(&console, 0, sizeof(console));
    prepare(&console.virtio);
    console.transmit = transmit;
    console.take = take;
    console.waits = waits;
    console.wake = wake;
    console.context = &console;
    virtio_console_init(&console);
    connect(&console.virtio);
    return 0;
}

/* Starts the device with one of its queues. */
static void start(uint32_t queue, uint64_t features)
{
    queue_number = queue;
    start_driver(features, 8);
}

static void put(unsigned i, uint64_t address, uint32_t size, unsigned flags, unsigned next)
{
    describe(descriptor(i), address, size, flags, next);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void what_is_sent(void **state)
{
    (void)state;
    start(TRANSMIT, 0);
    memcpy(ram(BUFFERS), "hello, world", 12);
    put(0, BUFFERS, 7, VRING_DESC_F_NEXT, 1);
    put(1, BUFFERS + 7, 5, 0, 0);
    make_available(0);
    put(2, BUFFERS, 0, 0, 0); /* nothing */
    make_available(2);
    put(3, BUFFERS, 9, VRING_DESC_F_WRITE, 0); /* nothing to be read */
    make_available(3);
    notify();
    assert_int_equal(shown_count, 12);
    assert_memory_equal(shown, "hello, world", 12);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take_used().len, 0);
    assert_int_equal(used()->idx, 3);
}

/* A chain of 20,000 bytes takes many pieces, between which other work can be done. */
static void a_long_chain(void **state)
{
    (void)state;
    start(TRANSMIT, BIT(VIRTIO_RING_F_INDIRECT_DESC));
    uint8_t *bytes = ram(BUFFERS);
    for (unsigned i = 0; i < 20000; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    struct vring_desc *table = ram(INDIRECT);
    for (unsigned i = 0; i < 5; i++)
        describe(&table[i], BUFFERS + 4000 * i, 4000, i < 4 ? VRING_DESC_F_NEXT : 0, i + 1);
    put(0, INDIRECT, 5 * 16, VRING_DESC_F_INDIRECT, 0);
    make_available(0);
    put(1, BUFFERS, 1, 0, 0);
    make_available(1);
    notify();
    unsigned pieces = 1;
    do {
        assert_true(shown_count <= pieces * 256);
        assert_int_equal(used()->idx, 0);
        pieces++;
    } while (virtio_go_on(&console.virtio) && shown_count < 20000);
    while (virtio_go_on(&console.virtio))
        ;
    assert_int_equal(shown_count, 20001);
    assert_memory_equal(shown, bytes, 20000);
    assert_int_equal(used()->idx, 2);
}

/* Chains that change between two pieces: what is left may be nothing, or somewhere else. */
static void a_chain_that_changes(void **state)
{
    (void)state;
    start(TRANSMIT, 0);
    put(0, BUFFERS, 4000, 0, 0);
    make_available(0);
    notify();
    const size_t before = shown_count;
    assert_true(before && before < 4000);
    put(0, BUFFERS, 10, 0, 0);
    while (virtio_go_on(&console.virtio))
        ;
    assert_int_equal(shown_count, before);
    assert_int_equal(used()->idx, 1);

    /* A device that was reset in the middle of a chain begins anew. */
    put(0, BUFFERS, 4000, 0, 0);
    make_available(0);
    notify();
    start(TRANSMIT, 0);
    memcpy(ram(BUFFERS), "anew", 4);
    shown_count = 0;
    put(0, BUFFERS, 4, 0, 0);
    make_available(0);
    notify();
    assert_int_equal(shown_count, 4);
    assert_memory_equal(shown, "anew", 4);

    put(0, BUFFERS, 4000, 0, 0);
    make_available(0);
    notify();
    put(0, RAM_BASE + RAM_SIZE - 300, 4000, 0, 0); /* 256 bytes later it is outside of RAM */
    while (virtio_go_on(&console.virtio))
        ;
    assert_true(needs_reset());
    assert_true(
        said("virtio console: queue 1: a buffer of 4000 bytes at 0x4fed4 is not in its RAM"));
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void what_is_typed(void **state)
{
    (void)state;
    typed = "early";
    assert_false(virtio_receive(&console.virtio));
    assert_int_equal(wakes, 0);
    start(RECEIVE, 0);
    assert_true(wakes); /* the driver has started the queue */
    assert_false(virtio_receive(&console.virtio));
    assert_string_equal(typed, "early"); /* there is no buffer */
    wakes = 0;
    for (unsigned i = 0; i < 3; i++) {
        put(i, BUFFERS + 16 * i, i == 1 ? 0 : 3, VRING_DESC_F_WRITE, 0);
        make_available(i);
    }
    notify();
    assert_int_equal(wakes, 1); /* it receives on a CPU of the VM */
    assert_int_equal(used()->idx, 0);
    assert_false(virtio_receive(&console.virtio));
    assert_int_equal(take_used().len, 3);
    assert_int_equal(take_used().len, 0); /* of no use */
    assert_int_equal(take_used().len, 2);
    assert_memory_equal(ram(BUFFERS), "ear", 3);
    assert_memory_equal(ram(BUFFERS + 32), "ly", 2);
    assert_true(line_level);
    /* A buffer that waits gets the next byte. */
    put(3, BUFFERS, 3, VRING_DESC_F_WRITE, 0);
    make_available(3);
    notify();
    assert_int_equal(wakes, 1);
    assert_false(virtio_receive(&console.virtio));
    typed = "x";
    assert_false(virtio_receive(&console.virtio));
    assert_int_equal(take_used().len, 1);
    assert_memory_equal(ram(BUFFERS), "x", 1);
}

static void much_is_typed(void **state)
{
    (void)state;
    static char text[2001];
    memset(text, 'k', 2000);
    typed = text;
    start(RECEIVE, 0);
    for (unsigned i = 0; i < 8; i++) {
        put(i, BUFFERS + 4096 * i, 4096, VRING_DESC_F_WRITE, 0);
        make_available(i);
    }
    unsigned pieces = 1;
    while (virtio_receive(&console.virtio)) {
        assert_true((size_t)(typed - text) <= pieces * 256);
        pieces++;
    }
    assert_int_equal(typed - text, 2000);
    unsigned count = 0;
    while (used()->idx != seen_used)
        count += take_used().len;
    assert_int_equal(count, 2000);
}

/* ---- The window ------------------------------------------------------------------------------ */

static void the_window(void **state)
{
    (void)state;
    set_reg(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    assert_int_equal(reg(VIRTIO_MMIO_DEVICE_FEATURES) & 7, 1);
    assert_int_equal(reg(VIRTIO_MMIO_CONFIG), 0);
    start(RECEIVE, 1); /* there is no size to tell */
    assert_false(line_level);
    set_reg(VIRTIO_MMIO_STATUS, 0);
    virtio_console_resize(&console, 80, 24); /* nobody is told before the driver has started */
    assert_int_equal(reg(VIRTIO_MMIO_CONFIG), 24 << 16 | 80);
    assert_int_equal(reg(VIRTIO_MMIO_CONFIG + 4), 0);
    assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_false(line_level);
    start(RECEIVE, 0); /* takes no interest in the size */
    assert_false(line_level);
    start(RECEIVE, 1);
    assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
    assert_true(line_level);
    set_reg(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_CONFIG);
    set_reg(VIRTIO_MMIO_STATUS, reg(VIRTIO_MMIO_STATUS)); /* DRIVER_OK is set already */
    assert_false(line_level);
    uint32_t generation = reg(VIRTIO_MMIO_CONFIG_GENERATION);
    virtio_console_resize(&console, 80, 24); /* no change */
    assert_int_equal(reg(VIRTIO_MMIO_CONFIG_GENERATION), generation);
    assert_false(line_level);
    for (uint16_t i = 1; i <= 300; i++) {
        virtio_console_resize(&console, 80, (uint16_t)(24 + i));
        assert_int_equal(reg(VIRTIO_MMIO_CONFIG), (24u + i) << 16 | 80);
        assert_int_equal(reg(VIRTIO_MMIO_CONFIG_GENERATION), (generation + i) & 0xff);
        assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
        assert_true(line_level);
        set_reg(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_CONFIG);
        assert_false(line_level);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_sent, setup),
        cmocka_unit_test_setup(a_long_chain, setup),
        cmocka_unit_test_setup(a_chain_that_changes, setup),
        cmocka_unit_test_setup(what_is_typed, setup),
        cmocka_unit_test_setup(much_is_typed, setup),
        cmocka_unit_test_setup(the_window, setup),
    };
    return RUN_BY_BOTH_TRANSPORTS(tests);
}
