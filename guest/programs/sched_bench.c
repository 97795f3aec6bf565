/*
 * What it costs to give a vCPU a pCPU: `make bench-smp` runs this with two vCPUs on one, and with
 * three on two. There each turn begins with a migration: who has had its slice goes to the other
 * pCPU, where nobody waits.
 *
 * All vCPUs do nothing but look at the clock, and so see when they were away. On average they lose
 * one turn of their loop to that, which is taken off. See smp_bench.c for what the TSC says on
 * several CPUs.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/smp.h"

#define SAMPLES 100u
#define AWAY    100 /* more than a turn of the loop, less than an exit that does anything */

static volatile uint64_t last[CPUS_MAX]; /* when each vCPU was in the guest */
static volatile uint64_t sum, turns, turn_ticks;
static volatile unsigned samples;
static volatile bool looking;
static uint64_t most_of_slice;

/* tools/bench.py looks into one more. */
static void count(uint64_t ticks)
{
    if (samples < SAMPLES) {
        sum += ticks;
        samples++;
    } else if (looking && samples == SAMPLES) {
        samples++;
        mark();
    }
}

/* Not from the beginning of its slice, in which nothing happens. */
static void look(uint64_t ran)
{
    if (samples == SAMPLES && !looking && ran > most_of_slice) {
        looking = true;
        mark();
    }
}

/* The last instruction of the vCPU that has left. Of the others, all but that one run. */
static uint64_t left(unsigned self)
{
    uint64_t oldest = ~0ull;
    for (unsigned i = 0; i < cpu_total(); i++)
        if (i != self && last[i] < oldest)
            oldest = last[i];
    return oldest;
}

/* A short gap in the time of a vCPU: it was told that somebody waits; a long one: it has waited
 * itself. */
static void take_turns(void)
{
    unsigned self = apic_id();
    uint64_t before = rdtsc(), begin = before;
    while (samples <= SAMPLES) {
        uint64_t now = rdtsc(), gap = now - before;
        last[self] = now;
        if (gap < AWAY) {
            turns++;
            turn_ticks += gap;
            look(now - begin);
        } else {
            if (gap > most_of_slice)
                count(now - left(self));
            begin = now;
        }
        before = now;
    }
}

static void measure(const char *name)
{
    EXPECT(start_cpus(1, cpu_total() - 1));
    for (unsigned i = 1; i < cpu_total(); i++)
        run_on(i, take_turns);
    take_turns();
    for (unsigned i = 1; i < cpu_total(); i++)
        EXPECT(finished(i));
    mark();
    mark();
    uint64_t turn = turn_ticks * SAMPLES / turns;
    EXPECT(sum > turn);
    print("BENCH %s %lu ticks\n", name, (sum - turn + SAMPLES / 2) / SAMPLES);
}

static void vcpu_switch(void)
{
    measure(cpu_total() > 2 ? "vcpu_migrate" : "vcpu_switch");
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"vcpu_switch", vcpu_switch, NEED_TESTCTL},
    };

    write32(APIC + APIC_REG_SVR, 0x1ff);
    most_of_slice = hc_config(CONFIG_TSC_KHZ) * 9; /* of 10 ms */
    run_tests(tests, ARRAY_SIZE(tests));
}
