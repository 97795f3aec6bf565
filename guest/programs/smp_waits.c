/* SPDX-License-Identifier: MIT */
/*
 * Measures how long one vCPU waits for another that executes long operations (words
 * `testctl,shared=39,vcpus=2`, on two CPUs): the first vCPU changes slots, zaps and touches memory,
 * while the second one converts and walks large ranges all the time. The first vCPU ends the VM in
 * the middle of that: a conversion must not outlive its VM.
 */
#include "guest/programs/rt/sides.h"
#include "guest/programs/rt/smp.h"

#define LARGE       0x100200000ull
#define LARGE_PAGES (8u * 512)
#define SMALL       8
#define SMALL_AT    0x300000000ull
#define ROUNDS      60u
#define BOUND       100000u /* ticks; a change waits several times, each time for one piece */

static volatile unsigned kind; /* kind of operation that the second CPU executes */
static volatile uint64_t done; /* number of operations that the second CPU has completed */

/* Touches the whole range, so that there are pages to clear, to zap and to visit. */
static void touch_large(void)
{
    for (uint64_t i = 0; i < LARGE_PAGES; i++)
        write64(TEST_VA + i * RT_PAGE, 1);
}

static void be_busy(void)
{
    touch_large();
    for (;;) {
        if (kind != 0)
            touch_large();
        if (kind == 0) /* convert the range, and convert it back */
            for (unsigned i = 0; i < 2; i++)
                map_gpa(LARGE | (i ? 0 : shared_bit()), LARGE_PAGES * RT_PAGE);
        else if (kind == 1)
            (void)hc_zap(LARGE, LARGE_PAGES);
        else
            (void)hc_age(LARGE, LARGE_PAGES);
        done++;
    }
}

static uint64_t longest(void (*call)(void))
{
    uint64_t most = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = rdtsc();
        call();
        uint64_t ticks = rdtsc() - start;
        most = ticks > most ? ticks : most;
    }
    return most;
}

static void change(void)
{
    EXPECT_EQ(hc_slot_add(SMALL, SMALL_AT, 1, 0), 0);
    EXPECT_EQ(hc_slot_delete(SMALL), 0);
}

static void zap(void)
{
    EXPECT_EQ(hc_zap(SMALL_AT, 1), 0);
}

static void waits(void)
{
    static const char *const changes[] = {"change_convert", "change_zap", "change_age"};
    static const char *const zaps[] = {"zap_convert", "zap_zap", "zap_age"};
    EXPECT_EQ(hc_slot_add(9, LARGE, LARGE_PAGES, 0), 0);
    for (uint64_t at = 0; at < LARGE_PAGES * RT_PAGE; at += RT_2M)
        map_page(rt_pml4, TEST_VA + at, LARGE + at, PTE_P | PTE_W | PTE_PS);
    EXPECT(start_cpus(1, 1));
    run_on(1, be_busy);
    for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
        kind = i;
        for (uint64_t before = done; done < before + 2;) /* wait until the second CPU is at work */
            pause();
        uint64_t slots = longest(change), tables = longest(zap);
        note(changes[i], slots);
        note(zaps[i], tables);
        EXPECT(slots <= BOUND && tables <= BOUND);
    }
    kind = 0;
    longest(zap);
}

void guest_main(void)
{
    static const struct test tests[] = {{"waits", waits, NEED_TESTCTL}};
    if (shared_bit())
        map_page(rt_pml4, APIC, APIC | shared_bit(), PTE_P | PTE_W);
    apic_write(APIC_REG_SVR, 0x1ff);
    run_tests(tests, ARRAY_SIZE(tests));
}
