/* SPDX-License-Identifier: MIT */
/* Which writes turn a machine off or reset it, and the power management timer. */
#include "tests/unit/support.h"

#include "dev/pm_timer.h"
#include "dev/power.h"
#include "lib/bits.h"

#include <string.h>

static struct power power;
static const char *ended;
static unsigned ends, resets; /* resets are ends, too */

static void off_now(void *context, const char *how)
{
    assert_ptr_equal(context, &power);
    ended = how;
    ends++;
}

static void reset_now(void *context, const char *how)
{
    off_now(context, how);
    resets++;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    ends = 0;
    ended = "";
    power = (struct power){.off = off_now, .reset = reset_now, .context = &power};
    resets = 0;
    return 0;
}

static bool ends_by(const struct bus_ops *ops, uint64_t offset, uint8_t value)
{
    unsigned before = ends;
    ops->write(&power, NULL, offset, 1, value);
    return ends > before;
}

static void off(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        assert_int_equal(ends_by(&power_sleep_ops, 0, (uint8_t)value),
                         (value & 0x3c) == (0x20 | POWER_S5 << 2));
        assert_false(ends_by(&power_sleep_ops, 1, (uint8_t)value));
    }
    assert_string_equal(ended, "powered off, by ACPI's S5");
    assert_int_equal(resets, 0);
    assert_int_equal(power_sleep_ops.read(&power, NULL, 0, 1), 0);
    assert_int_equal(power_sleep_ops.read(&power, NULL, 1, 1), 0);
}

static void reset_register(void **state)
{
    (void)state;
    for (unsigned before = 0; before < 256; before++) {
        for (unsigned value = 0; value < 256; value++) {
            power.reset_register = 0;
            (void)ends_by(&power_reset_ops, 0, (uint8_t)before);
            assert_int_equal(power_reset_ops.read(&power, NULL, 0, 1), before & 0xe);
            assert_int_equal(ends_by(&power_reset_ops, 0, (uint8_t)value),
                             value & 4 && !(before & 4));
        }
    }
    assert_string_equal(ended, "reset, by port 0xcf9");
    assert_int_equal(resets, ends);
    power.reset_register = 0;
    assert_true(ends_by(&power_reset_ops, 0, POWER_RESET_VALUE));
}

static void keyboard_controller(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++)
        assert_int_equal(ends_by(&power_keyboard_ops, 0, (uint8_t)value),
                         value >= 0xf0 && !(value & 1));
    assert_string_equal(ended, "reset, by the keyboard controller's port");
    assert_int_equal(resets, ends);
    assert_int_equal((uint8_t)power_keyboard_ops.read(&power, NULL, 0, 1), 0xff);
}

/* ---- The timer ------------------------------------------------------------------------------- */

static uint64_t tsc;

static uint64_t read_tsc(void)
{
    return tsc;
}

static void timer_counts(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1000000, 50000000, 3579545, 2893300000, 5000000000};
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        struct pm_timer timer = {.tsc = read_tsc, .tsc_hz = rates[i]};
        for (tsc = 0; tsc < 1ull << 62; tsc = tsc * 3 + 12345) {
            uint32_t want = (uint32_t)((unsigned __int128)tsc * PM_TIMER_HZ / rates[i]);
            uint64_t got = pm_timer_ops.read(&timer, NULL, 0, 4);
            assert_int_equal(got, want);
            assert_int_equal(pm_timer_ops.read(&timer, NULL, 2, 2), want >> 16);
            pm_timer_ops.write(&timer, NULL, 0, 4, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(off, setup),
        cmocka_unit_test_setup(reset_register, setup),
        cmocka_unit_test_setup(keyboard_controller, setup),
        cmocka_unit_test_setup(timer_counts, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
