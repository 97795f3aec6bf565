/* SPDX-License-Identifier: MIT */
/*
 * The cost of switching between VMs: `make bench-smp` runs this program in two VMs that take turns
 * on one CPU.
 *
 * Both VMs only read the TSC, so they notice when they did not run. The time between the last read
 * of a turn and the first read of the next one consists of two switches and a turn of the other VM,
 * which takes as long as a turn of this one. A turn is longer than the time between its first and
 * its last read by one iteration of the loop; so is the time between two turns.
 *
 * With the argument `beside`, the VM measures nothing, and ends when it is the only one left.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/rt.h"

#define FIRST   30u /* turns after which the other VM exists and all turns take equally long */
#define SAMPLES 100u
#define AWAY    100 /* ticks: more than an iteration, less than an exit with any work */

static uint64_t most_of_slice;

/* Sums of the samples, in ticks. */
static struct {
    uint64_t between, during; /* turns */
    uint64_t iterations, looping;
} sums;

static void add_turn(unsigned turn, uint64_t during, uint64_t between)
{
    if (turn < FIRST || turn >= FIRST + SAMPLES)
        return;
    sums.during += during;
    sums.between += between;
}

/* Runs for the measured turns, and records the end of each turn and the beginning of the next. */
static void take_turns(void)
{
    bool marked = false;
    unsigned turn = 0;
    uint64_t previous = rdtsc(), begin = previous;
    while (turn <= FIRST + SAMPLES) {
        uint64_t now = rdtsc(), gap = now - previous;
        if (gap < AWAY) {
            sums.iterations++;
            sums.looping += gap;
        } else if (gap > most_of_slice) {
            if (marked)
                mark();
            add_turn(turn++, previous - begin, gap);
            begin = now;
        }
        previous = now;
        if (!marked && turn == FIRST + SAMPLES && now - begin > most_of_slice) {
            marked = true;
            mark();
        }
    }
}

static void measure(void)
{
    take_turns();
    mark();
    mark();
    uint64_t iteration = SAMPLES * sums.looping / sums.iterations;
    EXPECT(sums.between > sums.during + 2 * iteration);
    uint64_t two = sums.between - sums.during - 2 * iteration;
    print("# vm_switch: one of 2\n");
    print("BENCH vm_switch %lu ticks\n", (two / 2 + SAMPLES / 2) / SAMPLES);
}

/* Runs until the other VM, which has had turns before, takes none any more. */
static void stay_beside(void)
{
    bool met = false;
    uint64_t previous = rdtsc(), begin = previous;
    while (!met || previous - begin < 10 * most_of_slice) {
        uint64_t now = rdtsc();
        if (now - previous > most_of_slice) {
            met = true;
            begin = now;
        }
        previous = now;
    }
}

void guest_main(void)
{
    static const struct test tests[] = {{"turns", measure, NEED_TESTCTL}};
    static const struct test others[] = {{"beside", stay_beside, NEED_TESTCTL}};

    most_of_slice = hc_config(CONFIG_TSC_KHZ) * 9; /* 90 % of a slice of 10 ms */
    run_tests(*rt_args == 'b' ? others : tests, 1);
}
