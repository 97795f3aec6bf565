/* SPDX-License-Identifier: MIT */
/*
 * The work that a pCPU does between the turns of vCPUs (vm/work.c): it is done in pieces, for at
 * most a slice while a vCPU waits, and a vCPU that runs meanwhile still has a time slice.
 */
#include "tests/unit/support.h"

#include "arch/x86/cpu.h"

#include <string.h>

static uint64_t now_here;
#define rdtsc work_clock
static inline uint64_t work_clock(void)
{
    return now_here;
}

#include "vm/work.c"

#define TICKS_IN_MS 1000u
#define SLICE       (SCHED_SLICE_MS * TICKS_IN_MS)
#define PIECE       3000u

struct sleepers sleepers[CPUS_MAX];

uint64_t watches_due, input_due = ~0ull;
static bool waits, has_work;
static uint64_t woken; /* time of the last call of sleep_wake() */

static struct work *urgent; /* work that a watch adds */

static bool monitored;

bool input_is_monitored(void)
{
    return monitored;
}

void watch_look(uint64_t now)
{
    assert_true(now >= watches_due);
    watches_due = ~0ull;
    if (urgent)
        work_add_first(urgent);
}

uint64_t tsc_khz(void)
{
    return TICKS_IN_MS;
}

bool sched_vcpu_waits(void)
{
    return waits;
}

void pcpu_set_work(bool there_is)
{
    has_work = there_is;
}

void sleep_wake(uint64_t now)
{
    woken = now;
}

static struct job {
    struct work work;
    unsigned left, done;
    struct job *then; /* work that the last piece adds */
} job[3];
static unsigned order[64], pieces;

static bool piece(struct work *work)
{
    struct job *j = (struct job *)work;
    assert_true(has_work); /* mmu_pauses() depends on it */
    now_here += PIECE;
    order[pieces++] = (unsigned)(j - job);
    j->done++;
    if (--j->left)
        return true;
    if (j->then)
        work_add(&j->then->work);
    return false;
}

static int setup(void **state)
{
    (void)state;
    memset(here, 0, sizeof(here));
    memset(job, 0, sizeof(job));
    for (unsigned i = 0; i < CPUS_MAX; i++)
        sleepers[i].next = ~0ull; /* no sleeper: the field holds ~TIME */
    waits = has_work = false;
    pieces = 0;
    now_here = 0;
    urgent = NULL;
    watches_due = ~0ull;
    return 0;
}

static void add(unsigned i, unsigned left)
{
    job[i] = (struct job){.work.piece = piece, .left = left};
    work_add(&job[i].work);
}

/* If no vCPU waits, all work is done in the order in which it was added, including work added
 * meanwhile. */
static void all_of_it(void **state)
{
    (void)state;
    add(0, 10);
    add(1, 2);
    job[0].then = &job[2];
    job[2] = (struct job){.work.piece = piece, .left = 1};
    assert_true(has_work);
    work_turn();
    assert_false(has_work);
    assert_int_equal(pieces, 13);
    for (unsigned i = 0; i < 13; i++)
        assert_int_equal(order[i], i < 10 ? 0 : i < 12 ? 1 : 2);
    struct work_counts counts = work_counts();
    assert_int_equal(counts.pieces, 13);
    assert_int_equal(counts.longest, PIECE);
}

/* If a vCPU waits, work is done for one slice. The rest is done in later turns of the work. */
static void for_a_slice(void **state)
{
    (void)state;
    waits = true;
    add(0, 10);
    work_turn();
    assert_int_equal(now_here, (SLICE + PIECE - 1) / PIECE * PIECE);
    assert_true(has_work);
    unsigned first = job[0].done;
    now_here += 100 * SLICE; /* the vCPU's turn does not count */
    work_turn();
    assert_int_equal(job[0].done, 2 * first);
    assert_true(has_work);
    work_turn();
    assert_int_equal(job[0].done, 10);
    assert_false(has_work);
}

/* Sleepers are woken when they are due, between two pieces. */
static void sleepers_are_woken(void **state)
{
    (void)state;
    sleepers[this_cpu()].next = ~(uint64_t)(2 * PIECE);
    add(0, 3);
    woken = 0;
    work_turn();
    assert_int_equal(woken, 3 * PIECE);
    sleepers[this_cpu()].next = ~(uint64_t)(100 * PIECE);
    add(0, 3);
    woken = 0;
    work_turn();
    assert_int_equal(woken, 0);
}

/* Watches are looked at while work is done, and what a person asks for comes first. */
static void urgent_work_comes_first(void **state)
{
    (void)state;
    add(0, 4);
    add(1, 1);
    job[2] = (struct job){.work.piece = piece, .left = 2};
    urgent = &job[2].work;
    watches_due = 2 * PIECE;
    work_turn();
    assert_true(watches_due == ~0ull);
    static const unsigned expected[] = {0, 0, 2, 2, 0, 0, 1};
    assert_int_equal(pieces, 7);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(order[i], expected[i]);
    assert_false(has_work);
    job[2] = (struct job){.work.piece = piece, .left = 1};
    work_add_first(&job[2].work); /* nothing else to do */
    assert_true(has_work);
    work_turn();
    assert_int_equal(order[7], 2);
}

/* What is typed while a VM is created may be for that VM; but the monitor's keys wait for nothing,
 * and while a VM is taken apart no keys do. */
static void keys_wait_for_a_vm(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        add(0, 2);
        job[0].work.keeps_keys = i & 1;
        monitored = i & 2;
        watches_due = 0;
        work_turn();
        assert_int_equal(watches_due, i == 1 ? 0 : ~0ull);
    }
    monitored = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_of_it, setup),
        cmocka_unit_test_setup(for_a_slice, setup),
        cmocka_unit_test_setup(sleepers_are_woken, setup),
        cmocka_unit_test_setup(urgent_work_comes_first, setup),
        cmocka_unit_test_setup(keys_wait_for_a_vm, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
