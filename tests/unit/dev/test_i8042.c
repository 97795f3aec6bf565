/* SPDX-License-Identifier: MIT */
/* The keyboard controller without a keyboard: what drivers ask when they look for one, its
 * interrupts, and each way in which it resets the machine. */
#include "tests/unit/support.h"

#include "dev/i8042.h"
#include "lib/bits.h"

static struct i8042 k;
static bool lines[16];
static unsigned resets;

static void set_line(void *context, unsigned number, bool level)
{
    (void)context;
    lines[number] = level;
}

static void reset(void *context, const char *how)
{
    assert_ptr_equal(context, &k);
    assert_non_null(how);
    resets++;
}

static int begin(void **state)
{
    (void)state;
    resets = 0;
    lines[1] = lines[12] = false;
    i8042_init(&k, reset, &k);
    k.keyboard = (struct line){set_line, NULL, 1};
    k.mouse = (struct line){set_line, NULL, 12};
    return 0;
}

static uint8_t status(void)
{
    return (uint8_t)i8042_command_ops.read(&k, NULL, 0, 1);
}

static uint8_t data(void)
{
    return (uint8_t)i8042_data_ops.read(&k, NULL, 0, 1);
}

static void command(uint8_t value)
{
    i8042_command_ops.write(&k, NULL, 0, 1, value);
}

static void send(uint8_t value)
{
    i8042_data_ops.write(&k, NULL, 0, 1, value);
}

static const struct {
    uint8_t command;
    int data;   /* that follows, or -1 */
    int answer; /* or -1 */
    uint8_t status;
} rows[] = {
    {0xaa, -1, 0x55, 0x01},   {0xab, -1, 0, 0x01},      {0xa9, -1, 0, 0x01},
    {0xc0, -1, 0x80, 0x01},   {0xd0, -1, 0x03, 0x01},   {0x20, -1, 0x05, 0x01},
    {0xa7, -1, -1, 0},        {0xad, -1, -1, 0},        {0xd2, 0x42, 0x42, 0x01},
    {0xd3, 0xa5, 0xa5, 0x21}, {0xd4, 0xff, 0xfe, 0x61}, {0x11, -1, -1, 0},
};

static void answers(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        (void)begin(state);
        command(rows[i].command);
        if (rows[i].data >= 0)
            send((uint8_t)rows[i].data);
        assert_int_equal(status() & 0x61, rows[i].status);
        assert_int_equal(status() & 0x14, 0x14); /* tested, and unlocked */
        if (rows[i].answer >= 0)
            assert_int_equal(data(), rows[i].answer);
        assert_int_equal(status() & 0x61, 0);
        assert_int_equal(resets, 0);
    }
}

static void no_keyboard(void **state)
{
    (void)state;
    send(0xff); /* a keyboard would reset */
    assert_int_equal(status() & 0x61, 0x41);
    assert_int_equal(data(), 0xfe);
}

static void configuration(void **state)
{
    (void)state;
    command(0xa7);
    command(0xad);
    command(0x20);
    assert_int_equal(data(), 0x35);
    command(0xa8);
    command(0xae);
    command(0x60);
    assert_int_equal(status() & 8, 8);
    send(0x47);
    assert_int_equal(status() & 8, 0);
    command(0x20);
    assert_int_equal(data(), 0x47);
}

static void interrupts(void **state)
{
    (void)state;
    command(0xd2);
    send(1);
    assert_true(lines[1] && !lines[12]);
    (void)data();
    assert_false(lines[1]);
    command(0xd3);
    send(1);
    assert_false(lines[1] || lines[12]); /* not enabled */
    command(0x60);
    send(3);
    command(0xd3);
    send(1);
    assert_true(!lines[1] && lines[12]);
    (void)data();
    assert_false(lines[12]);
}

static void each_reset(void **state)
{
    for (unsigned value = 0; value < 256; value++) {
        (void)begin(state);
        command((uint8_t)value);
        assert_int_equal(resets, value >= 0xf0 && !(value & 1));
    }
    (void)begin(state);
    command(0xd1);
    send(0xdf); /* opens A20 */
    assert_int_equal(resets, 0);
    command(0xd1);
    send(0xdd); /* closes it, which has no effect */
    command(0xd0);
    assert_int_equal(data(), 0xdf);
    command(0xd1);
    send(0xfe);
    assert_int_equal(resets, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(answers, begin),       cmocka_unit_test_setup(no_keyboard, begin),
        cmocka_unit_test_setup(configuration, begin), cmocka_unit_test_setup(interrupts, begin),
        cmocka_unit_test_setup(each_reset, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
