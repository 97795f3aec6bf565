/* SPDX-License-Identifier: MIT */
/*
 * The entropy device, by both transports: each request gets bytes that were never given before, no
 * more than fit, and in turn with other work; and what a driver may do wrong, with its message.
 */
#include "tests/unit/dev/virtio_driver.h"

#include "dev/virtio_rng.h"

static struct virtio_rng rng;
static unsigned made;

/* Byte i of the nth key. */
static uint8_t made_byte(unsigned n, unsigned i)
{
    return (uint8_t)(n * 0x35 + i + 1);
}

static void source(struct virtio_rng *device, uint8_t bytes[VIRTIO_RNG_BYTES])
{
    assert_ptr_equal(device, &rng);
    for (unsigned i = 0; i < VIRTIO_RNG_BYTES; i++)
        bytes[i] = made_byte(made, i);
    made++;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    made = 0;
    memset(&rng, 0, sizeof(rng));
    prepare(&rng.virtio);
    rng.source = source;
    virtio_rng_init(&rng);
    connect(&rng.virtio);
    return 0;
}

static void finish(void)
{
    while (virtio_go_on(&rng.virtio))
        ;
}

static void requests(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 47, 48, 49, 64, 95, 96, 97, 4096};
    for (unsigned event_index = 0; event_index < 2; event_index++) {
        setup(NULL);
        start_driver(event_index ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0, 8);
        for (unsigned n = 0; n < 3 * ARRAY_SIZE(sizes); n++) {
            const uint32_t size = sizes[n % ARRAY_SIZE(sizes)], given = size < 96 ? size : 96;
            const unsigned first = made;
            uint8_t *buffer = ram(BUFFERS);
            memset(buffer, 0xee, 4096);
            describe(descriptor(0), BUFFERS, size, VRING_DESC_F_WRITE, 0);
            make_available(0);
            /* The device has asked for this notification. */
            if (event_index)
                assert_int_equal(*(uint16_t *)&used()->ring[queue_size],
                                 (uint16_t)(made_available - 1));
            notify();
            finish();
            struct vring_used_elem element = take_used();
            assert_int_equal(element.len, given);
            for (unsigned i = 0; i < 4096; i++)
                assert_int_equal(buffer[i], i < given ? made_byte(first + i / 48, i % 48) : 0xee);
            assert_int_equal(made - first, (given + 47) / 48);
            assert_true(line_level);
            set_reg(VIRTIO_MMIO_INTERRUPT_ACK, ~0u);
            if (event_index)
                *(uint16_t *)&available()->ring[queue_size] = seen_used;
        }
    }
}

/* However many requests there are, a piece of work is one of them. */
static void pieces(void **state)
{
    (void)state;
    start_driver(0, 8);
    for (unsigned i = 0; i < 8; i++) {
        describe(descriptor(i), BUFFERS + 48 * i, 48, VRING_DESC_F_WRITE, 0);
        make_available(i);
    }
    notify();
    for (unsigned i = 1; i <= 8; i++) {
        assert_int_equal(made, i);
        assert_int_equal(used()->idx, i);
        assert_int_equal(busy_calls, 1);
        assert_int_equal(virtio_go_on(&rng.virtio), i < 8);
    }
}

static void buffers_to_be_read(void **state)
{
    (void)state;
    start_driver(0, 8);
    describe(descriptor(0), BUFFERS, 5, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), BUFFERS, 64, VRING_DESC_F_WRITE, 0);
    make_available(0);
    notify();
    assert_true(needs_reset());
    assert_int_equal(made, 0);
    assert_true(said("virtio rng: queue 0: a request for random bytes with 5 bytes to be read; the "
                     "driver has to reset the device"));
}

static void a_buffer_outside_of_ram(void **state)
{
    (void)state;
    start_driver(0, 8);
    describe(descriptor(0), RAM_BASE + RAM_SIZE - 8, 64, VRING_DESC_F_WRITE, 0);
    make_available(0);
    notify();
    assert_true(needs_reset());
    assert_int_equal(used()->idx, 0);
    assert_true(said("a buffer of 64 bytes at 0x4fff8 is not in its RAM"));
}

/* It has no configuration space, and no structure for one. */
static void identity(void **state)
{
    (void)state;
    assert_int_equal(reg(VIRTIO_MMIO_CONFIG), 0);
    if (!by_pci) {
        assert_int_equal(reg(VIRTIO_MMIO_DEVICE_ID), 4);
        return;
    }
    assert_int_equal(config_read(0, 4), 0x10441af4);
    for (unsigned at = config_read(0x34, 1); at; at = config_read(at + 1, 1))
        assert_false(config_read(at, 1) == 9 &&
                     config_read(at + 3, 1) == VIRTIO_PCI_CAP_DEVICE_CFG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(requests, setup),
        cmocka_unit_test_setup(pieces, setup),
        cmocka_unit_test_setup(buffers_to_be_read, setup),
        cmocka_unit_test_setup(a_buffer_outside_of_ram, setup),
        cmocka_unit_test_setup(identity, setup),
    };
    return RUN_BY_BOTH_TRANSPORTS(tests);
}
