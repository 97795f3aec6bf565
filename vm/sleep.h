/* SPDX-License-Identifier: MIT */
/*
 * Halted vCPUs that have given up their pCPU to others, and paused ones. They are in no run queue,
 * where they would be looked at in vain. Instead, each pCPU has a list of vCPUs that sleep there
 * until they get a message or their next event is due, for which the pCPU watches. Then sched_add()
 * chooses the run queue that suits the vCPU best.
 *
 * No message is lost. A sender writes the message and then tests whether the vCPU sleeps; a vCPU
 * that goes to sleep sets vcpu->sched.asleep and then tests for messages (tests/models/halt.pml).
 * Only the CPU that clears vcpu->sched.asleep takes the vCPU off the list and puts it into a run
 * queue.
 */
#pragma once

#include "lib/spinlock.h"
#include "vm/pcpu.h"
#include "vm/vcpu.h"

/* Puts a halted or paused vCPU, which no pCPU runs any more, to sleep on this pCPU. When this
 * returns, the vCPU may run elsewhere, or may have been destroyed with its VM. */
void sleep_add(struct vcpu *vcpu);

/* Wakes a sleeping vCPU, unless another CPU wakes it. */
void sleep_end(struct vcpu *vcpu);

/* Called after a message was written for a vCPU. If the vCPU runs or sleeps, it sees the message
 * soon, otherwise when it runs next. */
static inline void sleep_alert(struct vcpu *vcpu)
{
    pcpu_kick_vcpu(vcpu);
    if (unlikely(__atomic_load_n(&vcpu->sched.asleep, __ATOMIC_SEQ_CST)))
        sleep_end(vcpu);
}

/* The vCPUs that sleep on one pCPU. */
struct sleepers {
    struct spinlock lock;
    struct vcpu *first;
    uint64_t next; /* TSC: when the first one is due, complemented: 0 is TIME_NEVER */
} __attribute__((aligned(64)));
extern struct sleepers sleepers[CPUS_MAX];

/* TSC: when the first vCPU that sleeps on this pCPU is due. Another CPU may already have woken
 * it. */
static inline uint64_t sleep_next(void)
{
    return ~__atomic_load_n(&sleepers[this_cpu()].next, __ATOMIC_RELAXED);
}

void sleep_wake(uint64_t now) COLD;

/* Puts the vCPUs that are due into run queues. */
static inline void sleep_wake_due(uint64_t now)
{
    if (unlikely(now >= sleep_next()))
        sleep_wake(now);
}

/* Takes a vCPU that sleeps on this pCPU and is not paused off the list, or returns NULL. A pCPU
 * that has nothing to run halts with this vCPU. */
struct vcpu *sleep_take(void);
