/* SPDX-License-Identifier: MIT */
/*
 * Pages that an execution split become large again after nx_recovery_ms= (rule N1), although the
 * guest does nothing that exits. If this is off, nothing becomes large again; if large pages are
 * executable, nothing is split.
 */
#include "guest/programs/rt/rt.h"

#define SLOT   8
#define BASE   0xc0000000ull
#define CODE   (BASE + 7 * RT_PAGE)
#define PERIOD 1000u /* ms, at most for this test */

static void run_code(void)
{
    ((void (*)(void))CODE)();
}

static uint64_t rdtsc_now(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Waits without causing an exit. */
static void spin(uint64_t ticks)
{
    uint64_t start = rdtsc_now();
    while (rdtsc_now() - start < ticks)
        ;
}

static void comes_back(void)
{
    uint64_t period = hc_config(CONFIG_NX_RECOVERY_MS);
    bool on = hc_config(CONFIG_NX_HUGE) && period && period <= PERIOD;
    uint64_t ticks = period * hc_config(CONFIG_TSC_KHZ);

    EXPECT_EQ(hc_slot_add(SLOT, BASE, 1024, 0), 0);
    write32(CODE, 0xc3); /* ret */
    struct watch split = watch(COUNTER_NX_LPAGE_SPLITS), large = watch(COUNTER_PAGES_2M);
    uint64_t recovered = 0;
    for (unsigned round = 0; on && round < 3; round++) {
        run_code();
        EXPECT_EQ(watched(split), 1);
        EXPECT_EQ(watched(large), ~0ull);
        EXPECT_EQ(read32(CODE), 0xc3);
        struct watch exits = watch(COUNTER_EXITS), timer = watch(EXITS_TIMER);
        spin(2 * ticks);
        uint64_t timers = watched(timer), all = watched(exits);
        EXPECT(timers >= 1);
        EXPECT_EQ(all - timers, 3); /* the hypercalls that read the counters */
        EXPECT_EQ(watched(split), 0);
        recovered++;
        (void)read32(CODE);
        EXPECT_EQ(watched(large), 0);
        note("timers", timers);
    }
    run_code();
    EXPECT_EQ(watched(split), hc_config(CONFIG_NX_HUGE));
    note("recovered", recovered);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"comes_back", comes_back, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
