/* SPDX-License-Identifier: MIT */
/*
 * The scheduler. Each pCPU has a run queue of vCPUs that wait for it. A pCPU whose own queue is
 * empty takes a vCPU that is not pinned from another queue. A waiting vCPU is on no pCPU: its VMCS
 * is clear and its state is in memory, so a migration needs nothing else.
 *
 * A halted vCPU keeps its pCPU, which halts with it, while no vCPU waits for that pCPU. Otherwise
 * the halted vCPU gives up the pCPU and sleeps (vm/sleep.h).
 *
 * A vCPU runs without time slices while none waits behind it. Adding a vCPU to a run queue kicks
 * the pCPU, which tests sched_waiting() and begins a slice for the vCPU that runs.
 */
#pragma once

#include "lib/types.h"

#define SCHED_SLICE_MS 10

struct vcpu;

/* The scheduler's data of a vCPU that no pCPU runs. */
struct sched_entry {
    struct vcpu *next; /* in a run queue or a list of sleeping vCPUs; guarded by that list's lock */
    uint32_t asleep;   /* number of the pCPU where it sleeps + 1, else 0; atomic */
    uint64_t wake_at;  /* TSC value of its next event, while it sleeps */
    bool pinned;       /* the vCPU may run on the pCPU `pin` only */
    unsigned pin;
};

/* Adds the vCPU to a run queue: that of the pCPU to which it is pinned, of an idle pCPU, or of the
 * pCPU with the shortest queue. */
void sched_add(struct vcpu *vcpu);

/* Takes the next vCPU for this pCPU, or returns NULL and marks this pCPU as idle: a sched_add() or
 * sched_wake_all() from now on ends its next sched_idle(). */
struct vcpu *sched_take(void);

/* Called when a pCPU that was marked as idle has found a vCPU elsewhere. Wakes another idle pCPU if
 * a vCPU still waits in this pCPU's queue. */
void sched_found(void);

/* Waits until this pCPU is woken; sched_wake_all() wakes all pCPUs. */
void sched_idle(void);
void sched_wake_all(void);

/* Returns true if sched_idle() would not wait. */
bool sched_is_woken(void);

/* Marks this pCPU as idle until sched_busy(), because it is about to halt with its vCPU. Returns
 * false if sched_take() may find another vCPU for it. */
bool sched_halts(void);
void sched_busy(void);

/* Returns true if a vCPU waits in the queue of this pCPU. */
bool sched_vcpu_waits(void);

/* Returns true if a vCPU waits for this pCPU, or if the pCPU has work of its own
 * (pcpu_has_work()). */
bool sched_waiting(void);

/* Returns true if a vCPU waits that this pCPU may run, in its own queue or in another one. */
bool sched_anyone_waits(void);

/* Wakes an idle pCPU, if there is one, to look for a vCPU. */
void sched_wake_one(void);
