/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues: indirect tables, indexes that wrap, work in pieces, and each way in which a driver
 * can break a queue, with its message. The device is a disk.
 */
#include "tests/unit/dev/virtio_world.h"

/* ---- Rings ----------------------------------------------------------------------------------- */

static void indirect_tables(void **state)
{
    (void)state;
    start_driver(BIT(VIRTIO_RING_F_INDIRECT_DESC), 4);
    struct vring_desc *table = ram(INDIRECT);
    header(VIRTIO_BLK_T_IN, 2);
    describe(&table[0], HEADER, 16, VRING_DESC_F_NEXT, 7);
    describe(&table[7], BUFFERS, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
    describe(&table[2], STATUS, 1, VRING_DESC_F_WRITE, 0);
    /* The write flag of the indirect descriptor itself is ignored. */
    describe(descriptor(3), INDIRECT, 8 * 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 99);
    make_available(3);
    notify();
    assert_int_equal(take_used().id, 3);
    assert_int_equal(*(uint8_t *)ram(STATUS), 0);
    assert_memory_equal(ram(BUFFERS), image + 1024, 512);
    /* Direct descriptors may precede it. */
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), INDIRECT + 16, 7 * 16, VRING_DESC_F_INDIRECT, 0);
    describe(&table[1], BUFFERS + 512, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    make_available(0);
    notify();
    assert_int_equal(take_used().len, 513);
    assert_memory_equal(ram(BUFFERS + 512), image + 1024, 512);
}

static void rings_wrap(void **state)
{
    (void)state;
    start_driver(0, 2);
    for (unsigned i = 0; i < 70000; i++)
        assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
    assert_int_equal(used()->idx, (uint16_t)70000);
}

/* A notification does one piece. virtio_go_on() does the rest, which a reset cancels. */
static void work_in_pieces(void **state)
{
    (void)state;
    start_driver(0, 64);
    header(VIRTIO_BLK_T_IN, 0);
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), BUFFERS, 1024, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
    describe(descriptor(2), STATUS, 1, VRING_DESC_F_WRITE, 0);
    for (unsigned i = 0; i < 20; i++)
        make_available(0);
    notify();
    assert_int_equal(used()->idx, 2); /* 8 KiB, including the cost of each chain */
    assert_int_equal(busy_calls, 1);
    assert_true(line_level);
    for (unsigned done = 4; done <= 20; done += 2) {
        assert_true(virtio_go_on(&disk.virtio));
        assert_int_equal(used()->idx, done);
    }
    assert_false(virtio_go_on(&disk.virtio));
    assert_false(virtio_go_on(&disk.virtio));
    for (unsigned i = 0; i < 20; i++)
        make_available(0);
    notify();
    set_reg(VIRTIO_MMIO_QUEUE_READY, 0);
    assert_false(virtio_go_on(&disk.virtio));
    assert_int_equal(used()->idx, 22);
}

/* However the driver makes its chains, a piece has few accesses to its memory, each of which takes
 * some 300 instructions. The rest of a piece is 64 KiB that are copied. */
static void pieces_are_short(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        unsigned descriptors;
        uint32_t length;
    } rows[] = {
        {VIRTIO_BLK_T_IN, 64, 512},   {VIRTIO_BLK_T_OUT, 64, 512}, {99, 64, 1},
        {VIRTIO_BLK_T_OUT, 18, 4096}, {VIRTIO_BLK_T_IN, 3, 512},   {VIRTIO_BLK_T_FLUSH, 2, 0},
        {VIRTIO_BLK_T_IN, 30, 1536},  {VIRTIO_BLK_T_IN, 64, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        start_driver(0, 64);
        header(rows[i].type, 1);
        unsigned last = rows[i].descriptors - 1;
        unsigned write = rows[i].type == VIRTIO_BLK_T_OUT ? 0 : VRING_DESC_F_WRITE;
        describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
        for (unsigned d = 1; d < last; d++)
            describe(descriptor(d), BUFFERS, rows[i].length, VRING_DESC_F_NEXT | write, d + 1);
        describe(descriptor(last), STATUS, 1, VRING_DESC_F_WRITE, 0);
        for (unsigned chain = 0; chain < 32; chain++)
            make_available(0);
        dma_accesses = 0;
        notify();
        assert_in_range(dma_accesses, 8, 150);
        while (used()->idx < 32) {
            dma_accesses = 0;
            virtio_go_on(&disk.virtio);
            assert_in_range(dma_accesses, 8, 150);
        }
        assert_false(needs_reset());
    }
}

/* ---- Broken drivers -------------------------------------------------------------------------- */

struct broken {
    const char *said;
    void (*how)(void);
};

static void index_far_ahead(void)
{
    available()->idx = 9;
}

static void head_beyond(void)
{
    make_available(8);
}

static void next_beyond(void)
{
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 8);
    make_available(0);
}

static void loop(void)
{
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), HEADER, 16, VRING_DESC_F_NEXT, 0);
    make_available(0);
}

static void read_after_write(void)
{
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    describe(descriptor(1), HEADER, 16, 0, 0);
    make_available(0);
}

static void too_many_bytes(void)
{
    describe(descriptor(0), HEADER, ~0u, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), HEADER, 2, 0, 0);
    make_available(0);
}

static void too_many_bytes_to_write(void)
{
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), BUFFERS, ~0u, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
    describe(descriptor(2), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
}

static void no_header(void)
{
    describe(descriptor(0), HEADER, 15, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
}

static void no_status(void)
{
    describe(descriptor(0), HEADER, 16, 0, 0);
    make_available(0);
}

static void header_not_in_ram(void)
{
    describe(descriptor(0), RAM_BASE - 8, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
}

static void buffer_not_in_ram(void)
{
    header(VIRTIO_BLK_T_IN, 0);
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), RAM_BASE + RAM_SIZE - 256, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
             2);
    describe(descriptor(2), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
}

static void address_wraps(void)
{
    header(VIRTIO_BLK_T_OUT, 0);
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), ~0ull - 255, 512, VRING_DESC_F_NEXT, 2);
    describe(descriptor(2), STATUS, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
}

static void status_not_in_ram(void)
{
    header(VIRTIO_BLK_T_FLUSH, 0);
    describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
    describe(descriptor(1), RAM_BASE + RAM_SIZE, 1, VRING_DESC_F_WRITE, 0);
    make_available(0);
}

static void indirect(uint32_t length, unsigned flags)
{
    describe(descriptor(0), INDIRECT, length, VRING_DESC_F_INDIRECT | flags, 1);
    make_available(0);
}

static void indirect_and_next(void)
{
    indirect(16, VRING_DESC_F_NEXT);
}

static void indirect_of_nothing(void)
{
    indirect(0, 0);
}

static void indirect_odd(void)
{
    indirect(24, 0);
}

static void indirect_long(void)
{
    indirect(65 * 16, 0);
}

static void indirect_in_indirect(void)
{
    describe(ram(INDIRECT), INDIRECT, 16, VRING_DESC_F_INDIRECT, 0);
    indirect(16, 0);
}

static void indirect_beyond(void)
{
    describe(ram(INDIRECT), HEADER, 16, VRING_DESC_F_NEXT, 2);
    indirect(32, 0);
}

static void indirect_loop(void)
{
    describe(ram(INDIRECT), HEADER, 16, VRING_DESC_F_NEXT, 0);
    indirect(16, 0);
}

static void indirect_not_in_ram(void)
{
    describe(descriptor(0), RAM_BASE + RAM_SIZE - 8, 16, VRING_DESC_F_INDIRECT, 0);
    make_available(0);
}

static const struct broken broken[] = {
    {"9 chains are available in a queue of 8", index_far_ahead},
    {"descriptor 8 of a table of 8", head_beyond},
    {"descriptor 8 of a table of 8", next_beyond},
    {"a chain of more than 8 descriptors", loop},
    {"a descriptor to be read follows one to be written", read_after_write},
    {"a chain has more than 2^32 bytes", too_many_bytes},
    {"a chain has more than 2^32 bytes", too_many_bytes_to_write},
    {"a request of 15 bytes to be read and 1 to be written", no_header},
    {"a request of 16 bytes to be read and 0 to be written", no_status},
    {"a buffer of 16 bytes at 0xfff8 is not in its RAM", header_not_in_ram},
    {"a buffer of 512 bytes at 0x4ff00 is not in its RAM", buffer_not_in_ram},
    {"a buffer of 512 bytes at 0xffffffffffffff00 is not in its RAM", address_wraps},
    {"a buffer of 1 bytes at 0x50000 is not in its RAM", status_not_in_ram},
    {"an indirect descriptor that has a next one", indirect_and_next},
    {"an indirect table of 0 bytes; up to 64 descriptors of 16 fit", indirect_of_nothing},
    {"an indirect table of 24 bytes", indirect_odd},
    {"an indirect table of 1040 bytes", indirect_long},
    {"an indirect descriptor in an indirect table", indirect_in_indirect},
    {"descriptor 2 of a table of 2", indirect_beyond},
    {"a chain of more than 64 descriptors", indirect_loop},
    {"the descriptor table at 0x4fff8 is not in its RAM", indirect_not_in_ram},
};

static void breaks(const char *text)
{
    assert_true(needs_reset());
    assert_true(said("disk: queue 0: "));
    assert_true(said(text));
    assert_true(said("the driver has to reset the device"));
    assert_int_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG,
                     VIRTIO_MMIO_INT_CONFIG);
    assert_true(line_level);
    /* The device does nothing until it is reset. */
    unsigned before = dma_accesses;
    notify();
    assert_false(virtio_go_on(&disk.virtio));
    set_reg(VIRTIO_MMIO_STATUS, STATUS_STARTED);
    notify();
    assert_int_equal(dma_accesses, before);
    assert_true(needs_reset());
    start_driver(0, 8);
    assert_false(needs_reset());
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
}

static void every_way_to_break_it(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(broken); i++) {
        destroy_disk();
        setup_disk(state);
        start_driver(BIT(VIRTIO_RING_F_INDIRECT_DESC), 8);
        broken[i].how();
        notify();
        breaks(broken[i].said);
    }
    destroy_disk();
    setup_disk(state);
    start_driver(0, 8);
    indirect(16, 0);
    notify();
    breaks("an indirect descriptor, which was not negotiated");
}

static void bad_places(void **state)
{
    static const struct {
        uint16_t size;
        uint64_t descriptors, available, used;
        const char *said;
    } rows[] = {
        {0, DESCRIPTORS, AVAILABLE, USED, "its size is 0, but must be a power of two up to 64"},
        {3, DESCRIPTORS, AVAILABLE, USED, "its size is 3"},
        {128, DESCRIPTORS, AVAILABLE, USED, "its size is 128"},
        {8, DESCRIPTORS + 8, AVAILABLE, USED, "must be multiples of 16, 2 and 4"},
        {8, DESCRIPTORS, AVAILABLE + 1, USED, "must be multiples of 16, 2 and 4"},
        {8, DESCRIPTORS, AVAILABLE, USED + 2, "must be multiples of 16, 2 and 4"},
        {8, 0, AVAILABLE, USED, "the descriptor table at 0 is not in its RAM"},
        {8, DESCRIPTORS, BIT(40), USED, "the available ring at 0x10000000002 is not in its RAM"},
        {8, DESCRIPTORS, AVAILABLE, BIT(63), "the used ring at 0x8000000000000004 is not"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        destroy_disk();
        setup_disk(state);
        start_driver(0, 8);
        set_reg(VIRTIO_MMIO_QUEUE_READY, 0);
        header(VIRTIO_BLK_T_FLUSH, 0);
        describe(descriptor(0), HEADER, 16, VRING_DESC_F_NEXT, 1);
        describe(descriptor(1), STATUS, 1, VRING_DESC_F_WRITE, 0);
        place_queue(rows[i].size, rows[i].descriptors, rows[i].available, rows[i].used);
        if (!needs_reset()) {
            queue_size = 8;
            make_available(0);
            notify();
        }
        breaks(rows[i].said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(indirect_tables, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(rings_wrap, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(pieces_are_short, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(every_way_to_break_it, setup_disk, teardown_disk),
    };
    const struct CMUnitTest mmio_tests[] = {
        cmocka_unit_test_setup_teardown(work_in_pieces, setup_disk, teardown_disk),
        cmocka_unit_test_setup_teardown(bad_places, setup_disk, teardown_disk),
    };
    int failed = cmocka_run_group_tests(mmio_tests, NULL, NULL);
    return failed + RUN_BY_BOTH_TRANSPORTS(tests);
}
