/* SPDX-License-Identifier: MIT */
/*
 * Which vCPU runs where. Each pCPU has a queue of vCPUs that wait for it; whoever finds its own
 * empty takes one from another queue, unless that vCPU is pinned. A vCPU that waits is on no pCPU:
 * its VMCS is clear and its state in memory, so taking it is all there is to a migration.
 *
 * A vCPU that has halted keeps its pCPU, which halts, while nobody waits for that; otherwise it
 * leaves, and sleeps (vm/sleep.h).
 *
 * A vCPU that nobody waits behind runs on without slices. Whoever adds one kicks the pCPU, which
 * looks (sched_waiting()) and gives the running one a slice of its own.
 */
#pragma once

#include "lib/types.h"

#define SCHED_SLICE_MS 10

struct vcpu;

/* What the scheduler keeps of a vCPU that runs nowhere. */
struct sched_entry {
    struct vcpu *next; /* in a run queue, or asleep; under that list's lock */
    uint32_t asleep;   /* number of the pCPU where it sleeps + 1, else 0; atomic */
    uint64_t wake_at;  /* TSC: its next event, while it sleeps */
    bool pinned;       /* to the pCPU `pin` */
    unsigned pin;
};

/* Lets the vCPU wait: for the pCPU it is pinned to, an idle one, or the one with fewest waiting. */
void sched_add(struct vcpu *vcpu);

/* The next one for this pCPU, or NULL: then this pCPU is idle, and whoever adds something or calls
 * sched_wake_all() from now on ends its next sched_idle(). */
struct vcpu *sched_take(void);

/* A pCPU that was idle has found something else to run. What waits in its queue could run on a pCPU
 * that still is. */
void sched_found(void);
void sched_idle(void);
void sched_wake_all(void);

/* This pCPU is about to halt with its vCPU, and is as good as idle, until sched_busy(). False:
 * sched_take() may find something else to do. */
bool sched_halts(void);
void sched_busy(void);

/* Does any vCPU wait for this pCPU? */
bool sched_vcpu_waits(void);

/* Or is there work of its own (pcpu_has_work())? */
bool sched_waiting(void);

/* Or for any pCPU, and could have this one? */
bool sched_anyone_waits(void);

/* Lets an idle pCPU look for something to do. */
void sched_wake_one(void);
