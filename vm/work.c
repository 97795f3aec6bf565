/* SPDX-License-Identifier: MIT */
#include "vm/work.h"

#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/tsc.h"
#include "vm/sched.h"
#include "vm/sleep.h"

#include <stddef.h>

static struct work *first[CPUS_MAX];

void work_add(struct work *work)
{
    struct work **link = &first[this_cpu()];
    while (*link)
        link = &(*link)->next;
    work->next = NULL;
    *link = work;
    sched_set_work(true);
}

/* One after the other. Sleepers that are due meanwhile wait for their turn. */
bool work_turn(void)
{
    struct work **list = &first[this_cpu()];
    if (!*list)
        return false;
    uint64_t now = rdtsc(), end = now + SCHED_SLICE_MS * tsc_khz();
    do {
        struct work *work = *list;
        *list = work->next; /* it may add itself again */
        if (work->piece(work)) {
            work->next = *list;
            *list = work;
        }
        now = rdtsc();
        sleep_wake_due(now);
    } while (*list && !(sched_vcpu_waits() && now >= end));
    sched_set_work(*list);
    return true;
}
