/* SPDX-License-Identifier: MIT */
/*
 * Random queues and chains, most of them nearly correct, compared with a model of the device: what
 * it writes to the guest's RAM, what the disk contains then, and which queues it refuses.
 */
#include "tests/unit/dev/virtio_world.h"

#include "tests/unit/dev/virtq_model.h"

static uint64_t random_state = 1;
static uint64_t below(uint64_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}

static bool one_in(uint64_t n)
{
    return !below(n);
}

static uint64_t any_address(void)
{
    static const uint64_t ends[] = {RAM_BASE,   RAM_BASE + RAM_SIZE, 0,
                                    1ull << 63, DESCRIPTORS,         USED};
    if (one_in(20))
        return ends[below(ARRAY_SIZE(ends))] + below(32) - 16;
    return BUFFERS + below(RAM_BASE + RAM_SIZE - BUFFERS - 0x5000);
}

static uint32_t any_length(void)
{
    static const uint32_t lengths[] = {0, 1, 15, 16, 20, 511, 513, 0x10000, 0x80000000, ~0u};
    return one_in(10) ? lengths[below(ARRAY_SIZE(lengths))] : (uint32_t)(1 + below(8)) * 512;
}

/* Fills a table with a request, in which one thing in thirty is wrong. Returns the number of
 * descriptors. */
static unsigned fill_table(struct vring_desc *table, unsigned room)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
                                     VIRTIO_BLK_T_FLUSH,        VIRTIO_BLK_T_GET_ID,
                                     VIRTIO_BLK_T_DISCARD,      VIRTIO_BLK_T_WRITE_ZEROES,
                                     VIRTIO_BLK_T_SECURE_ERASE, ~0u};
    uint32_t type = types[one_in(3) ? below(ARRAY_SIZE(types)) : below(2)];
    unsigned write =
        one_in(20) ? one_in(2) : type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    unsigned count = 0, data = (unsigned)below(room > 20 && one_in(8) ? room : 4);
    bool range = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
    const struct virtio_blk_discard_write_zeroes clears = {below(330), (uint32_t)below(40),
                                                           one_in(3) ? (uint32_t)below(3) : 0};
    header(type, one_in(20) ? below(1ull << 31) * 0x123456789 : below(IMAGE_SIZE / 512 + 2));
    memcpy(ram(BUFFERS), &clears, sizeof(clears));
    describe(&table[count++], HEADER, one_in(30) ? any_length() : 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 0; i < data && count < room - 1; i++, count++)
        describe(&table[count], range ? BUFFERS : any_address(), range ? 16 : any_length(),
                 VRING_DESC_F_NEXT | (write ? VRING_DESC_F_WRITE : 0), count + 1);
    describe(&table[count++], one_in(30) ? any_address() : STATUS, one_in(30) ? any_length() : 1,
             VRING_DESC_F_WRITE, 0);
    if (one_in(30))
        table[below(count)].flags ^= (uint16_t)(1 << below(4));
    if (one_in(30))
        table[below(count)].next = (uint16_t)below(room + 2);
    return count;
}

static void make_chain(void)
{
    unsigned head = 0;
    if (one_in(2)) {
        unsigned count = fill_table(ram(INDIRECT), 64);
        uint32_t length = one_in(30) ? (uint32_t)below(2000) : count * 16;
        if (queue_size > 2 && one_in(4)) {
            describe(descriptor(0), HEADER, 8, VRING_DESC_F_NEXT, 2);
            ((struct vring_desc *)ram(INDIRECT))->addr += 8;
            ((struct vring_desc *)ram(INDIRECT))->len -= 8;
            describe(descriptor(2), INDIRECT, length, VRING_DESC_F_INDIRECT, 0);
        } else {
            describe(descriptor(0), one_in(30) ? any_address() : INDIRECT, length,
                     VRING_DESC_F_INDIRECT | (one_in(30) ? VRING_DESC_F_NEXT : 0), 0);
        }
    } else if (queue_size >= 4) {
        (void)fill_table(descriptor(0), queue_size);
    }
    for (uint64_t i = 1 + below(queue_size); i; i--)
        make_available(one_in(60) ? (unsigned)below(70) : head);
    if (one_in(60))
        available()->idx = (uint16_t)below(0x10000);
    available()->flags = (uint16_t)below(2);
    available()->ring[queue_size] = (uint16_t)below(0x10000);
}

static unsigned done, broken;

static void random_queues(void **state)
{
    (void)state;
    const unsigned half = (unsigned)support_rounds(1500);
    for (unsigned round = 0; round < 2 * half; round++) {
        if (round == half) { /* the second half with a read-only disk */
            destroy_disk();
            make_disk(true);
            model_reset();
        }
        if (round % half == 0 || needs_reset() || one_in(20)) {
            broken += needs_reset();
            start_driver((one_in(6) ? 0 : BIT(VIRTIO_RING_F_INDIRECT_DESC)) |
                             (one_in(2) ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0),
                         (uint16_t)(1u << below(7)));
        }
        make_chain();
        notify_beside_the_model();
        done += disk.virtio.queues[0].returned;
        if (!needs_reset())
            made_available = available()->idx;
    }
    assert_true(broken > half / 6 && done > 3 * half);
}

static int setup(void **state)
{
    (void)setup_disk(state);
    model_reset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_queues, setup, teardown_disk)};
    return cmocka_run_group_tests_name("random queues", tests, NULL, NULL);
}
