/* SPDX-License-Identifier: MIT */
/* QEMU's test device and fw_cfg: what a program that has only ports and a window sees of them. */
#include "tests/unit/support.h"

#include "dev/fw_cfg.h"
#include "dev/pc_testdev.h"
#include "lib/bits.h"

#include <string.h>

static uint8_t window[PC_TESTDEV_WINDOW];
static struct pc_testdev device;
static unsigned changed, number;
static bool level;
static uint64_t unmapped;

static void set_line(void *context, unsigned line, bool new_level)
{
    assert_ptr_equal(context, &device);
    changed++;
    number = line;
    level = new_level;
}

static void unmap(void *context, uint64_t gpa)
{
    assert_ptr_equal(context, &device);
    unmapped = gpa;
}

static int begin(void **state)
{
    (void)state;
    memset(window, 0, sizeof(window));
    changed = 0;
    unmapped = ~0ull;
    device = (struct pc_testdev){.window = window,
                                 .line = {.set = set_line, .context = &device},
                                 .unmap = unmap,
                                 .context = &device};
    return 0;
}

/* Each size at each offset: a write changes these bytes of the latch, and a read returns them. */
static void the_latch(void **state)
{
    (void)state;
    uint32_t model = 0;
    for (unsigned round = 0; round < 100; round++)
        for (unsigned size = 1; size <= 4; size++)
            for (unsigned offset = 0; offset + size <= 4; offset++) {
                uint32_t value = 0x9e3779b9u * (round * 16 + size * 4 + offset + 1);
                uint64_t mask = BITS(8 * size - 1, 0);
                pc_testdev_latch_ops.write(&device, NULL, offset, size, value & mask);
                memcpy((uint8_t *)&model + offset, &value, size);
                assert_int_equal(device.latch, model);
                assert_int_equal(pc_testdev_latch_ops.read(&device, NULL, offset, size),
                                 model >> (8 * offset) & mask);
            }
}

static void the_lines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PC_TESTDEV_PINS; i++)
        for (unsigned value = 0; value < 3; value++) {
            pc_testdev_lines_ops.write(&device, NULL, i, 1, value << 4);
            assert_int_equal(number, i);
            assert_int_equal(level, value != 0);
        }
    assert_int_equal(changed, 3 * PC_TESTDEV_PINS);
    assert_int_equal(pc_testdev_lines_ops.read(&device, NULL, 0, 1) & 0xff, 0xff);
}

/* Only a whole address is one. */
static void the_port_that_unmaps(void **state)
{
    (void)state;
    pc_testdev_unmap_ops.write(&device, NULL, 0, 2, 0x1000);
    pc_testdev_unmap_ops.write(&device, NULL, 2, 2, 0x1000);
    assert_int_equal(unmapped, ~0ull);
    pc_testdev_unmap_ops.write(&device, NULL, 0, 4, 0xfffff123);
    assert_int_equal(unmapped, 0xfffff123);
}

static void the_window(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= 8; size++)
        for (unsigned offset = 0; offset + size <= sizeof(window); offset += 4093) {
            uint64_t value = 0x123456789abcdef0ull * (offset + size) & BITS(8 * size - 1, 0);
            window[offset + size < sizeof(window) ? offset + size : 0] = 0x77;
            pc_testdev_window_ops.write(&device, NULL, offset, size, value);
            assert_memory_equal(&window[offset], &value, size);
            assert_int_equal(pc_testdev_window_ops.read(&device, NULL, offset, size), value);
            assert_int_equal(window[offset + size < sizeof(window) ? offset + size : 0], 0x77);
        }
}

/* Items by the bytes that a program reads, and zero behind them. */
static void fw_cfg(void **state)
{
    static const struct {
        uint16_t item;
        uint64_t value;
    } items[] = {{0, 0x554d4551}, {1, 1}, {3, 0x123456789a}, {5, 4},      {15, 4},
                 {2, 0},          {4, 0}, {17, 0},           {0x8000, 0}, {0xffff, 0}};
    struct fw_cfg f = {.ram = 0x123456789a, .cpus = 4};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(items); i++) {
        uint64_t value = 0;
        fw_cfg_ops.write(&f, NULL, 0, 2, items[i].item);
        for (unsigned byte = 0; byte < 8; byte++)
            value |= fw_cfg_ops.read(&f, NULL, 1, 1) << (8 * byte);
        assert_int_equal(value, items[i].value);
        assert_int_equal(fw_cfg_ops.read(&f, NULL, 1, 1), 0);
    }
    fw_cfg_ops.write(&f, NULL, 0, 2, 0);
    fw_cfg_ops.write(&f, NULL, 0, 1, 5); /* nothing but 16 bits selects */
    fw_cfg_ops.write(&f, NULL, 1, 1, 5);
    assert_int_equal(fw_cfg_ops.read(&f, NULL, 1, 1), 'Q');
    assert_int_equal(fw_cfg_ops.read(&f, NULL, 0, 1) & 0xff, 0xff);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        T(the_latch), T(the_lines), T(the_port_that_unmaps), T(the_window), T(fw_cfg),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
