/* SPDX-License-Identifier: MIT */
/*
 * The virtio disk: each request with its limits, copies of blocks and their release, and random
 * requests with direct and indirect chains, compared with a model that is an array of bytes.
 */
#include "tests/unit/dev/virtio_world.h"

#include <stdlib.h>

#define SECTORS (IMAGE_SIZE / 512u)

static uint8_t original[IMAGE_SIZE];

static int setup(void **state)
{
    (void)state;
    support_reset();
    make_disk(false);
    memcpy(original, image, IMAGE_SIZE);
    start_driver(BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_FLUSH), 64);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    destroy_disk();
    assert_memory_equal(image, original, IMAGE_SIZE); /* the image is never modified */
    return support_pages_in_use() != 0;
}

static uint64_t copies(void)
{
    return support_pages_in_use() - 1 - (disk.tables[0] != NULL); /* all but the tables */
}

static uint8_t clear(uint32_t type, uint64_t sector, uint32_t count, uint32_t flags)
{
    const struct virtio_blk_discard_write_zeroes range = {sector, count, flags};
    memcpy(ram(BUFFERS), &range, sizeof(range));
    return request(type, 0, 1, sizeof(range));
}

static uint8_t discard(uint64_t sector, uint32_t count, uint32_t flags)
{
    return clear(VIRTIO_BLK_T_DISCARD, sector, count, flags);
}

static void reads(void **state)
{
    (void)state;
    assert_int_equal(request(VIRTIO_BLK_T_IN, 3, 4, 1024), VIRTIO_BLK_S_OK);
    assert_int_equal(request_written, 4097);
    assert_memory_equal(ram(BUFFERS), image + 3 * 512, 4096);
    assert_int_equal(copies(), 0);
    assert_int_equal(request(VIRTIO_BLK_T_IN, SECTORS - 1, 1, 512), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), image + IMAGE_SIZE - 512, 512);
}

static void writes_copy(void **state)
{
    (void)state;
    memset(ram(BUFFERS), 0xab, 1024);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 7, 2, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(request_written, 1);
    assert_int_equal(copies(), 2); /* sectors 7 and 8 are in two blocks */
    assert_int_equal(request(VIRTIO_BLK_T_IN, 6, 1, 2048), VIRTIO_BLK_S_OK);
    const uint8_t *got = ram(BUFFERS);
    assert_memory_equal(got, image + 6 * 512, 512);
    assert_true(got[512] == 0xab && got[1535] == 0xab);
    assert_memory_equal(got + 1536, image + 9 * 512, 512);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, SECTORS - 1, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, SECTORS - 1, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(copies(), 3);
}

static void discards(void **state)
{
    (void)state;
    memset(ram(BUFFERS), 0xab, 4096);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 8, 1, 4096), VIRTIO_BLK_S_OK);
    assert_int_equal(copies(), 1);
    assert_int_equal(discard(8, 16, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(copies(), 0);
    static const uint8_t zero[4096];
    for (unsigned sector = 8; sector < 24; sector += 8) {
        assert_int_equal(request(VIRTIO_BLK_T_IN, sector, 1, 4096), VIRTIO_BLK_S_OK);
        assert_memory_equal(ram(BUFFERS), zero, 4096);
    }
    assert_int_equal(discard(25, 7, 0), VIRTIO_BLK_S_OK); /* the range contains no whole block */
    assert_int_equal(request(VIRTIO_BLK_T_IN, 24, 1, 4096), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), image + 24 * 512, 4096);
    memset(ram(BUFFERS), 0xcd, 512);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 9, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(request(VIRTIO_BLK_T_IN, 8, 1, 1024), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), zero, 512);
    assert_int_equal(*(uint8_t *)ram(BUFFERS + 512), 0xcd);
}

/* The blocks that lie completely in the range become zeros without a copy, the others in a copy. */
static void writes_zeroes(void **state)
{
    (void)state;
    static const uint8_t zero[4096];
    for (uint32_t unmap = 0; unmap < 2; unmap++) {
        memset(ram(BUFFERS), 0xab, 4096);
        assert_int_equal(request(VIRTIO_BLK_T_OUT, 8, 1, 4096), VIRTIO_BLK_S_OK);
        assert_int_equal(clear(VIRTIO_BLK_T_WRITE_ZEROES, 7, 10, unmap), VIRTIO_BLK_S_OK);
        assert_int_equal(request_written, 1);
        assert_int_equal(copies(), 2); /* blocks 0 and 2 */
        assert_int_equal(request(VIRTIO_BLK_T_IN, 6, 3, 4096), VIRTIO_BLK_S_OK);
        const uint8_t *got = ram(BUFFERS);
        assert_memory_equal(got, image + 6 * 512, 512);
        for (unsigned sector = 7; sector < 17; sector++)
            assert_memory_equal(got + (sector - 6) * 512, zero, 512);
        assert_memory_equal(got + 11 * 512, image + 17 * 512, 13 * 512);
    }
    /* The end of the disk, whose last block is not whole. */
    assert_int_equal(clear(VIRTIO_BLK_T_WRITE_ZEROES, SECTORS - 6, 6, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(request(VIRTIO_BLK_T_IN, SECTORS - 7, 7, 512), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), image + (SECTORS - 7) * 512, 512);
    assert_memory_equal(ram(BUFFERS + 512), zero, 6 * 512);
}

/* The limits of a request, and the configuration space that reports them. */
static void ranges_have_limits(void **state)
{
    (void)state;
    static const uint32_t types[] = {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        uint32_t type = types[i];
        for (unsigned bit = type == VIRTIO_BLK_T_DISCARD ? 0 : 1; bit < 32; bit++)
            assert_int_equal(clear(type, 8, 8, 1u << bit), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(clear(type, SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(clear(type, SECTORS - 1, 2, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(clear(type, ~0ull, 2, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(clear(type, ~0ull / 512 + 1, 1, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(clear(type, 0, ~0u, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(type, 0, 1, 15), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(type, 0, 2, 16), VIRTIO_BLK_S_IOERR); /* two segments */
        assert_int_equal(copies(), 0);
        assert_int_equal(clear(type, SECTORS, 0, 0), VIRTIO_BLK_S_OK);
        assert_int_equal(clear(type, 0, SECTORS, 0), VIRTIO_BLK_S_OK);
    }
    assert_int_equal(disk.config.max_discard_sectors, 1024);
    assert_int_equal(disk.config.max_discard_seg, 1);
    assert_int_equal(disk.config.discard_sector_alignment, 8);
    assert_int_equal(disk.config.max_write_zeroes_sectors, 1024);
    assert_int_equal(disk.config.max_write_zeroes_seg, 1);
    assert_int_equal(disk.config.write_zeroes_may_unmap, 1);
    assert_int_equal(disk.config.seg_max, 16);
    assert_int_equal(disk.config.size_max, 4096);
    assert_int_equal(disk.config.blk_size, 512);
    assert_int_equal(disk.config.capacity, SECTORS);
}

/* A request that clears too many blocks is refused, and a large disk is destroyed in pieces. What
 * is not written costs neither memory nor time. */
static void large_disks(void **state)
{
    (void)state;
    size_t size = 8193 * 512;
    void *large = calloc(1, size);
    destroy_disk();
    assert_int_equal(virtio_blk_init(&disk, large, size, false, ""), 0);
    assert_int_equal(support_pages_in_use(), 1);
    start_driver(BIT(VIRTIO_BLK_F_DISCARD), 64);
    assert_int_equal(discard(0, 1025, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(clear(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1025, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(discard(0, 1024, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(support_pages_in_use(), 2);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 8192, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(support_pages_in_use(), 4); /* a second table, and a copy */
    unsigned pieces = 1;
    while (!virtio_blk_destroy_piece(&disk))
        pieces++;
    assert_int_equal(pieces, 5); /* 512 blocks, 128 at a time; then a table and a block */
    assert_int_equal(support_pages_in_use(), 0);

    /* 1 TiB, of which nothing is read: the tables of 2^28 blocks are not there. */
    assert_int_equal(virtio_blk_init(&disk, large, 1ull << 40, true, ""), 0);
    assert_int_equal(disk.config.capacity, 1ull << 31);
    assert_int_equal(virtio_blk_pages(1ull << 30, false), (1ull << 18) + 512 + 1);
    assert_int_equal(virtio_blk_init(&disk, large, 1ull << 30, false, ""), 0);
    assert_int_equal(support_pages_in_use(), 1);
    pieces = 1;
    while (!virtio_blk_destroy_piece(&disk))
        pieces++;
    assert_int_equal(pieces, 4); /* 512 tables that do not exist */
    free(large);
    make_disk(false);
}

/* A disk that begins anew with the tables of the one before has the contents of that one: what was
 * written, and zeros where it was discarded. Its driver begins anew. */
static void a_second_life(void **state)
{
    (void)state;
    static uint8_t wanted[4 * 4096];
    memset(ram(BUFFERS), 0x77, 512);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 3, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(discard(16, 8, 0), VIRTIO_BLK_S_OK);
    uint64_t pages = support_pages_in_use();
    uint8_t ***tables = disk.tables;
    memset(&disk.config, 0, sizeof(disk.config));
    assert_int_equal(virtio_blk_init(&disk, image, IMAGE_SIZE, false, "again"), 0);
    assert_ptr_equal(disk.tables, tables);
    assert_int_equal(support_pages_in_use(), pages);
    assert_int_equal(reg(VIRTIO_MMIO_STATUS), 0);
    assert_int_equal(disk.config.capacity, SECTORS);
    start_driver(0, 64);
    memcpy(wanted, image, sizeof(wanted));
    memset(wanted + 3 * 512, 0x77, 512);
    memset(wanted + 2 * 4096, 0, 4096);
    for (unsigned block = 0; block < 4; block++) {
        assert_int_equal(request(VIRTIO_BLK_T_IN, 8 * block, 1, 4096), VIRTIO_BLK_S_OK);
        assert_memory_equal(ram(BUFFERS), wanted + 4096 * block, 4096);
    }
}

static void transfers_have_limits(void **state)
{
    (void)state;
    static const struct {
        uint64_t sector;
        unsigned count;
        uint32_t length;
        uint8_t status;
    } rows[] = {
        {0, 1, 511, VIRTIO_BLK_S_IOERR},
        {0, 1, 513, VIRTIO_BLK_S_IOERR},
        {SECTORS, 1, 512, VIRTIO_BLK_S_IOERR},
        {SECTORS - 1, 2, 512, VIRTIO_BLK_S_IOERR},
        {~0ull, 2, 512, VIRTIO_BLK_S_IOERR},
        {~0ull / 512 + 1, 1, 512, VIRTIO_BLK_S_IOERR},
        {0, 16, 4096, VIRTIO_BLK_S_OK},
        {0, 17, 4096, VIRTIO_BLK_S_IOERR}, /* more than one request may have */
        {0, 41, 4096, VIRTIO_BLK_S_IOERR},
        {0, 1, 0, VIRTIO_BLK_S_OK},
        {SECTORS, 0, 0, VIRTIO_BLK_S_OK},
        {0, 62, 512, VIRTIO_BLK_S_OK},     /* as many segments as a chain has */
        {0, 61, 1024, VIRTIO_BLK_S_IOERR}, /* both many segments and many bytes */
        {0, 32, 1536, VIRTIO_BLK_S_OK},    /* 16 more than seg_max, which count as 10 KiB */
        {0, 33, 1536, VIRTIO_BLK_S_OK},
        {0, 36, 1536, VIRTIO_BLK_S_IOERR},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
            assert_int_equal(request(type, rows[i].sector, rows[i].count, rows[i].length),
                             rows[i].status);
            bool in = type == VIRTIO_BLK_T_IN && rows[i].status == VIRTIO_BLK_S_OK;
            assert_int_equal(request_written, in ? rows[i].count * rows[i].length + 1 : 1);
        }
}

static void other_requests(void **state)
{
    (void)state;
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 1, 20), VIRTIO_BLK_S_OK);
    assert_int_equal(request_written, 21);
    assert_memory_equal(ram(BUFFERS), "a-serial\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    memset(ram(BUFFERS), 0x55, 8);
    assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 1, 4), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), "a-se\x55", 5);
    assert_int_equal(request_written, 5);
    for (uint32_t type = 0; type < 40; type++)
        if (type > VIRTIO_BLK_T_OUT && type != VIRTIO_BLK_T_FLUSH && type != VIRTIO_BLK_T_GET_ID &&
            type != VIRTIO_BLK_T_DISCARD && type != VIRTIO_BLK_T_WRITE_ZEROES)
            assert_int_equal(request(type, 0, 1, 512), VIRTIO_BLK_S_UNSUPP);
    assert_false(needs_reset());
}

static void read_only(void **state)
{
    (void)state;
    destroy_disk();
    make_disk(true);
    assert_int_equal(support_pages_in_use(), 0);
    assert_true(disk.virtio.features & BIT(VIRTIO_BLK_F_RO));
    assert_false(disk.virtio.features &
                 (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
    start_driver(BIT(VIRTIO_BLK_F_RO), 64);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 1, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(discard(0, 8, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(clear(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 1, 20), VIRTIO_BLK_S_OK);
    assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 1, 512), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), image, 512);
    assert_int_equal(support_pages_in_use(), 0);
}

static void without_memory(void **state)
{
    (void)state;
    for (unsigned pages = 0; pages < 2; pages++) { /* for the table, but not for the copy */
        support_fail_allocations_after(pages);
        assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 1, 512), VIRTIO_BLK_S_IOERR);
        support_fail_allocations_after(0);
        assert_int_equal(clear(VIRTIO_BLK_T_WRITE_ZEROES, 1, 1, 0), VIRTIO_BLK_S_IOERR);
        uint8_t whole = pages ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
        assert_int_equal(clear(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0), whole);
        assert_int_equal(discard(8, 8, 0), whole);
    }
    assert_non_null(strstr(support_log(), "virtio disk: no page left for a block that is written"));
    assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 1, 512), VIRTIO_BLK_S_OK);
    assert_memory_equal(ram(BUFFERS), image, 512);
    assert_int_equal(virtio_blk_init(&(struct virtio_blk){0}, image, IMAGE_SIZE, false, ""), -12);
    support_fail_allocations_after(UINT64_MAX);
    assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 1, 512), VIRTIO_BLK_S_OK);
}

/* A disk whose blocks have all been written uses as many pages as virtio_blk_pages() returns. */
static void needs(void **state)
{
    (void)state;
    assert_int_equal(virtio_blk_pages(IMAGE_SIZE, true), 0);
    assert_int_equal(virtio_blk_pages(IMAGE_SIZE, false), IMAGE_BLOCKS + 2);
    assert_int_equal(virtio_blk_pages(4096 * 512, false), 512 + 2);
    assert_int_equal(virtio_blk_pages(4096 * 512 + 1, false), 513 + 3);
    for (unsigned sector = 0; sector < SECTORS; sector++)
        assert_int_equal(request(VIRTIO_BLK_T_OUT, sector, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(support_pages_in_use(), virtio_blk_pages(IMAGE_SIZE, false));
}

/* ---- Random requests compared with a model --------------------------------------------------- */

static uint8_t model[IMAGE_SIZE];
static bool unknown[IMAGE_BLOCKS]; /* discarded blocks, whose contents are undefined */

static uint32_t random_state = 1;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

/* Writes a chain for `bytes` of data, cut into random pieces, into a table; returns its length. */
static unsigned write_chain(struct vring_desc *table, uint32_t bytes, bool write)
{
    unsigned count = 0;
    describe(&table[count++], HEADER, 16, VRING_DESC_F_NEXT, 1);
    for (uint32_t done = 0, part; done < bytes; done += part) {
        part = count > 20 ? bytes - done : 1 + random_below(bytes - done);
        describe(&table[count], BUFFERS + done, part,
                 VRING_DESC_F_NEXT | (write ? VRING_DESC_F_WRITE : 0), count + 1);
        count++;
    }
    describe(&table[count++], STATUS, 1, VRING_DESC_F_WRITE, 0);
    return count;
}

static void transfer(bool write)
{
    uint32_t sector = random_below(SECTORS), most = SECTORS - sector < 40 ? SECTORS - sector : 40;
    uint32_t bytes = (1 + random_below(most)) * 512;
    uint8_t *data = ram(BUFFERS);
    header(write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector);
    for (uint32_t i = 0; write && i < bytes; i++)
        data[i] = (uint8_t)random_below(256);
    if (random_below(2)) {
        unsigned count = write_chain(ram(INDIRECT), bytes, !write);
        describe(descriptor(5), INDIRECT, count * 16, VRING_DESC_F_INDIRECT, 0);
        make_available(5);
    } else {
        (void)write_chain(descriptor(0), bytes, !write);
        make_available(0);
    }
    notify();
    assert_int_equal(take_used().len, write ? 1 : bytes + 1);
    assert_int_equal(*(uint8_t *)ram(STATUS), 0);
    for (uint32_t i = 0; i < bytes; i++) {
        uint32_t at = sector * 512 + i;
        if (write)
            model[at] = data[i];
        else if (!unknown[at / 4096])
            assert_int_equal(data[i], model[at]);
    }
    for (uint32_t block = 0; write && block < IMAGE_BLOCKS; block++)
        if (block * 8 >= sector && (block + 1) * 8 <= sector + bytes / 512)
            unknown[block] = false;
}

static void beside_a_model(void **state)
{
    (void)state;
    start_driver(BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                     BIT(VIRTIO_RING_F_EVENT_IDX),
                 64);
    memcpy(model, image, IMAGE_SIZE);
    memset(unknown, 0, sizeof(unknown));
    for (unsigned i = 0; i < support_rounds(20000); i++) {
        if (random_below(20)) {
            transfer(random_below(2));
            continue;
        }
        uint32_t sector = random_below(SECTORS), count = random_below(SECTORS - sector);
        bool zeroes = random_below(2);
        if (zeroes)
            memset(model + sector * 512, 0, count * 512);
        assert_int_equal(
            clear(zeroes ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD, sector, count, 0), 0);
        for (uint32_t block = 0; block < IMAGE_BLOCKS; block++)
            if (block * 8 >= sector && (block + 1) * 8 <= sector + count)
                unknown[block] = !zeroes;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(discards, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_zeroes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_life, setup, teardown),
        cmocka_unit_test_setup_teardown(ranges_have_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(large_disks, setup, teardown),
        cmocka_unit_test_setup_teardown(transfers_have_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(other_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(needs, setup, teardown),
        cmocka_unit_test_setup_teardown(beside_a_model, setup, teardown),
    };
    return RUN_BY_BOTH_TRANSPORTS(tests);
}
