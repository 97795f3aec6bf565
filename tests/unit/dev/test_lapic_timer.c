/* SPDX-License-Identifier: MIT */
/* The local APIC's timer (SDM 3, 11.5.4): each mode at each tick, and late calls of lapic_tick().
 */
#include "tests/unit/dev/lapic_world.h"

#include "lib/compiler.h"

static void one_shot(void **state)
{
    (void)state;
    static const struct {
        uint32_t divide, by;
    } rows[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup_on(state);
        put(LAPIC_LVT_TIMER, 0x70);
        put(LAPIC_DIVIDE, rows[i].divide);
        put(LAPIC_INITIAL_COUNT, 10);
        uint64_t start = tsc, end = start + 10 * rows[i].by;
        assert_int_equal(lapic_deadline(&apic), end);
        for (; tsc < end; tsc++) {
            assert_int_equal(get(LAPIC_CURRENT_COUNT), 10 - (tsc - start) / rows[i].by);
            assert_int_equal(lapic_pending(&apic), -1);
        }
        lapic_tick(&apic);
        assert_int_equal(lapic_pending(&apic), 0x70);
        assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
        assert_int_equal(get(LAPIC_INITIAL_COUNT), 10);
        lapic_acknowledge(&apic);
        tsc += 10000;
        lapic_tick(&apic);
        assert_int_equal(get(LAPIC_IRR + 3), 0); /* once */
        assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    }
    put(LAPIC_INITIAL_COUNT, ~0u);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), ~0u);
    put(LAPIC_INITIAL_COUNT, 0);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
}

/* The clock that the timer divides may be slower than the TSC: each of its counts then takes
 * several ticks, in every mode but TSC-deadline mode, and at each change of the division. */
static void a_slower_clock(void **state)
{
    for (uint32_t unit = 1; unit <= 84; unit += 83) {
        setup_on(state);
        apic.timer_unit = unit;
        put(LAPIC_LVT_TIMER, 0x70);
        put(LAPIC_DIVIDE, 0); /* by 2 */
        put(LAPIC_INITIAL_COUNT, 10);
        const uint64_t start = tsc, one = 2 * unit;
        assert_int_equal(lapic_deadline(&apic), start + 10 * one);
        for (; tsc < start + 10 * one; tsc += unit)
            assert_int_equal(get(LAPIC_CURRENT_COUNT), 10 - (tsc - start) / one);
        lapic_tick(&apic);
        assert_int_equal(lapic_acknowledge(&apic), 0x70);
        put(LAPIC_EOI, 0);
        put(LAPIC_INITIAL_COUNT, 10);
        tsc += 4 * one;
        put(LAPIC_DIVIDE, 0xb); /* by 1: the 6 counts that are left go twice as fast */
        assert_int_equal(lapic_deadline(&apic), tsc + 6 * unit);
        put(LAPIC_LVT_TIMER, 0x70 | PERIODIC);
        put(LAPIC_INITIAL_COUNT, 7);
        tsc += 7 * unit;
        lapic_tick(&apic);
        assert_int_equal(lapic_acknowledge(&apic), 0x70);
        put(LAPIC_EOI, 0);
        assert_int_equal(lapic_deadline(&apic), tsc + 7 * unit);
        put(LAPIC_LVT_TIMER, 0x70 | DEADLINE);
        lapic_set_tsc_deadline(&apic, tsc + 5);
        assert_int_equal(lapic_deadline(&apic), tsc + 5);
        lapic_reset(&apic);
        assert_int_equal(apic.timer_unit, unit);
    }
}

/* However late lapic_tick() is called, the timer fires once, and keeps its period and phase. */
static void periodic(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x70 | PERIODIC);
    put(LAPIC_DIVIDE, 0); /* by 2 */
    put(LAPIC_INITIAL_COUNT, 50);
    uint64_t start = tsc;
    random_state = 2;
    for (unsigned i = 0, periods = 0; i < 1000; i++) {
        tsc += 1 + random_below(i % 2 ? 40 : 400);
        uint64_t elapsed = tsc - start;
        lapic_tick(&apic);
        assert_int_equal(get(LAPIC_IRR + 3), elapsed / 100 > periods ? BIT(16) : 0);
        assert_int_equal(get(LAPIC_CURRENT_COUNT), (100 - elapsed % 100 + 1) / 2);
        if (elapsed / 100 > periods) { /* while its vector is pending, an expiry has no effect */
            assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
            unsigned calls = timer_calls;
            assert_int_equal(lapic_acknowledge(&apic), 0x70);
            assert_true(timer_calls > calls);
            put(LAPIC_EOI, 0);
        }
        periods = (unsigned)(elapsed / 100);
        assert_int_equal(lapic_deadline(&apic), start + 100 * (periods + 1));
    }
    put(LAPIC_LVT_TIMER, 0x70); /* one-shot from now on: the current count continues */
    tsc = lapic_deadline(&apic);
    lapic_tick(&apic);
    assert_int_equal(lapic_acknowledge(&apic), 0x70);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
}

static void masked_timer(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x70 | MASKED);
    put(LAPIC_DIVIDE, 0xb);
    put(LAPIC_INITIAL_COUNT, 100);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    tsc += 40;
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 60);
    put(LAPIC_DIVIDE, 0); /* by 2; the current count stays */
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 60);
    tsc += 119;
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 1);
    tsc += 1;
    put(LAPIC_LVT_TIMER, 0x70); /* unmasked after the expiry */
    assert_int_equal(lapic_pending(&apic), -1);
    put(LAPIC_INITIAL_COUNT, 5);
    tsc += 10;
    put(LAPIC_LVT_TIMER, 0x70 | MASKED); /* masked after the expiry */
    assert_int_equal(lapic_pending(&apic), 0x70);

    /* An expiry with an illegal vector is an error, for which one exit is due. */
    put(LAPIC_LVT_TIMER, 0x5 | PERIODIC);
    put(LAPIC_INITIAL_COUNT, 5);
    tsc = lapic_deadline(&apic);
    lapic_tick(&apic);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    unsigned calls = timer_calls;
    assert_int_equal(errors(), BIT(6));
    assert_true(timer_calls > calls);
    assert_int_equal(lapic_deadline(&apic), tsc + 10);
}

/* TSC-deadline mode (SDM 3, 11.5.4.1). */
static void tsc_deadline(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x70);
    lapic_set_tsc_deadline(&apic, tsc + 10); /* ignored in another mode */
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    put(LAPIC_INITIAL_COUNT, 100);
    put(LAPIC_LVT_TIMER, 0x70 | DEADLINE); /* disarms */
    assert_int_equal(get(LAPIC_INITIAL_COUNT), 0);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    put(LAPIC_INITIAL_COUNT, 100); /* ignored */
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
    assert_int_equal(get(LAPIC_INITIAL_COUNT), 0);

    uint64_t end = tsc + 50;
    lapic_set_tsc_deadline(&apic, end);
    assert_int_equal(lapic_tsc_deadline(&apic), end);
    assert_int_equal(lapic_deadline(&apic), end);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
    put(LAPIC_DIVIDE, 3); /* has no effect */
    tsc = end - 1;
    lapic_tick(&apic);
    assert_int_equal(lapic_pending(&apic), -1);
    tsc = end;
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    assert_int_equal(lapic_acknowledge(&apic), 0x70);

    put(LAPIC_EOI, 0);
    lapic_set_tsc_deadline(&apic, end); /* in the past: fires at once */
    assert_int_equal(lapic_pending(&apic), 0x70);
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    lapic_acknowledge(&apic);
    lapic_set_tsc_deadline(&apic, tsc + 5);
    lapic_set_tsc_deadline(&apic, 0); /* disarms */
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    lapic_set_tsc_deadline(&apic, tsc + 5);
    put(LAPIC_LVT_TIMER, 0x70 | DEADLINE | PERIODIC); /* reserved: nothing runs */
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    lapic_set_tsc_deadline(&apic, tsc + 5);
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    put(LAPIC_LVT_TIMER, 0x70);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_shot, setup_on),
        cmocka_unit_test_setup(a_slower_clock, setup_on),
        cmocka_unit_test_setup(periodic, setup_on),
        cmocka_unit_test_setup(masked_timer, setup_on),
        cmocka_unit_test_setup(tsc_deadline, setup_on),
    };
    return cmocka_run_group_tests_name("local APIC timer", tests, NULL, NULL);
}
