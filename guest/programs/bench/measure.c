/* SPDX-License-Identifier: MIT */
/* Implements bench/measure.h. */
#include "guest/programs/bench/measure.h"

#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/td.h"

static uint32_t samples[SAMPLES_MOST];

void nothing(uint64_t at)
{
    (void)at;
}

/* Sorts by insertion: nearly all samples are equal. */
static uint32_t median(unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        uint32_t value = samples[i];
        unsigned at = i;
        for (; at > 0 && samples[at - 1] > value; at--)
            samples[at] = samples[at - 1];
        samples[at] = value;
    }
    return samples[count / 2];
}

/* With poison=1, the hypervisor spends time at each exit on what costs a CPU nothing, so that time
 * is subtracted. The first samples of a measurement read how long it took. */
#define SAMPLES_ASKED 3

static uint64_t poison(void)
{
    return missing_need(NEED_TESTCTL) ? 0 : counter(COUNTER_POISON_TICKS);
}

/* Returns the time for the exit of the hypercall itself; 0 without poison=1. */
static uint64_t poison_of_asking(void)
{
    uint64_t before = poison();
    return before ? poison() - before : 0;
}

uint32_t measure(step_t prepare, step_t run, uint64_t first, uint64_t step, unsigned count)
{
    uint64_t asking = poison_of_asking(), poisoned = 0;
    if (!EXPECT(count > 0 && count <= SAMPLES_MOST))
        return 0;
    for (unsigned i = 0; i < count; i++) {
        bool asks = asking && i < SAMPLES_ASKED;
        prepare(first + i * step);
        if (i + 1 == count)
            mark();
        uint64_t before = asks ? poison() + asking : 0, start = rdtsc();
        run(first + i * step);
        samples[i] = (uint32_t)(rdtsc() - start);
        if (asks)
            poisoned = poison() - before;
        if (i + 1 == count)
            mark();
    }
    return median(count) - (uint32_t)poisoned;
}

void print_row(const char *name, uint32_t ticks, unsigned per)
{
    if (per > 1)
        print("# %s: one of %u\n", name, per);
    print("BENCH %s %u ticks\n", name, ticks / per);
}

void row(const char *name, step_t prepare, step_t run, step_t idle, uint64_t first, uint64_t step,
         unsigned count)
{
    uint32_t gross = measure(prepare, run, first, step, count);
    uint32_t empty = measure(nothing, idle, first, step, count);
    if (rt_is_td || under_eptvisor() ||
        launched()) /* elsewhere, the TSC of an emulator may count anything */
        EXPECT(gross > empty);
    print_row(name, gross > empty ? gross - empty : 0, 1);
}
