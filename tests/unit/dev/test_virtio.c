/* SPDX-License-Identifier: MIT */
/*
 * The part common to all virtio devices: the MMIO registers, feature negotiation, and both forms of
 * notification and interrupt. The device is a disk; test_virtq.c tests the rings.
 */
#include "tests/unit/dev/virtio_world.h"

/* ---- Registers and negotiation --------------------------------------------------------------- */

static void identity(void **state)
{
    (void)state;
    assert_int_equal(reg(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    assert_int_equal(reg(VIRTIO_MMIO_VERSION), 2);
    assert_int_equal(reg(VIRTIO_MMIO_DEVICE_ID), 2);
    assert_int_equal(reg(VIRTIO_MMIO_SHM_LEN_LOW), ~0u);
    uint64_t features = 0;
    for (uint32_t half = 0; half < 2; half++) {
        set_reg(VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        features |= (uint64_t)reg(VIRTIO_MMIO_DEVICE_FEATURES) << 32 * half;
    }
    assert_true(features == (BIT(1) | BIT(2) | BIT(6) | BIT(9) | BIT(13) | BIT(14) | BIT(28) |
                             BIT(29) | BIT(32) | BIT(33)));
    set_reg(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
    assert_int_equal(reg(VIRTIO_MMIO_DEVICE_FEATURES), 0);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQ_SIZE_MAX);
    set_reg(VIRTIO_MMIO_QUEUE_SEL, 1);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    set_reg(VIRTIO_MMIO_QUEUE_READY, 1);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_READY), 0);
}

static void accesses_of_other_sizes(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= 8; size *= 2) {
        uint64_t value = virtio_mmio_ops.read(&mmio, NULL, VIRTIO_MMIO_MAGIC_VALUE, size);
        assert_int_equal(value, size == 4 ? 0x74726976 : 0);
        virtio_mmio_ops.write(&mmio, NULL, VIRTIO_MMIO_STATUS, size, 1);
        assert_int_equal(reg(VIRTIO_MMIO_STATUS), size == 4);
        set_reg(VIRTIO_MMIO_STATUS, 0);
    }
    assert_int_equal(virtio_mmio_ops.read(&mmio, NULL, 2, 4), 0);
    /* The configuration space can be read by accesses of any size. */
    uint64_t capacity = virtio_mmio_ops.read(&mmio, NULL, VIRTIO_MMIO_CONFIG, 8);
    assert_int_equal(capacity, IMAGE_SIZE / 512);
    assert_int_equal(virtio_mmio_ops.read(&mmio, NULL, VIRTIO_MMIO_CONFIG, 1), capacity & 0xff);
    assert_int_equal(virtio_mmio_ops.read(&mmio, NULL, VIRTIO_MMIO_CONFIG + 20, 4), 512);
    virtio_mmio_ops.write(&mmio, NULL, VIRTIO_MMIO_CONFIG, 8, 1);
    assert_int_equal(reg(VIRTIO_MMIO_CONFIG), capacity);
    for (unsigned at = VIRTIO_MMIO_CONFIG; at < VIRTIO_MMIO_SIZE; at++)
        for (unsigned size = 1; size <= 8; size *= 2)
            (void)virtio_mmio_ops.read(&mmio, NULL, at, size);
    assert_int_equal(reg(VIRTIO_MMIO_SIZE - 4), 0);
}

static void features_must_suffice(void **state)
{
    (void)state;
    static const struct {
        uint64_t features;
        bool suffice;
    } rows[] = {
        {NEEDED, true},
        {NEEDED | BIT(28) | BIT(29) | BIT(9), true},
        {0, false},
        {BIT(VIRTIO_F_VERSION_1), false},
        {BIT(VIRTIO_F_ACCESS_PLATFORM), false},
        {NEEDED | BIT(5), false},  /* not offered */
        {NEEDED | BIT(34), false}, /* packed queues */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        support_reset();
        make_disk(false);
        set_reg(VIRTIO_MMIO_STATUS, 3);
        put_features(rows[i].features);
        set_reg(VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
        assert_int_equal(reg(VIRTIO_MMIO_STATUS), rows[i].suffice ? 0xb : 3);
        set_reg(VIRTIO_MMIO_STATUS, 0xf);
        assert_int_equal(reg(VIRTIO_MMIO_STATUS), rows[i].suffice ? 0xf : 3);
        assert_int_equal(said("but must take 0x300000000, which are VERSION_1"), !rows[i].suffice);
    }
}

static void features_are_settled(void **state)
{
    (void)state;
    start_driver(0, 8);
    put_features(0);
    assert_true(disk.virtio.driver_features == NEEDED);
    set_reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 7);
    set_reg(VIRTIO_MMIO_DRIVER_FEATURES, 1);
    set_reg(VIRTIO_MMIO_STATUS, 1); /* bits of the status are not cleared */
    assert_int_equal(reg(VIRTIO_MMIO_STATUS), 0xf);
    set_reg(VIRTIO_MMIO_STATUS, 0x7f); /* NEEDS_RESET is the device's */
    assert_int_equal(reg(VIRTIO_MMIO_STATUS), 0xf);
    set_reg(VIRTIO_MMIO_STATUS, 0x80);
    assert_int_equal(reg(VIRTIO_MMIO_STATUS), 0x8f);
}

static void reset(void **state)
{
    (void)state;
    start_driver(0, 8);
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
    assert_true(line_level);
    set_reg(VIRTIO_MMIO_STATUS, 0);
    assert_false(line_level);
    assert_int_equal(reg(VIRTIO_MMIO_STATUS), 0);
    assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_READY), 0);
    start_driver(0, 8);
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);

    /* It also cancels the work that is left. */
    for (unsigned i = 0; i < 8; i++)
        make_available(0);
    notify();
    assert_int_equal(busy_calls, 1);
    set_reg(VIRTIO_MMIO_STATUS, 0);
    dma_accesses = 0;
    assert_false(virtio_go_on(&disk.virtio));
    assert_int_equal(dma_accesses, 0);
}

static void a_queue_in_use_is_not_moved(void **state)
{
    (void)state;
    start_driver(0, 8);
    set_reg(VIRTIO_MMIO_QUEUE_NUM, 4);
    set_reg(VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
    set_reg(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 1);
    set_reg(VIRTIO_MMIO_QUEUE_USED_LOW, 4);
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
    set_reg(VIRTIO_MMIO_QUEUE_READY, 0);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_READY), 0);
    make_available(0);
    unsigned before = dma_accesses;
    notify();
    assert_int_equal(dma_accesses, before);
}

static void nothing_before_driver_ok(void **state)
{
    (void)state;
    set_reg(VIRTIO_MMIO_STATUS, 3);
    place_queue(8, DESCRIPTORS, AVAILABLE, USED);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_READY), 0);
    put_features(NEEDED);
    set_reg(VIRTIO_MMIO_STATUS, 0xb);
    place_queue(8, DESCRIPTORS, AVAILABLE, USED);
    assert_int_equal(reg(VIRTIO_MMIO_QUEUE_READY), 1);
    make_available(0);
    notify();
    assert_int_equal(dma_accesses, 0);
    set_reg(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    set_reg(VIRTIO_MMIO_QUEUE_NOTIFY, ~0u);
    assert_int_equal(dma_accesses, 0);
}

/* ---- Notifications and interrupts ------------------------------------------------------------ */

static void interrupts_by_flag(void **state)
{
    (void)state;
    start_driver(0, 8);
    available()->flags = VRING_AVAIL_F_NO_INTERRUPT;
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
    assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    available()->flags = 0;
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
    assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    assert_true(line_level);
    set_reg(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    assert_true(line_level);
    set_reg(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    assert_false(line_level);
    notify(); /* no interrupt, because there is no chain */
    assert_false(line_level);
}

static void interrupts_by_index(void **state)
{
    (void)state;
    start_driver(BIT(VIRTIO_RING_F_EVENT_IDX), 8);
    for (unsigned wanted = 0; wanted < 70000; wanted += 3) {
        available()->ring[queue_size] = (uint16_t)wanted;
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
            assert_int_equal(line_level, (uint16_t)(seen_used - 1) == (uint16_t)wanted);
            set_reg(VIRTIO_MMIO_INTERRUPT_ACK, ~0u);
            /* The device asks to be notified of the next chain. */
            assert_int_equal(*(uint16_t *)&used()->ring[queue_size], made_available);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(features_must_suffice, setup_disk),
        cmocka_unit_test_setup_teardown(features_are_settled, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(reset, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(nothing_before_driver_ok, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(interrupts_by_index, setup_disk, teardown_disk),
    };
    const struct CMUnitTest mmio_tests[] = {
        cmocka_unit_test_setup_teardown(identity, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(accesses_of_other_sizes, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(a_queue_in_use_is_not_moved, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(interrupts_by_flag, setup_disk, teardown_disk),
    };
    int failed = cmocka_run_group_tests(mmio_tests, NULL, NULL);
    return failed + RUN_BY_BOTH_TRANSPORTS(tests);
}
