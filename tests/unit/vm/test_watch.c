/* SPDX-License-Identifier: MIT */
/*
 * Who looks at the watches while no pCPU has a vCPU (vm/watch.c): one pCPU alone, the others halt,
 * and another one takes over when the first one has something else to do. tests/models/sentry.pml
 * has the interleavings.
 */
#include "tests/unit/support.h"

#include "arch/x86/unprivileged.h"

#include <string.h>

static uint64_t now_here;
#define rdtsc() (now_here++)

#include "vm/watch.c"

uint64_t input_due = TIME_NEVER;
static bool vcpu_somewhere, woken;
static unsigned halts[4], wakes, looks;
static bool vcpu_leaves; /* the other pCPU loses its vCPU between two looks at it */

bool pcpus_have_vcpu(void)
{
    bool there_is = vcpu_somewhere;
    if (vcpu_leaves)
        vcpu_somewhere = false;
    return there_is;
}

void sched_idle(void)
{
    halts[this_cpu()]++;
}

bool sched_is_woken(void)
{
    return woken;
}

void sched_busy(void)
{
    wakes += 100; /* before sched_wake_one(), which would find this pCPU otherwise */
}

void sched_wake_one(void)
{
    assert_int_equal(sentry, 0);
    wakes++;
}

void input_poll(uint64_t now, uint64_t ticks_per_ms)
{
    (void)now, (void)ticks_per_ms;
    fail();
}

uint64_t tsc_khz(void)
{
    return 1000;
}

void transcript_notify(void)
{
}

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

static uint64_t look(uint64_t now)
{
    looks++;
    return now + 500;
}

static struct watch one = {.look = look};

static void idle_on(unsigned cpu)
{
    support_cpu = cpu;
    watch_idle();
}

static int setup(void **state)
{
    (void)state;
    first = NULL;
    sentry = 0;
    watches_due = TIME_NEVER;
    vcpu_somewhere = vcpu_leaves = woken = false;
    looks = wakes = 0;
    memset(halts, 0, sizeof(halts));
    watch_add(&one);
    return 0;
}

static void one_looks_and_the_others_halt(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        for (unsigned cpu = 0; cpu < 4; cpu++)
            idle_on((cpu + 2) % 4);
    assert_int_equal(looks, 5);
    assert_int_equal(halts[2], 0);
    assert_true(halts[0] == 5 && halts[1] == 5 && halts[3] == 5);
}

static void nobody_looks_in_vain(void **state)
{
    (void)state;
    vcpu_somewhere = true; /* its pCPU looks */
    idle_on(0);
    assert_int_equal(halts[0], 1);
    vcpu_somewhere = false;
    idle_on(0);
    vcpu_somewhere = true;
    idle_on(0);
    assert_int_equal(halts[0], 2);
    assert_int_equal(sentry, 0);
    setup(NULL);
    watches_due = TIME_NEVER;
    idle_on(0);
    assert_int_equal(halts[0] + looks, 1);
}

/* The vCPU's pCPU has found the duty taken, and halts: the sentry sees that it is still needed. */
static void the_last_vcpu_leaves_meanwhile(void **state)
{
    (void)state;
    idle_on(0);
    vcpu_somewhere = vcpu_leaves = true;
    idle_on(0);
    assert_int_equal(looks, 2);
    assert_int_equal(halts[0], 0);
    assert_int_equal(sentry, 1);
}

static void a_relief(void **state)
{
    (void)state;
    idle_on(1);
    support_cpu = 0;
    watch_leave(); /* it is not the sentry */
    assert_int_equal(wakes, 0);
    support_cpu = 1;
    watch_leave();
    assert_int_equal(wakes, 101);
    idle_on(3);
    idle_on(1);
    assert_int_equal(looks, 2);
    assert_int_equal(halts[1], 1);
}

/* Any pCPU can make a watch due, and wake the sentry. */
static void no_wait_is_too_long(void **state)
{
    (void)state;
    idle_on(0);
    uint64_t before = now_here;
    watch_soon(&one);
    idle_on(0);
    assert_true(looks == 2 && now_here < before + 10);
    woken = true;
    idle_on(0);
    assert_true(looks == 2 && now_here < before + 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_looks_and_the_others_halt, setup),
        cmocka_unit_test_setup(nobody_looks_in_vain, setup),
        cmocka_unit_test_setup(the_last_vcpu_leaves_meanwhile, setup),
        cmocka_unit_test_setup(a_relief, setup),
        cmocka_unit_test_setup(no_wait_is_too_long, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
