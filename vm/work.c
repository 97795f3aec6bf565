/* SPDX-License-Identifier: MIT */
#include "vm/work.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "vm/input.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/watch.h"
#include "lib/cpu_local.h"

#include <stddef.h>

static struct {
    struct work *first;
    struct work_counts counts;
} __attribute__((aligned(64))) here[CPUS_MAX];

void work_add(struct work *work)
{
    struct work **link = &here[this_cpu()].first;
    while (*link)
        link = &(*link)->next;
    work->next = NULL;
    *link = work;
    pcpu_set_work(true);
}

void work_add_first(struct work *work)
{
    work->next = here[this_cpu()].first;
    here[this_cpu()].first = work;
    pcpu_set_work(true);
}

/* The first work is finished before the second one begins, unless more urgent work comes. Sleeping
 * vCPUs whose time comes meanwhile are put into the run queue, and wait for the end of the turn. */
void work_turn(void)
{
    struct work_counts *counts = &here[this_cpu()].counts;
    struct work **list = &here[this_cpu()].first;
    uint64_t now = rdtsc(), end = now + SCHED_SLICE_MS * tsc_khz();
    do {
        uint64_t start = now;
        struct work *work = *list;
        bool looks = !work->keeps_keys;
        *list = work->next; /* it may add itself again */
        if (work->piece(work)) {
            work->next = *list;
            *list = work;
        }
        now = rdtsc();
        counts->pieces++;
        if (now - start > counts->longest)
            counts->longest = now - start;
        sleep_wake_due(now);
        if (unlikely(now >= watch_next()) && (looks || input_is_monitored()))
            watch_look(now);
    } while (*list && !(sched_vcpu_waits() && now >= end));
    pcpu_set_work(*list);
}

struct work_counts work_counts(void)
{
    struct work_counts all = {0};
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        const struct work_counts *one = &here[i].counts;
        all.pieces += one->pieces;
        all.longest = one->longest > all.longest ? one->longest : all.longest;
    }
    return all;
}
