/* SPDX-License-Identifier: MIT */
/*
 * Regions that overlap, the sizes that devices declare, wide accesses, and places that are kept:
 * the bus against the plain statement of what it is.
 */
#include "tests/unit/mmio/mmio_world.h"

#include "lib/errno.h"

#include <pthread.h>
#include <string.h>

static struct bus bus;

/* Every access that reached a device, in order. */
static struct {
    unsigned count;
    struct {
        void *device;
        uint64_t offset;
        unsigned size;
        bool write, wide;
        uint8_t bytes[BUS_ACCESS];
    } at[80];
} seen;

static void saw(void *device, uint64_t offset, unsigned size, bool write, bool wide,
                const void *bytes)
{
    assert_true(seen.count < ARRAY_SIZE(seen.at));
    seen.at[seen.count].device = device;
    seen.at[seen.count].offset = offset;
    seen.at[seen.count].size = size;
    seen.at[seen.count].write = write;
    seen.at[seen.count].wide = wide;
    memcpy(seen.at[seen.count++].bytes, bytes, size);
}

/* Reads as its number in each byte. */
static uint64_t number_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu;
    uint64_t value = 0x0101010101010101ull * (uintptr_t)device;
    assert_in_range(size, 1, 8);
    saw(device, offset, size, false, false, &value);
    return value;
}

static void number_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)vcpu;
    assert_in_range(size, 1, 8);
    assert_true(size == 8 || value < BIT(8 * size)); /* the bytes that were written, no more */
    saw(device, offset, size, true, false, &value);
}

static void wide_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                      uint8_t *bytes)
{
    (void)vcpu;
    memset(bytes, (int)(uintptr_t)device, size);
    saw(device, offset, size, false, true, bytes);
}

static void wide_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       const uint8_t *bytes)
{
    (void)vcpu;
    saw(device, offset, size, true, true, bytes);
}

#define OPS(name, ...) \
    static const struct bus_ops name = {#name, number_read, number_write, __VA_ARGS__}
OPS(plain, NULL, NULL, 0, false);
OPS(words, NULL, NULL, 4, false);
OPS(words_only, NULL, NULL, 4, true);
OPS(bytes_and_quads, NULL, NULL, 1 | 8, false);
OPS(wide, wide_read, wide_write, 0, false);
OPS(wide_words, wide_read, wide_write, 4 | 16, false);

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&seen, 0, sizeof(seen));
    bus_init(&bus, "mmio", BIT(52) - 1);
    return 0;
}

static void add(int priority, uint64_t start, uint64_t size, const struct bus_ops *ops,
                uintptr_t device)
{
    assert_int_equal(bus_add_over(&bus, priority, start, size, ops, (void *)device), 0);
}

static uint64_t get(uint64_t address, unsigned size)
{
    seen.count = 0;
    return bus_read(&bus, NULL, address, size);
}

static void put(uint64_t address, unsigned size, uint64_t value)
{
    seen.count = 0;
    bus_write(&bus, NULL, address, size, value);
}

static void assert_seen(unsigned i, uintptr_t device, uint64_t offset, unsigned size)
{
    assert_true(i < seen.count);
    assert_ptr_equal(seen.at[i].device, device);
    assert_int_equal(seen.at[i].offset, offset);
    assert_int_equal(seen.at[i].size, size);
}

/* The higher one answers, the lower one shows around it and comes back; offsets are its own. */
static void priorities(void **state)
{
    (void)state;
    add(0, 0x1000, 0x1000, &plain, 1);
    add(1, 0x1400, 0x100, &plain, 2);
    add(2, 0x1480, 8, &plain, 3);
    add(-1, 0, 0x10000, &plain, 4);
    assert_int_equal(bus.piece_count, 7);
    static const struct {
        uint64_t address;
        uintptr_t device;
        uint64_t offset;
    } cases[] = {{0, 4, 0},           {0xfff, 4, 0xfff},  {0x1000, 1, 0},     {0x13ff, 1, 0x3ff},
                 {0x1400, 2, 0},      {0x147f, 2, 0x7f},  {0x1480, 3, 0},     {0x1487, 3, 7},
                 {0x1488, 2, 0x88},   {0x14ff, 2, 0xff},  {0x1500, 1, 0x500}, {0x1fff, 1, 0xfff},
                 {0x2000, 4, 0x2000}, {0xffff, 4, 0xffff}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(get(cases[i].address, 1), cases[i].device);
        assert_seen(0, cases[i].device, cases[i].offset, 1);
    }
    assert_int_equal(get(0x147e, 4), 0x03030202); /* split where another one shows */
    assert_seen(0, 2, 0x7e, 2);
    assert_seen(1, 3, 0, 2);
    assert_int_equal(bus_remove(&bus, 0x1400, (void *)2), 0);
    assert_int_equal(get(0x1400, 1), 1);
    assert_int_equal(get(0x1480, 1), 3);
    assert_int_equal(bus_add_over(&bus, 2, 0x1487, 1, &plain, (void *)5), -EEXIST);
    assert_int_equal(bus_add_over(&bus, 3, 0x1487, 1, &plain, (void *)5), 0);
    assert_int_equal(bus_remove(&bus, 0x1487, (void *)3), -ENOENT);
    assert_int_equal(bus.unclaimed, 0);
}

/* One region or several, each known by its priority, appear, move and vanish in one change of the
 * bus. */
static void move_some(bool there[BUS_REGIONS], uint64_t start[BUS_REGIONS],
                      uint64_t size[BUS_REGIONS])
{
    struct bus_place places[4];
    unsigned first = (unsigned)(world_random() % BUS_REGIONS);
    unsigned count = 1 + (unsigned)(world_random() % ARRAY_SIZE(places));
    const uint64_t sequence = bus.sequence;
    for (unsigned n = 0; n < count; n++) {
        unsigned i = (first + n) % BUS_REGIONS;
        there[i] = world_random() % 3;
        start[i] = there[i] ? world_random() % 0x100 : BUS_NOWHERE;
        size[i] = there[i] ? 1 + world_random() % (0x100 - start[i]) : 1;
        places[n] =
            (struct bus_place){(int)i, start[i], size[i], &plain, (void *)(uintptr_t)(i + 1)};
    }
    assert_int_equal(bus_move(&bus, places, count), 0);
    assert_int_equal(bus.sequence, sequence + 2);
}

/* Any set of regions: each byte goes to the highest that covers it. The most pieces fit. */
static void random_regions(void **state)
{
    (void)state;
    world_seed();
    for (unsigned round = 0; round < 300; round++) {
        bool there[BUS_REGIONS] = {false};
        uint64_t start[BUS_REGIONS] = {0}, size[BUS_REGIONS] = {0};
        bus_init(&bus, "mmio", 0xff);
        for (unsigned change = 0; change < 2 * BUS_REGIONS; change++) {
            unsigned i = (unsigned)(world_random() % BUS_REGIONS);
            if (world_random() % 8 == 0) {
                move_some(there, start, size);
                continue;
            }
            if (there[i]) {
                assert_int_equal(bus_remove(&bus, start[i], (void *)(uintptr_t)(i + 1)), 0);
                there[i] = false;
                continue;
            }
            start[i] = world_random() % 0x100;
            size[i] = 1 + world_random() % (0x100 - start[i]);
            add((int)i, start[i], size[i], &plain, i + 1); /* a priority of its own each */
            there[i] = true;
        }
        for (unsigned at = 0; at < 0x100; at++) {
            unsigned top = 0;
            for (unsigned i = 0; i < BUS_REGIONS; i++) {
                if (there[i] && at - start[i] < size[i] && start[i] <= at)
                    top = i + 1;
            }
            assert_int_equal(get(at, 1), top ? top : 0xff);
            if (top)
                assert_seen(0, top, at - start[top - 1], 1);
        }
    }
    bus_init(&bus, "mmio", 0xff);
    for (unsigned i = 0; i < BUS_REGIONS; i++) /* a pyramid: two borders each */
        add((int)i, i, 0x80 - 2 * i, &plain, i + 1);
    assert_int_equal(bus.piece_count, BUS_PIECES);
}

/* What a device does not take is split into what it takes, the largest first, aligned. */
static void sizes(void **state)
{
    (void)state;
    add(0, 0x1000, 0x100, &words, 1);
    add(0, 0x2000, 0x100, &words_only, 2);
    add(0, 0x3000, 0x100, &bytes_and_quads, 3);

    assert_int_equal(get(0x1004, 4), 0x01010101);
    assert_int_equal(seen.count, 1);
    put(0x1008, 8, 0x8877665544332211);
    assert_int_equal(seen.count, 2);
    assert_seen(0, 1, 8, 4);
    assert_memory_equal(seen.at[0].bytes, "\x11\x22\x33\x44", 4);
    assert_seen(1, 1, 12, 4);
    assert_memory_equal(seen.at[1].bytes, "\x55\x66\x77\x88", 4);
    assert_int_equal(bus.refused, 0);
    assert_int_equal(get(0x1006, 8), 0xffff01010101ffff); /* what is left over, nobody takes */
    assert_int_equal(seen.count, 1);
    assert_seen(0, 1, 8, 4);
    assert_int_equal(bus.refused, 4);
    put(0x1002, 2, 5);
    assert_int_equal(seen.count, 0);

    bus.refused = 0;
    assert_int_equal(get(0x2004, 4), 0x02020202);
    static const uint8_t refused[][2] = {{0, 1}, {0, 2}, {0, 8}, {2, 4}, {1, 4}};
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        assert_int_equal(get(0x2000u + refused[i][0], refused[i][1]),
                         ~0ull >> (64 - 8 * refused[i][1]));
        assert_int_equal(seen.count, 0);
        put(0x2000u + refused[i][0], refused[i][1], 0);
        assert_int_equal(seen.count, 0);
        assert_int_equal(bus.refused, 2 * (i + 1));
    }
    put(0x3008, 8, 1);
    assert_int_equal(seen.count, 1);
    put(0x3004, 8, 1);
    assert_int_equal(seen.count, 8);
    assert_seen(7, 3, 11, 1);
    put(0x3008, 4, 0x04030201);
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.at[3].bytes[0], 4);
    assert_int_equal(bus.unclaimed, 0);
}

/* Up to 64 bytes: whole where the device can, else by eights, in order, and across borders. */
static void wide_accesses(void **state)
{
    (void)state;
    uint8_t bytes[BUS_ACCESS], back[BUS_ACCESS];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i + 1);
    add(0, 0x1000, 0x100, &wide, 1);
    add(0, 0x1100, 0x100, &plain, 2);
    add(0, 0x1200, 0x100, &wide_words, 3);

    bus_write_bytes(&bus, NULL, 0x1010, bytes, 64);
    assert_int_equal(seen.count, 1);
    assert_true(seen.at[0].wide);
    assert_memory_equal(seen.at[0].bytes, bytes, 64);

    seen.count = 0;
    bus_write_bytes(&bus, NULL, 0x1100, bytes, 20);
    assert_int_equal(seen.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_seen(i, 2, 8 * i, i < 2 ? 8 : 4);
        assert_memory_equal(seen.at[i].bytes, bytes + 8 * i, seen.at[i].size);
    }
    seen.count = 0;
    bus_read_bytes(&bus, NULL, 0x10f0, back, 32); /* sixteen of the first, then two eights */
    assert_int_equal(seen.count, 3);
    assert_seen(0, 1, 0xf0, 16);
    assert_true(seen.at[0].wide);
    assert_seen(1, 2, 0, 8);
    assert_seen(2, 2, 8, 8);
    assert_int_equal(back[15], 1);
    assert_int_equal(back[16], 2);

    seen.count = 0;
    bus_read_bytes(&bus, NULL, 0x1204, back, 32); /* words up to the border of 16, 16, a word */
    assert_int_equal(seen.count, 5);
    assert_seen(2, 3, 12, 4);
    assert_seen(3, 3, 16, 16);
    assert_seen(4, 3, 32, 4);

    memset(back, 0, sizeof(back));
    bus_read_bytes(&bus, NULL, 0x12f0, back, 64); /* beyond the last: ones, and no more bytes */
    assert_int_equal(back[15], 3);
    assert_int_equal(back[16], 0xff);
    assert_int_equal(back[63], 0xff);
    assert_int_equal(bus.unclaimed, 1);
}

/* ---- Places that are kept -------------------------------------------------------------------- */

static unsigned rung;

static void ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                 uint64_t value)
{
    (void)device, (void)vcpu, (void)offset, (void)size, (void)value;
    rung++;
}

static const struct bus_ops bell = {.name = "bell", .write = ring};

/* Whatever is kept of an address does what an access does, for each one that the place covers. */
static void hints_are_right(void **state)
{
    (void)state;
    static const unsigned access[] = {1, 2, 4, 8};
    const struct bus_doorbell bells[] = {
        {.address = 0x1040, .ops = &bell},
        {.address = 0x1050, .length = 4, .ops = &bell},
        {.address = 0x1060, .length = 2, .match_data = true, .data = 0x5a5a, .ops = &bell},
        {.address = 0x1070, .length = 2, .match_data = true, .data = 0x5a5b, .ops = &bell},
        {.address = 0x1070, .length = 2, .match_data = true, .data = 0x5a5a, .ops = &bell},
    };
    add(0, 0x1000, 0x100, &plain, 1);
    add(1, 0x1020, 9, &plain, 2);
    add(0, 0x1100, 0x20, &words, 3);
    add(0, 0x1120, 0x20, &words_only, 4);
    for (unsigned i = 0; i < ARRAY_SIZE(bells); i++)
        assert_int_equal(bus_doorbell_add(&bus, &bells[i]), 0);
    unsigned kept = 0, by_bell = 0;
    for (unsigned s = 0; s < ARRAY_SIZE(access); s++) {
        for (uint64_t at = 0xff0; at < 0x1150; at++) {
            struct bus_hint hint;
            unsigned size = access[s];
            bus_hint_fill(&bus, &hint, at, size, true);
            if (!hint.sequence)
                continue;
            assert_int_equal(hint.sequence, bus.sequence);
            assert_true(at - hint.first <= hint.span);
            for (uint64_t o = 0; o <= hint.span; o++) {
                uint64_t there = hint.first + o, value = 0x5a5a5a5a5a5a5a5a >> (64 - 8 * size);
                rung = 0;
                put(there, size, value);
                unsigned rings = rung, reached = seen.count;
                void *device = seen.at[0].device;
                uint64_t offset = seen.at[0].offset;
                rung = seen.count = 0;
                hint.region.ops->write(hint.region.device, NULL, there - hint.region.start, size,
                                       value);
                assert_int_equal(rung, rings);
                assert_int_equal(seen.count, reached);
                assert_true(reached <= 1); /* whole, or not kept */
                if (reached) {
                    assert_ptr_equal(seen.at[0].device, device);
                    assert_int_equal(seen.at[0].offset, offset);
                }
                assert_int_equal(hint.doorbell, rings && hint.region.ops == &bell);
                by_bell += rings;
                kept++;
            }
        }
    }
    assert_true(kept > 1000);
    assert_int_equal(by_bell, 4 + 1 + 2); /* any, of four bytes, and two by value */

    struct bus_hint hint; /* reads never ring */
    bus_hint_fill(&bus, &hint, 0x1040, 4, false);
    assert_ptr_equal(hint.region.ops, &plain);
    assert_false(hint.doorbell);
    bus_hint_fill(&bus, &hint, 0xfff, 1, true);
    assert_int_equal(hint.sequence, 0);
}

/* Two doorbells may share an address as long as no write rings both. */
static void doorbells_apart(void **state)
{
    (void)state;
    struct bus_doorbell d = {
        .address = 8, .length = 4, .match_data = true, .data = 1, .ops = &bell};
    assert_int_equal(bus_doorbell_add(&bus, &d), 0);
    d.data = 2;
    assert_int_equal(bus_doorbell_add(&bus, &d), 0);
    d.match_data = false;
    assert_int_equal(bus_doorbell_add(&bus, &d), -EEXIST);
    assert_non_null(strstr(support_log(), "already rings"));
    d.length = 0;
    assert_int_equal(bus_doorbell_add(&bus, &d), -EEXIST);
    d.length = 8;
    assert_int_equal(bus_doorbell_add(&bus, &d), 0);
    d.length = 4;
    assert_int_equal(bus_doorbell_remove(&bus, &d), -ENOENT); /* not by what it overlaps */
    d.match_data = true;
    assert_int_equal(bus_doorbell_remove(&bus, &d), 0);
    rung = 0;
    put(8, 4, 2);
    assert_int_equal(rung, 0);
    put(8, 4, 1);
    put(8, 8, 2);
    assert_int_equal(rung, 2);
    uint8_t bytes[16] = {0};
    bus_write_bytes(&bus, NULL, 8, bytes, 16); /* no length that it could have */
    assert_int_equal(rung, 2);
}

/* ---- Changes while others read (D3) ---------------------------------------------------------- */

static bool stop;
static unsigned rings_of_both;

static uint64_t steady_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu, (void)size;
    return (uintptr_t)device + offset;
}

static void count_ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    (void)device, (void)vcpu, (void)offset, (void)size, (void)value;
    __atomic_fetch_add(&rings_of_both, 1, __ATOMIC_RELAXED);
}

static const struct bus_ops steady = {.name = "steady", .read = steady_read, .write = count_ring};

/* A window that comes and goes over the device, at a doorbell that comes and goes. */
static void *change(void *unused)
{
    const struct bus_doorbell d = {.address = 0x1100, .ops = &steady};
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        if (bus_add_over(&bus, 1, 0x1100, 0x100, &steady, (void *)0x200000) ||
            bus_doorbell_add(&bus, &d) || bus_remove(&bus, 0x1100, (void *)0x200000) ||
            bus_doorbell_remove(&bus, &d))
            return &stop;
    }
    return NULL;
}

/* Each access reaches the lower one or the upper one, at its own offset, and a write once. Hints
 * that were filled during a change are not for use. */
static void readers_beside_changes(void **state)
{
    (void)state;
    pthread_t writer;
    const unsigned times = 300000;
    stop = false;
    rings_of_both = 0;
    add(0, 0x1000, 0x1000, &steady, 0x100000);
    assert_int_equal(pthread_create(&writer, NULL, change, NULL), 0);
    for (unsigned i = 0; i < times; i++) {
        uint64_t value = bus_read(&bus, NULL, 0x1104, 4);
        assert_true(value == 0x100104 || value == 0x200004);
        assert_int_equal(bus_read(&bus, NULL, 0x1204, 4), 0x100204);
        bus_write(&bus, NULL, 0x1100, 4, i);
        struct bus_hint hint;
        bus_hint_fill(&bus, &hint, 0x1104, 4, false);
        if (!hint.sequence)
            continue;
        assert_false(hint.sequence & 1);
        assert_true(hint.region.device == (void *)0x100000 ||
                    hint.region.device == (void *)0x200000);
        bool upper = hint.region.device == (void *)0x200000;
        assert_int_equal(hint.region.start, upper ? 0x1100 : 0x1000);
        assert_true(hint.first >= hint.region.start);
        assert_true(hint.first + hint.span + 3 <= hint.region.last);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    void *failed;
    pthread_join(writer, &failed);
    assert_null(failed);
    assert_int_equal(rings_of_both, times);
    assert_int_equal(bus.unclaimed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(random_regions, setup),
        cmocka_unit_test_setup(sizes, setup),
        cmocka_unit_test_setup(wide_accesses, setup),
        cmocka_unit_test_setup(hints_are_right, setup),
        cmocka_unit_test_setup(doorbells_apart, setup),
        cmocka_unit_test_setup(readers_beside_changes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
