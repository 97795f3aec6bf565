/* SPDX-License-Identifier: MIT */
/* Counter 2 of the PIT: its count and output in each mode, its gate, the order of its bytes, and
 * how Linux measures the TSC with it. */
#include "tests/unit/support.h"

#include "dev/pit.h"
#include "lib/bits.h"

#define TSC_HZ  50000000ull
#define COUNTER 2
#define COMMAND 3
#define CONTROL 0x21
#define GATE    1
#define OUT     0x20

static uint64_t now;
static struct pit pit;

static uint64_t tsc(void)
{
    return now;
}

static uint8_t in(unsigned port)
{
    return (uint8_t)pit_ops.read(&pit, NULL, port, 1);
}

static void out(unsigned port, uint8_t value)
{
    pit_ops.write(&pit, NULL, port, 1, value);
}

/* Lets `ticks` of the counter pass. */
static void pass(uint64_t ticks)
{
    now += (ticks * TSC_HZ + PIT_HZ - 1) / PIT_HZ;
}

static void load(uint8_t command, uint16_t count)
{
    out(COMMAND, command);
    out(COUNTER, (uint8_t)count);
    out(COUNTER, (uint8_t)(count >> 8));
}

static unsigned count(void)
{
    unsigned low = in(COUNTER);
    return low | (unsigned)in(COUNTER) << 8;
}

static int begin(void **state)
{
    (void)state;
    now = 12345678ull * TSC_HZ; /* a tick begins */
    pit_init(&pit, tsc, TSC_HZ);
    out(CONTROL, GATE);
    return 0;
}

/* ---- Modes ----------------------------------------------------------------------------------- */

static const struct {
    uint8_t mode;
    unsigned loaded, ticks, count;
    bool output;
} modes[] = {
    {0, 1000, 0, 1000, false},   {0, 1000, 1, 999, false},      {0, 1000, 999, 1, false},
    {0, 1000, 1000, 0, true},    {0, 1000, 1001, 0xffff, true}, {0, 0, 1, 0xffff, false},
    {0, 0, 0xffff, 1, false},    {0, 0, 0x10000, 0, true},      {1, 1000, 1001, 0, true},
    {2, 1000, 1, 999, true},     {2, 1000, 1000, 1000, true},   {2, 1000, 2500, 500, true},
    {3, 1000, 1, 998, true},     {3, 1000, 499, 2, true},       {3, 1000, 500, 1000, false},
    {3, 1000, 1000, 1000, true}, {6, 1000, 2500, 500, true},    {7, 1000, 750, 500, false},
    {4, 1000, 999, 1, true},     {4, 1000, 1000, 0, false},     {4, 1000, 1001, 0xffff, true},
    {5, 1000, 1000, 0, true},    {2, 1000, 999, 1, false},
};

static void each_mode(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        load((uint8_t)(0xb0 | modes[i].mode << 1), (uint16_t)modes[i].loaded);
        pass(modes[i].ticks);
        if (count() != modes[i].count || !!(in(CONTROL)&OUT) != modes[i].output)
            fail_msg("mode %u, %u, after %u ticks: count %u, not %u; output %d", modes[i].mode,
                     modes[i].loaded, modes[i].ticks, count(), modes[i].count, !!(in(CONTROL)&OUT));
    }
}

static void before_it_is_loaded(void **state)
{
    (void)state;
    assert_int_equal(count(), 0);
    load(0xb0, 1000);
    pass(1000);
    assert_true(in(CONTROL)&OUT);
    out(COMMAND, 0xb0); /* lowers the output, and stops */
    pass(5000);
    assert_int_equal(count(), 0);
    assert_false(in(CONTROL)&OUT);
    out(COUNTER, 100); /* the low byte alone does not start it */
    pass(5000);
    assert_int_equal(count(), 0);
    out(COUNTER, 0);
    pass(10);
    assert_int_equal(count(), 90);
}

/* ---- Gate and bytes -------------------------------------------------------------------------- */

static void gate(void **state)
{
    (void)state;
    load(0xb0, 1000);
    pass(100);
    out(CONTROL, 0);
    pass(300);
    assert_int_equal(count(), 900);
    out(CONTROL, GATE | 2);
    assert_int_equal(in(CONTROL)&3, 3);
    pass(50);
    assert_int_equal(count(), 850);
    load(0xb4, 1000); /* mode 2 begins again */
    pass(100);
    out(CONTROL, 0xfc);
    assert_int_equal(in(CONTROL)&0xcf, 0);
    out(CONTROL, GATE);
    pass(1);
    assert_int_equal(count(), 999);
}

static void bytes(void **state)
{
    (void)state;
    load(0xb0, 0x1234);
    out(COMMAND, 0x80); /* latch */
    pass(0x100);
    out(COMMAND, 0x80); /* is ignored until both bytes are read */
    assert_int_equal(count(), 0x1234);
    assert_int_equal(count(), 0x1134);
    out(COMMAND, 0x90); /* low bytes only */
    out(COUNTER, 0x50);
    pass(1);
    assert_int_equal(in(COUNTER), 0x4f);
    out(COMMAND, 0x80);
    pass(1);
    assert_int_equal(in(COUNTER), 0x4f);
    assert_int_equal(in(COUNTER), 0x4e);
    out(COMMAND, 0xa0); /* high bytes only */
    out(COUNTER, 0x50);
    pass(1);
    assert_int_equal(in(COUNTER), 0x4f);
    assert_int_equal(in(COUNTER), 0x4f);
}

static void others(void **state)
{
    (void)state;
    load(0xb0, 1000);
    out(COMMAND, 0x30); /* counters 0 and 1, and a read-back command */
    out(COMMAND, 0x70);
    out(COMMAND, 0xd8);
    for (unsigned port = 0; port < PIT_PORTS; port++) {
        if (port == COUNTER || port == CONTROL)
            continue;
        assert_int_equal(in(port), 0xff);
        if (port != COMMAND)
            out(port, 0);
    }
    assert_int_equal(count(), 1000);
    uint8_t before = in(CONTROL);
    pass(18); /* 15 us */
    assert_int_equal(before ^ in(CONTROL), 0x10);
}

/* ---- As Linux uses it ------------------------------------------------------------------------ */

/* pit_calibrate_tsc(): how long does it take until the output is high? */
static void linux_measures_the_tsc(void **state)
{
    (void)state;
    out(CONTROL, 0);
    out(CONTROL, GATE);
    load(0xb0, (uint16_t)(PIT_HZ / 100)); /* 10 ms */
    uint64_t start = now;
    while (!(in(CONTROL)&OUT))
        now += 50;
    assert_in_range(now - start, TSC_HZ / 100 - 100, TSC_HZ / 100 + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_mode, begin),
        cmocka_unit_test_setup(before_it_is_loaded, begin),
        cmocka_unit_test_setup(gate, begin),
        cmocka_unit_test_setup(bytes, begin),
        cmocka_unit_test_setup(others, begin),
        cmocka_unit_test_setup(linux_measures_the_tsc, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
