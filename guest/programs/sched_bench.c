/*
 * What it costs to give a vCPU a pCPU: `make bench-smp` runs this with two vCPUs on one, where they
 * take turns, and with three on two, of which two are busy and one is halted. There each turn ends
 * with a migration, because on the other pCPU is nobody but the halted one.
 *
 * Two vCPUs do nothing but look at the clock, and so see when they were away. On average they lose
 * one turn of their loop to that, which is taken off. See smp_bench.c for what the TSC says on
 * several CPUs.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/smp.h"

#define SAMPLES 100u
#define AWAY    100 /* more than a turn of the loop, less than an exit that does anything */

static volatile uint64_t last[2]; /* when each of the two was in the guest */
static volatile uint64_t sum, turns, turn_ticks;
static volatile unsigned samples;
static volatile bool looking;
static uint64_t most_of_slice;
static bool migrating;

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

/* Which gap in the time of a vCPU is which: it has had to wait for its turn; or it is elsewhere
 * now, and the other one is in the guest; or it was told that somebody waits. */
static void take_turns(unsigned self)
{
    uint64_t before = rdtsc(), begin = before;
    while (samples <= SAMPLES) {
        uint64_t now = rdtsc(), gap = now - before;
        last[self] = now;
        if (gap < AWAY) {
            turns++;
            turn_ticks += gap;
            look(now - begin);
        } else {
            bool waited = gap > most_of_slice;
            if (!migrating && waited)
                count(now - last[!self]);
            else if (migrating && !waited && now < last[!self] + AWAY)
                count(gap);
            begin = now;
        }
        before = now;
    }
}

static void take_second_turns(void)
{
    take_turns(1);
}

static void halt(void)
{
    __asm__ volatile("cli; hlt");
}

static void measure(const char *name)
{
    EXPECT(start_cpus(1, cpu_total() - 1));
    if (migrating)
        run_on(2, halt);
    run_on(1, take_second_turns);
    take_turns(0);
    EXPECT(finished(1));
    mark();
    mark();
    uint64_t turn = turn_ticks * SAMPLES / turns;
    EXPECT(sum > turn);
    print("BENCH %s %lu ticks\n", name, (sum - turn + SAMPLES / 2) / SAMPLES);
}

static void vcpu_switch(void)
{
    measure(migrating ? "vcpu_migrate" : "vcpu_switch");
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"vcpu_switch", vcpu_switch, NEED_TESTCTL},
    };

    write32(APIC + APIC_REG_SVR, 0x1ff);
    migrating = cpu_total() > 2;
    most_of_slice = hc_config(CONFIG_TSC_KHZ) * 9; /* of 10 ms */
    run_tests(tests, ARRAY_SIZE(tests));
}
