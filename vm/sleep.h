/* SPDX-License-Identifier: MIT */
/*
 * Halted vCPUs that have left their pCPU to others. They wait in no run queue, so that nobody looks
 * at them in vain, but in a list of that pCPU: for a message, or for the time of their next event,
 * which the pCPU watches over. One that comes into a queue again goes wherever it is best.
 *
 * No message is lost: who sends writes the message and looks then whether the vCPU sleeps; who goes
 * to sleep says so and looks then for messages (tests/models/halt.pml). Whoever clears
 * vcpu->sched.asleep, alone, takes the vCPU off the list and puts it into a queue.
 */
#pragma once

#include "lib/spinlock.h"
#include "vm/pcpu.h"
#include "vm/vcpu.h"

/* A halted vCPU that is on no pCPU any more goes to sleep on this one. It may run elsewhere, or be
 * gone with its VM, when this returns. */
void sleep_add(struct vcpu *vcpu);

/* Ends the sleep of a vCPU, if nobody else does. */
void sleep_end(struct vcpu *vcpu);

/* After something was written for a vCPU: it looks, at once if it runs or sleeps, else when it
 * runs. */
static inline void sleep_alert(struct vcpu *vcpu)
{
    pcpu_kick_vcpu(vcpu);
    if (unlikely(__atomic_load_n(&vcpu->sched.asleep, __ATOMIC_SEQ_CST)))
        sleep_end(vcpu);
}

/* Those on one pCPU. */
struct sleepers {
    struct spinlock lock;
    struct vcpu *first;
    uint64_t next; /* TSC: when one of them is due, as a complement: 0 is TIME_NEVER */
} __attribute__((aligned(64)));
extern struct sleepers sleepers[CPUS_MAX];

/* TSC: when the first one here is due. It may be gone by then. */
static inline uint64_t sleep_next(void)
{
    return ~__atomic_load_n(&sleepers[this_cpu()].next, __ATOMIC_RELAXED);
}

void sleep_wake(uint64_t now) COLD;

/* Those that are due go into the queues. */
static inline void sleep_wake_due(uint64_t now)
{
    if (unlikely(now >= sleep_next()))
        sleep_wake(now);
}

/* One that sleeps here, or NULL: for a pCPU that has nothing to run, to halt with. */
struct vcpu *sleep_take(void);
