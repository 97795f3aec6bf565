/* SPDX-License-Identifier: MIT */
/* The bus, the UART and the test device. */
#include "tests/unit/mmio/mmio_world.h"

#include "lib/errno.h"
#include "dev/uart.h"

#include <pthread.h>
#include <string.h>

/* ---- The bus --------------------------------------------------------------------------------- */

static struct bus bus;

static struct {
    unsigned reads, writes;
    uint64_t offset[8], value[8];
    unsigned size[8];
} seen;

static uint64_t probe_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    assert_ptr_equal(vcpu, &world.vcpu);
    seen.offset[seen.reads] = offset;
    seen.size[seen.reads++] = size;
    return 0x1111111111111111ull * (uintptr_t)device;
}

static void probe_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    (void)device;
    assert_ptr_equal(vcpu, &world.vcpu);
    seen.offset[seen.writes] = offset;
    seen.value[seen.writes] = value;
    seen.size[seen.writes++] = size;
}

static const struct bus_ops probe = {.name = "probe", .read = probe_read, .write = probe_write};

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&seen, 0, sizeof(seen));
    bus_init(&bus, "mmio", BIT(52) - 1);
    return 0;
}

static int add(uint64_t start, uint64_t size, uintptr_t device)
{
    return bus_add(&bus, start, size, &probe, (void *)device);
}

static uint64_t get(uint64_t address, unsigned size)
{
    seen.reads = 0;
    return bus_read(&bus, &world.vcpu, address, size);
}

static void put(uint64_t address, unsigned size, uint64_t value)
{
    seen.writes = 0;
    bus_write(&bus, &world.vcpu, address, size, value);
}

static void regions(void **state)
{
    (void)state;
    assert_int_equal(add(0x3000, 0x1000, 3), 0);
    assert_int_equal(add(0x1000, 0x1000, 1), 0);
    assert_int_equal(add(0x5000, 0x10, 5), 0);
    assert_int_equal(add(0x2000, 0x1000, 2), 0);
    assert_int_equal(bus.sequence, 10);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(get(i * 0x1000, 4), 0x11111111 * i);
        assert_int_equal(seen.offset[0], 0);
        assert_int_equal(get(i * 0x1000 + 0xffc, 4), 0x11111111 * i);
        assert_int_equal(seen.offset[0], 0xffc);
    }
    assert_int_equal(bus.unclaimed, 0);
    assert_int_equal(get(0xfff, 1), 0xff);
    assert_int_equal(get(0x4000, 2), 0xffff);
    assert_int_equal(get(0x5010, 8), ~0ull);
    assert_int_equal(get(0, 4), 0xffffffff);
    put(0x4ffc, 4, 1);
    assert_int_equal(seen.reads + seen.writes, 0);
    assert_int_equal(bus.unclaimed, 5);
    assert_int_equal(bus_remove(&bus, 0x2000, (void *)2), 0);
    assert_int_equal(get(0x2000, 4), 0xffffffff);
    assert_int_equal(get(0x3000, 4), 0x33333333);
    assert_int_equal(bus_remove(&bus, 0x2000, (void *)2), -ENOENT);
    assert_non_null(strstr(support_log(), "no region of this device starts at 0x2000"));
}

static void refusals(void **state)
{
    (void)state;
    assert_int_equal(add(0x1000, 0x1000, 1), 0);
    static const uint64_t overlapping[][2] = {
        {0x1000, 0x1000}, {0xfff, 2}, {0x1fff, 1}, {0, 0x10000}, {0x1800, 4}};
    for (unsigned i = 0; i < ARRAY_SIZE(overlapping); i++)
        assert_int_equal(add(overlapping[i][0], overlapping[i][1], 2), -EEXIST);
    assert_non_null(strstr(support_log(), "probe at 0x1000-0x1fff overlaps probe at 0x1000"));
    assert_int_equal(add(0xfff, 1, 2), 0); /* neighbours do not overlap */
    assert_int_equal(add(0x2000, 1, 2), 0);
    assert_int_equal(add(0x8000, 0, 2), -EINVAL);
    assert_int_equal(add(~0ull, 2, 2), -EINVAL);
    assert_int_equal(add(BIT(52) - 1, 2, 2), -EINVAL);
    assert_int_equal(add(BIT(52) - 1, 1, 2), 0);
    for (unsigned i = 4; i < BUS_REGIONS; i++)
        assert_int_equal(add(0x10000 * i, 0x1000, i), 0);
    assert_int_equal(add(0x9000, 1, 2), -ENOSPC);
    assert_non_null(strstr(support_log(), "no room"));
    for (uint64_t i = 4; i < BUS_REGIONS; i++)
        assert_int_equal(get(0x10000 * i, 1), 0x11 * i & 0xff);
}

/* An access that leaves a region is split: the next region's part, then nobody's. */
static void split(void **state)
{
    (void)state;
    assert_int_equal(add(0x1000, 0x1000, 1), 0);
    assert_int_equal(add(0x2000, 2, 2), 0);
    put(0x1ffd, 8, 0x8877665544332211);
    assert_int_equal(seen.writes, 2);
    assert_int_equal(seen.offset[0], 0xffd);
    assert_int_equal(seen.size[0], 3);
    assert_int_equal(seen.value[0], 0x332211);
    assert_int_equal(seen.offset[1], 0);
    assert_int_equal(seen.size[1], 2);
    assert_int_equal(seen.value[1], 0x5544);
    assert_int_equal(bus.unclaimed, 1);
    assert_int_equal(get(0x1ffd, 8), 0xffffff2222111111);
    assert_int_equal(get(0xffe, 4), 0x1111ffff); /* a hole first */
    assert_int_equal(seen.offset[0], 0);
    assert_int_equal(seen.size[0], 2);
    for (uint64_t at = 0x1ff4; at <= 0x1ffc; at++) { /* whole, up to the last byte */
        put(at, 4, 0x44332211);
        assert_int_equal(seen.writes, 1);
        assert_int_equal(seen.size[0], 4);
        assert_int_equal(seen.value[0], 0x44332211);
    }
    put(0x1000, 1, 0x1234); /* only the bytes that were written */
    assert_int_equal(seen.value[0], 0x34);
}

static unsigned rung;
static void ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                 uint64_t value)
{
    assert_ptr_equal(vcpu, &world.vcpu);
    assert_int_equal(offset, 0);
    assert_true(size <= 8 && (size == 8 || value < BIT(8 * size)));
    rung += (unsigned)(uintptr_t)device;
}

static const struct bus_ops bell = {.name = "bell", .write = ring};

static void doorbells(void **state)
{
    (void)state;
    const struct bus_doorbell any = {.address = 0x1000, .ops = &bell, .device = (void *)1};
    const struct bus_doorbell word = {
        .address = 0x1010, .length = 2, .ops = &bell, .device = (void *)0x10};
    const struct bus_doorbell data = {.address = 0x1020,
                                      .length = 4,
                                      .match_data = true,
                                      .data = 7,
                                      .ops = &bell,
                                      .device = (void *)0x100};
    struct bus_doorbell wrong = {.address = 0x1030, .match_data = true};
    rung = 0;
    assert_int_equal(add(0x1000, 0x1000, 1), 0);
    assert_int_equal(bus_doorbell_add(&bus, &any), 0);
    assert_int_equal(bus_doorbell_add(&bus, &word), 0);
    assert_int_equal(bus_doorbell_add(&bus, &data), 0);
    assert_int_equal(bus_doorbell_add(&bus, &data), -EEXIST);
    assert_int_equal(bus_doorbell_add(&bus, &wrong), -EINVAL);
    wrong.length = 3;
    assert_int_equal(bus_doorbell_add(&bus, &wrong), -EINVAL);
    put(0x1000, 1, 0);
    put(0x1000, 8, 5);
    assert_int_equal(rung, 2);
    put(0x1010, 4, 0);
    assert_int_equal(rung, 2);
    assert_int_equal(seen.writes, 1); /* the region gets what does not match */
    put(0x1010, 2, 0);
    assert_int_equal(rung, 0x12);
    put(0x1020, 4, 8);
    put(0x1020, 2, 7);
    assert_int_equal(rung, 0x12);
    put(0x1020, 4, 0xff00000007ull);
    assert_int_equal(rung, 0x112);
    assert_int_equal(seen.writes, 0);
    assert_true(bus_doorbell_any(&bus, 0x1000));
    assert_false(bus_doorbell_any(&bus, 0x1010));
    assert_false(bus_doorbell_any(&bus, 0x1020));
    assert_int_equal(get(0x1000, 4), 0x11111111);
    assert_int_equal(bus_doorbell_remove(&bus, &any), 0);
    assert_int_equal(bus_doorbell_remove(&bus, &any), -ENOENT);
    assert_false(bus_doorbell_any(&bus, 0x1000));
    put(0x1020, 4, 7);
    assert_int_equal(rung, 0x212);
}

/* D3: readers beside a writer see the old table or the new one, never a mixture. */
static bool stop;

static uint64_t same_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu;
    (void)size;
    return (uintptr_t)device ^ offset;
}

static const struct bus_ops same = {.name = "same", .read = same_read, .write = probe_write};

static void *churn(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        if (bus_add(&bus, 0x1000, 0x1000, &same, NULL) || bus_remove(&bus, 0x1000, NULL))
            return (void *)1;
    }
    return NULL;
}

static void readers_beside_a_writer(void **state)
{
    (void)state;
    pthread_t writer;
    stop = false;
    for (uint64_t i = 2; i < 10; i++) /* the address below is in nobody else's region */
        assert_int_equal(bus_add(&bus, i * 0x1000, 0x1000, &same, (void *)(i * 0x100000)), 0);
    assert_int_equal(pthread_create(&writer, NULL, churn, NULL), 0);
    for (unsigned i = 0; i < support_rounds(1000000); i++) {
        uint64_t page = 2 + i % 8;
        assert_int_equal(bus_read(&bus, NULL, page * 0x1000 + 4, 4), page * 0x100000 + 4);
        uint64_t other = bus_read(&bus, NULL, 0x1004, 4);
        assert_true(other == 4 || other == 0xffffffff);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    void *failed;
    pthread_join(writer, &failed);
    assert_null(failed);
}

/* An address that is accessed often is found among many others, whatever their order, and the
 * table counts no address that a device answers. */
static void missed_addresses(void **state)
{
    uint64_t count;
    (void)state;
    assert_int_equal(add(0x1000, 0x1000, 1), 0);
    assert_int_equal(get(0x1008, 4), 0x11111111);
    (void)bus_missed_most(&bus, 0, &count);
    assert_int_equal(count, 0);
    for (unsigned i = 0; i < 10000; i++) {
        (void)get(0x100000 + 8 * i, 4); /* of these, one in 32 shares the place */
        (void)get(0xfed00000, 4);
        if (i % 2)
            bus_write(&bus, &world.vcpu, 0xfee00020, 4, 0);
    }
    assert_int_equal(bus_missed_most(&bus, 0, &count), 0xfed00000);
    assert_in_range(count, 9000, 10000);
    assert_int_equal(bus_missed_most(&bus, 1, &count), 0xfee00020);
    assert_in_range(count, 4500, 5000);
    (void)bus_missed_most(&bus, 2, &count);
    assert_in_range(count, 0, 500);
    (void)bus_missed_most(&bus, BUS_MISSED, &count);
    assert_int_equal(count, 0);
    (void)get(0x1ffe, 4); /* its second half has no device */
    for (unsigned i = 0; i < 20000; i++)
        (void)get(0x1ffe, 4);
    assert_int_equal(bus_missed_most(&bus, 0, &count), 0x2000);
}

/* ---- The UART -------------------------------------------------------------------------------- */

static char sent[32];
static unsigned sent_count;

static void transmit(void *context, uint8_t byte)
{
    assert_ptr_equal(context, sent);
    sent[sent_count++] = (char)byte;
}

static struct uart uart;

static int uart_setup(void **state)
{
    setup(state);
    sent_count = 0;
    memset(sent, 0, sizeof(sent));
    uart_init(&uart, transmit, sent);
    bus_init(&bus, "port", 0xffff);
    return bus_add(&bus, PORT_UART, UART_PORTS, &uart_ops, &uart);
}

static uint8_t in(unsigned reg)
{
    return (uint8_t)bus_read(&bus, NULL, PORT_UART + reg, 1);
}

static void out(unsigned reg, uint8_t value)
{
    bus_write(&bus, NULL, PORT_UART + reg, 1, value);
}

static void uart_transmits(void **state)
{
    (void)state;
    out(3, 0x83); /* divisor latch */
    out(0, 0x01);
    out(1, 0x00);
    assert_int_equal(in(0), 1);
    out(3, 0x03);
    for (const char *c = "hello"; *c; c++) {
        assert_int_equal(in(5), 0x60);
        out(0, (uint8_t)*c);
    }
    assert_string_equal(sent, "hello");
    assert_int_equal(in(0), 0);
    bus_write(&bus, NULL, PORT_UART, 2, 0x0a21); /* a 16-bit OUT: data, then IER */
    assert_string_equal(sent, "hello!");
    assert_int_equal(in(1), 0x0a);
}

static void uart_registers(void **state)
{
    (void)state;
    out(7, 0x5a);
    assert_int_equal(in(7), 0x5a);
    out(1, 0xff);
    assert_int_equal(in(1), 0x0f);
    out(3, 0x80);
    out(1, 0x12);
    assert_int_equal(in(1), 0x12);
    out(3, 0x03);
    assert_int_equal(in(1), 0x0f);
    out(1, 0);
    assert_int_equal(in(2), 0x01);
    out(2, 0x01); /* FIFO on: a 16550A */
    assert_int_equal(in(2), 0xc1);
    out(2, 0x00);
    assert_int_equal(in(2), 0x01);
    out(1, 0x02); /* the empty transmitter is an event, once */
    assert_int_equal(in(2), 0x02);
    assert_int_equal(in(2), 0x01);
    out(0, 'x');
    assert_int_equal(in(2), 0x02);
    assert_int_equal(in(2), 0x01);
    out(5, 0xff);
    assert_int_equal(in(5), 0x60);
    assert_int_equal(in(6), 0xb0);
}

static void uart_loopback(void **state)
{
    (void)state;
    assert_int_equal(in(6), 0xb0);
    out(4, 0x1a); /* as Linux probes: LOOP, OUT2, RTS */
    assert_int_equal(in(6) & 0xf0, 0x90);
    out(4, 0x10);
    assert_int_equal(in(6), 0x09); /* CTS and DCD fell */
    assert_int_equal(in(6), 0x00);
    out(4, 0x14); /* the ring line (OUT1) counts only when it falls */
    assert_int_equal(in(6), 0x40);
    out(4, 0x10);
    assert_int_equal(in(6), 0x04);
    out(0, 0xa5);
    assert_int_equal(sent_count, 0);
    out(1, 0x05);
    assert_int_equal(in(2), 0x04);
    assert_int_equal(in(5), 0x61);
    assert_int_equal(in(0), 0xa5);
    assert_int_equal(in(5), 0x60);
    out(0, 1);
    out(0, 2); /* no FIFO: overrun, and the newer byte stays */
    assert_int_equal(in(2), 0x06);
    assert_int_equal(in(5), 0x63);
    assert_int_equal(in(5), 0x61);
    assert_int_equal(in(0), 2);
    out(2, 0x01);
    for (uint8_t i = 0; i < 17; i++)
        out(0, i);
    assert_int_equal(in(5), 0x63);
    for (uint8_t i = 0; i < 16; i++)
        assert_int_equal(in(0), i);
    assert_int_equal(in(5), 0x60);
    out(0, 9);
    out(2, 0x03); /* cleared */
    assert_int_equal(in(5), 0x60);
    out(4, 0x00);
    out(0, 'y');
    assert_string_equal(sent, "y");
}

/* ---- The test device ------------------------------------------------------------------------- */

static void testdev(void **state)
{
    (void)state;
    struct testdev device;
    testdev_init(&device, 'B');
    assert_int_equal(bus_add(&bus, 0, TESTDEV_SIZE, &testdev_ops, &device), 0);
    bus_write(&bus, NULL, 0x7fc, 8, 0x8877665544332211); /* the end of its RAM */
    assert_int_equal(bus_read(&bus, NULL, 0x7fa, 6), 0x443322110000);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_READS, 4), 1);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_WRITES, 4), 1);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_LAST_OFS, 4), 0x7fa);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_LAST_SIZE, 4), 6);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_LAST_VALUE, 8), 0x443322110000);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_LAST_VALUE + 4, 4), 0x4433);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_IDENT, 4), 'B');
    bus_write(&bus, NULL, TESTDEV_WRITES, 4, 77); /* counters are read-only */
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_WRITES, 4), 1);
    bus_write(&bus, NULL, TESTDEV_RESET, 1, 0);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_WRITES, 4), 0);
    assert_int_equal(bus_read(&bus, NULL, 0x7fc, 4), 0);
    assert_int_equal(bus_read(&bus, NULL, TESTDEV_IDENT, 1), 'B');
    assert_int_equal(bus_read(&bus, NULL, 0xffc, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(regions, setup),
        cmocka_unit_test_setup(refusals, setup),
        cmocka_unit_test_setup(split, setup),
        cmocka_unit_test_setup(doorbells, setup),
        cmocka_unit_test_setup(readers_beside_a_writer, setup),
        cmocka_unit_test_setup(missed_addresses, setup),
        cmocka_unit_test_setup(uart_transmits, uart_setup),
        cmocka_unit_test_setup(uart_registers, uart_setup),
        cmocka_unit_test_setup(uart_loopback, uart_setup),
        cmocka_unit_test_setup(testdev, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
