/* SPDX-License-Identifier: MIT */
/*
 * Does its work next to other VMs and checks that they do not affect it: memory keeps its contents,
 * a device answers, time advances. It also reports the longest time for which it did not run.
 */
#include "guest/programs/rt/rt.h"

#define PAGES  64u
#define ROUNDS 40u

static uint64_t memory[PAGES][RT_PAGE / 8] __attribute__((aligned(4096)));
static uint64_t last, longest;

static void look_at_time(void)
{
    uint64_t now = rdtsc();
    if (last && now - last > longest)
        longest = now - last;
    last = now;
}

static void memory_keeps(void)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < PAGES; i++)
            for (uint64_t j = 0; j < RT_PAGE / 8; j++)
                memory[i][j] = round << 32 | i << 16 | j;
        look_at_time();
        uint64_t wrong = 0;
        for (uint64_t i = 0; i < PAGES; i++)
            for (uint64_t j = 0; j < RT_PAGE / 8; j++)
                wrong += memory[i][j] != (round << 32 | i << 16 | j);
        look_at_time();
        EXPECT_EQ(wrong, 0);
    }
}

static void devices_answer(void)
{
    volatile uint32_t *device = (volatile uint32_t *)TESTDEV_A_BASE;
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        device[4] = i;
        wrong += device[4] != i;
        look_at_time();
    }
    EXPECT_EQ(wrong, 0);
}

static void time_goes_on(void)
{
    EXPECT(longest > 0);
    note("longest_wait", longest);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"memory_keeps", memory_keeps, 0},
        {"devices_answer", devices_answer, NEED_TESTCTL},
        {"time_goes_on", time_goes_on, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
