/* SPDX-License-Identifier: MIT */
/*
 * The cost of switching a CPU to another vCPU: `make bench-smp` runs this with two busy vCPUs on
 * one CPU, and with three on two CPUs, where each continues on the other CPU after its turn,
 * because the scheduler queues it where no vCPU waits.
 *
 * The vCPUs only read the clock, and so notice when they did not run. Between the last read of one
 * and the first read of the next they lose one iteration of their loop on average, which is
 * subtracted. See smp_bench.c for the meaning of the TSC on several CPUs.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/smp.h"

#define VCPUS_MOST 3u
#define FIRST      6u /* turns until all vCPUs take part */
#define SAMPLES    100u
#define AWAY       100 /* ticks: more than an iteration of the loop, less than an exit */
#define NOBODY     VCPUS_MOST

static volatile uint64_t last[VCPUS_MOST]; /* TSC: when each vCPU was last in the guest */
static volatile uint64_t sum, turns, turn_ticks;
static volatile unsigned switches;
/* the vCPU the end of whose turn tools/bench.py traces */
static volatile unsigned looking = NOBODY;
static uint64_t most_of_slice;

/* Returns the vCPU, other than `self`, whose turn has just ended; all others are in the guest. */
static unsigned before(unsigned self)
{
    unsigned found = self ? 0 : 1;
    for (unsigned i = 0; i < cpus_running; i++)
        if (i != self && last[i] < last[found])
            found = i;
    return found;
}

static bool done(void)
{
    return switches > FIRST + SAMPLES;
}

static void count(unsigned self, uint64_t now)
{
    unsigned other = before(self);
    if (switches >= FIRST + SAMPLES) {
        if (looking == other && !done()) {
            switches++;
            mark();
        }
        return;
    }
    if (switches >= FIRST)
        sum += now - last[other];
    switches++;
}

/* The trace begins shortly before the end of a turn, because nothing happens before that. */
static void look(unsigned self, uint64_t ran)
{
    if (switches == FIRST + SAMPLES && looking == NOBODY && ran > most_of_slice) {
        looking = self;
        mark();
    }
}

static void take_turns(void)
{
    unsigned self = apic_id();
    uint64_t previous = rdtsc(), begin = previous;
    while (!done()) {
        uint64_t now = rdtsc(), gap = now - previous;
        last[self] = now;
        if (gap < AWAY) {
            turns++;
            turn_ticks += gap;
            look(self, now - begin);
        } else if (gap > most_of_slice) {
            count(self, now);
            begin = now;
        }
        previous = now;
    }
}

static void measure(void)
{
    unsigned others = cpu_total() - 1;
    bool migrating = others > 1;
    EXPECT(start_cpus(1, others));
    struct watch invvpids = watch(COUNTER_INVVPID);
    for (unsigned i = 1; i <= others; i++)
        run_on(i, take_turns);
    take_turns();
    for (unsigned i = 1; i <= others; i++)
        EXPECT(finished(i));
    mark();
    mark();
    uint64_t moves = watched(invvpids); /* each migration executes one INVVPID */
    EXPECT(migrating ? moves >= SAMPLES : !moves);
    uint64_t turn = turn_ticks * SAMPLES / turns;
    EXPECT(sum > turn);
    print("BENCH %s %lu ticks\n", migrating ? "vcpu_migrate" : "vcpu_switch",
          (sum - turn + SAMPLES / 2) / SAMPLES);
    note("moves", moves);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"turns", measure, NEED_TESTCTL},
    };

    apic_write(APIC_REG_SVR, 0x1ff);
    most_of_slice = hc_config(CONFIG_TSC_KHZ) * 9; /* 9 of 10 ms */
    run_tests(tests, ARRAY_SIZE(tests));
}
