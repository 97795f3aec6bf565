/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport: the structures that its capabilities name, the width of each register, MSI-X
 * vectors and INTA#, the window in the configuration space, the reset of a queue, and a function
 * that is no bus master. The device is a disk; the tests of the devices run by both transports.
 */
#include "tests/unit/dev/virtio_world.h"

static int setup(void **state)
{
    by_pci = true;
    return setup_disk(state);
}

static uint32_t common(unsigned at, unsigned size)
{
    return bar_read(PCI_COMMON + at, size);
}

static void set_common(unsigned at, unsigned size, uint32_t value)
{
    bar_write(PCI_COMMON + at, size, value);
}

/* Returns the offset of the virtio capability of a type, which must exist. */
static unsigned capability(unsigned type)
{
    unsigned at = config_read(0x34, 1);
    while (config_read(at, 1) != 9 || config_read(at + 3, 1) != type) {
        at = config_read(at + 1, 1);
        assert_int_not_equal(at, 0);
    }
    return at;
}

static void identity(void **state)
{
    (void)state;
    assert_int_equal(config_read(0, 4), 0x10421af4);
    assert_int_equal(config_read(8, 4), 0x01800001);
    assert_int_equal(config_read(0x2c, 4), 0x00401af4);
    static const struct {
        unsigned type, size, offset, length;
    } rows[] = {
        {VIRTIO_PCI_CAP_COMMON_CFG, 16, PCI_COMMON, 60},
        {VIRTIO_PCI_CAP_ISR_CFG, 16, PCI_ISR, 1},
        {VIRTIO_PCI_CAP_DEVICE_CFG, 16, PCI_CONFIG, sizeof(struct virtio_blk_config)},
        {VIRTIO_PCI_CAP_NOTIFY_CFG, 20, PCI_NOTIFY, 4},
        {VIRTIO_PCI_CAP_PCI_CFG, 20, 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned at = capability(rows[i].type);
        assert_int_equal(config_read(at + VIRTIO_PCI_CAP_LEN, 1), rows[i].size);
        assert_int_equal(config_read(at + VIRTIO_PCI_CAP_BAR, 4), 0);
        assert_int_equal(config_read(at + VIRTIO_PCI_CAP_OFFSET, 4), rows[i].offset);
        assert_int_equal(config_read(at + VIRTIO_PCI_CAP_LENGTH, 4), rows[i].length);
    }
    unsigned notify_at = capability(VIRTIO_PCI_CAP_NOTIFY_CFG);
    assert_int_equal(config_read(notify_at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4), 4);
    assert_int_equal(common(VIRTIO_PCI_COMMON_NUMQ, 2), 1);
}

/* Each register is there by its own width, in which its neighbours do not change, and by no other
 * one. */
static void registers(void **state)
{
    (void)state;
    static const struct {
        unsigned at, size;
        uint32_t written, read; /* at a queue that exists */
    } rows[] = {
        {VIRTIO_PCI_COMMON_DFSELECT, 4, 0x12345678, 0x12345678},
        {VIRTIO_PCI_COMMON_DF, 4, ~0u, 0},
        {VIRTIO_PCI_COMMON_GFSELECT, 4, 1, 1},
        {VIRTIO_PCI_COMMON_GF, 4, 0x103, 0x103},
        {VIRTIO_PCI_COMMON_MSIX, 2, 1, 1},
        {VIRTIO_PCI_COMMON_NUMQ, 2, 5, 1},
        {VIRTIO_PCI_COMMON_STATUS, 1, 3, 3},
        {VIRTIO_PCI_COMMON_CFGGENERATION, 1, 9, 0},
        {VIRTIO_PCI_COMMON_Q_SELECT, 2, 0, 0},
        {VIRTIO_PCI_COMMON_Q_SIZE, 2, 16, 16},
        {VIRTIO_PCI_COMMON_Q_MSIX, 2, 0, 0},
        {VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0, 0},
        {VIRTIO_PCI_COMMON_Q_NOFF, 2, 7, 0},
        {VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x11111110, 0x11111110},
        {VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x22222222, 0x22222222},
        {VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x33333332, 0x33333332},
        {VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 0x44444444, 0x44444444},
        {VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x55555554, 0x55555554},
        {VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0x66666666, 0x66666666},
        {VIRTIO_PCI_COMMON_Q_NDATA, 2, 8, 0},
        {VIRTIO_PCI_COMMON_Q_RESET, 2, 0, 0},
    };
    assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), VIRTQ_SIZE_MAX);
    assert_int_equal(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    assert_int_equal(common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        set_common(rows[i].at, rows[i].size, rows[i].written);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(common(rows[i].at, rows[i].size), rows[i].read);
        for (unsigned size = 1; size <= 4; size *= 2) {
            if (size == rows[i].size)
                continue;
            set_common(rows[i].at, size, ~rows[i].written);
            assert_int_equal(common(rows[i].at, size), 0);
            assert_int_equal(common(rows[i].at, rows[i].size), rows[i].read);
        }
    }
    assert_true(disk.virtio.queues[0].descriptors == 0x2222222211111110);
    assert_true(disk.virtio.queues[0].used == 0x6666666655555554);
    for (unsigned at = 60; at < 0x1000; at++) {
        set_common(at, 1, 0xff);
        assert_int_equal(common(at, 1) | common(at, 2) | common(at, 4), 0);
    }
    /* A queue that does not exist has no registers. */
    set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
    for (unsigned i = 9; i < ARRAY_SIZE(rows); i++) {
        set_common(rows[i].at, rows[i].size, 1);
        assert_int_equal(common(rows[i].at, rows[i].size),
                         rows[i].at == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0);
    }
}

/* Gives vector n the message with the vector 0x40 + n, and enables MSI-X. */
static void enable_msix(void)
{
    const struct pci_bar *table = &pci.function.bars[2];
    for (uint32_t i = 0; i < 2; i++) {
        table->ops->write(table->device, NULL, 16 * i, 4, 0xfee00000);
        table->ops->write(table->device, NULL, 16 * i + 8, 4, 0x40 + i);
        table->ops->write(table->device, NULL, 16 * i + 12, 4, 0);
    }
    unsigned at = config_read(0x34, 1);
    while (config_read(at, 1) != 0x11)
        at = config_read(at + 1, 1);
    config_write(at + 2, 2, 0x8000);
}

static void one_request(void)
{
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
}

static void vectors(void **state)
{
    (void)state;
    enable_msix();
    start_driver(0, 8);
    one_request(); /* without a vector the driver is not told */
    assert_int_equal(messages[0] + messages[1], 0);
    set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    set_common(VIRTIO_PCI_COMMON_MSIX, 2, 0);
    one_request();
    one_request();
    assert_int_equal(messages[0], 0);
    assert_int_equal(messages[1], 2);
    assert_false(line_level); /* the line is not used */
    virtio_config_changed(&disk.virtio);
    assert_int_equal(messages[0], 1);
    assert_int_equal(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
    /* A vector that does not exist cannot be chosen. */
    for (uint32_t vector = 2; vector < 0x10000; vector += 0x1fff) {
        set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
        assert_int_equal(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
        set_common(VIRTIO_PCI_COMMON_MSIX, 2, vector);
        assert_int_equal(common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    }
    struct lapic_message message;
    assert_false(virtio->would_send(virtio, 0, &message));
    set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    assert_true(virtio->would_send(virtio, 0, &message));
    assert_int_equal(message.vector, 0x41);
    /* A reset forgets the vectors. */
    set_common(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    assert_int_equal(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    assert_int_equal(common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}

static void the_line(void **state)
{
    (void)state;
    start_driver(0, 8);
    one_request();
    assert_true(line_level);
    assert_int_equal(config_read(6, 2) & 8, 8);
    assert_int_equal(bar_read(PCI_ISR + 1, 1), 0); /* only the register itself acknowledges */
    assert_true(line_level);
    virtio_config_changed(&disk.virtio);
    assert_int_equal(bar_read(PCI_ISR, 1), 3);
    assert_false(line_level);
    assert_int_equal(config_read(6, 2) & 8, 0);
    assert_int_equal(bar_read(PCI_ISR, 1), 0);
    one_request();
    bar_write(PCI_ISR, 1, 0xff); /* it is read-only */
    assert_true(line_level);
    assert_int_equal(bar_read(PCI_ISR, 4), 1);
    /* A device that is reset asserts nothing. */
    one_request();
    assert_true(line_level);
    set_common(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    assert_false(line_level);
}

/* A write of any value and width notifies the queue whose address it has. */
static void notifications(void **state)
{
    (void)state;
    static const struct {
        uint32_t offset, size;
        bool notifies;
    } rows[] = {
        {0, 2, true},  {0, 1, true},  {0, 4, true},      {2, 2, false},
        {4, 2, false}, {1, 1, false}, {0xffc, 4, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        start_driver(0, 8);
        header(VIRTIO_BLK_T_FLUSH, 0);
        describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
        describe(descriptor(1), STATUS, 1, VRING_DESC_F_WRITE, 0);
        make_available(0);
        assert_int_equal(bar_read(PCI_NOTIFY + rows[i].offset, rows[i].size), 0);
        bar_write(PCI_NOTIFY + rows[i].offset, rows[i].size, 0xabcd);
        assert_int_equal(used()->idx, rows[i].notifies);
    }
}

/* ---- The window ------------------------------------------------------------------------------ */

static void select_by_window(uint32_t bar, uint32_t offset, uint32_t length)
{
    unsigned at = capability(VIRTIO_PCI_CAP_PCI_CFG);
    config_write(at + VIRTIO_PCI_CAP_BAR, 1, bar);
    config_write(at + VIRTIO_PCI_CAP_OFFSET, 4, offset);
    config_write(at + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

static void the_window(void **state)
{
    (void)state;
    const unsigned data = capability(VIRTIO_PCI_CAP_PCI_CFG) + 16;
    select_by_window(0, PCI_COMMON + VIRTIO_PCI_COMMON_STATUS, 1);
    config_write(data, 4, 0xffffff03);
    assert_int_equal(common(VIRTIO_PCI_COMMON_STATUS, 1), 3);
    assert_int_equal(config_read(data, 4), 3);
    config_write(data + 1, 1, 0x80); /* not the byte that is selected */
    assert_int_equal(config_read(data, 1), 3);
    select_by_window(0, PCI_COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2);
    config_write(data, 1, 8); /* a byte of two */
    assert_int_equal(config_read(data, 2), VIRTQ_SIZE_MAX);
    config_write(data, 2, 0x1234);
    assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0x1234);
    assert_int_equal(config_read(data + 1, 1), 0x12);
    select_by_window(0, PCI_CONFIG, 4);
    assert_int_equal(config_read(data, 4), IMAGE_SIZE / 512);

    static const uint32_t bad[][3] = {
        {1, 0, 4},   {2, 0, 4},   {255, 0, 4},         {0, 0, 0},      {0, 0, 3},
        {0, 0, 8},   {0, 0, ~0u}, {0, 2, 4},           {0, 1, 2},      {0, 0x4000, 1},
        {0, ~0u, 1}, {0, ~3u, 4}, {0, 0x80000000u, 4}, {0, 0x4000, 4},
    };
    start_driver(0, 8);
    make_available(0); /* of which nobody tells the device */
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        select_by_window(bad[i][0], bad[i][1], bad[i][2]);
        assert_int_equal(config_read(data, 4), 0);
        unsigned before = dma_accesses;
        config_write(data, 4, 0);
        assert_int_equal(dma_accesses, before);
    }
    assert_int_equal(common(VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
    select_by_window(0, PCI_NOTIFY, 2);
    config_write(data, 2, 0);
    assert_true(needs_reset()); /* the device has looked at a chain that is no request */
}

/* ---- Queues ---------------------------------------------------------------------------------- */

static void the_reset_of_a_queue(void **state)
{
    (void)state;
    for (unsigned negotiated = 0; negotiated < 2; negotiated++) {
        start_driver(negotiated ? BIT(VIRTIO_F_RING_RESET) : 0, 8);
        one_request();
        set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 4); /* a queue in use is not changed */
        set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
        one_request();
        set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
        set_common(VIRTIO_PCI_COMMON_Q_RESET, 2, 2);
        assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
        set_common(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
        assert_int_equal(common(VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
        assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), !negotiated);
        assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), negotiated ? VIRTQ_SIZE_MAX : 8);
        assert_int_equal(common(VIRTIO_PCI_COMMON_Q_MSIX, 2),
                         negotiated ? VIRTIO_MSI_NO_VECTOR : 1);
        if (!negotiated)
            continue;
        memset(ram(DESCRIPTORS), 0, 0x4000);
        place_queue(16, DESCRIPTORS, AVAILABLE, USED);
        one_request();
    }
}

/* A queue whose size was not written has the largest one. */
static void the_default_size(void **state)
{
    (void)state;
    set_common(VIRTIO_PCI_COMMON_STATUS, 1, 3);
    put_features(NEEDED);
    set_common(VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 4, DESCRIPTORS);
    set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, AVAILABLE);
    set_common(VIRTIO_PCI_COMMON_Q_USEDLO, 4, USED);
    set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    set_common(VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
    queue_size = VIRTQ_SIZE_MAX;
    made_available = seen_used = 0;
    one_request();
}

static void no_bus_master(void **state)
{
    (void)state;
    start_driver(0, 8);
    one_request();
    assert_int_equal(config_read(6, 2) & 0x2000, 0);
    config_write(4, 2, 2);
    make_available(0);
    unsigned before = dma_accesses;
    notify();
    assert_int_equal(dma_accesses, before);
    assert_true(needs_reset());
    assert_int_equal(config_read(6, 2) & 0x2000, 0x2000);
    assert_true(said("virtio disk: it has to access memory, but its driver has not made it a bus "
                     "master"));
    assert_true(said(" may not be accessed now; the driver has to reset the device"));
    assert_false(said("is not in its RAM"));
    config_write(4, 2, 6);
    start_driver(0, 8);
    one_request();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(identity, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(registers, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(vectors, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(the_line, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(notifications, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(the_window, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(the_reset_of_a_queue, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(the_default_size, setup, teardown_disk),
        cmocka_unit_test_setup_teardown(no_bus_master, setup, teardown_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
