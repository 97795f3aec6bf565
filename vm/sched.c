/* SPDX-License-Identifier: MIT */
#include "vm/sched.h"

#include "arch/x86/this_cpu.h"
#include "arch/x86/kick.h"
#include "vm/pcpu.h"
#include "vm/vcpu.h"
#include "lib/spinlock.h"

static struct queue {
    struct spinlock lock;
    struct vcpu *first, *last;
    unsigned length, loose; /* numbers of waiting vCPUs, and of those that are not pinned */
    uint64_t wake;          /* if not 0, cpu_idle() returns */
} __attribute__((aligned(64))) queues[CPUS_MAX];

static uint64_t idle; /* a mask of the pCPUs that found no vCPU when they last searched */

static unsigned queue_length(unsigned pcpu)
{
    return __atomic_load_n(&queues[pcpu].length, __ATOMIC_RELAXED);
}

bool sched_vcpu_waits(void)
{
    return queue_length(this_cpu());
}

bool sched_waiting(void)
{
    return sched_vcpu_waits() || pcpu_has_work();
}

static void queue_count(struct queue *queue, const struct vcpu *vcpu, unsigned by)
{
    __atomic_store_n(&queue->length, queue->length + by, __ATOMIC_RELAXED);
    if (!vcpu->sched.pinned)
        __atomic_store_n(&queue->loose, queue->loose + by, __ATOMIC_RELAXED);
}

static void queue_append(struct queue *queue, struct vcpu *vcpu)
{
    vcpu->sched.next = NULL;
    spin_lock(&queue->lock);
    *(queue->first ? &queue->last->sched.next : &queue->first) = vcpu;
    queue->last = vcpu;
    queue_count(queue, vcpu, 1);
    spin_unlock(&queue->lock);
}

/* Removes and returns the first vCPU that may run on this pCPU, or returns NULL. `own` says that
 * the queue is this pCPU's own, whose pinned vCPUs are pinned to this pCPU. */
static struct vcpu *queue_remove(struct queue *queue, bool own)
{
    struct vcpu *before = NULL, *vcpu;
    spin_lock(&queue->lock);
    for (vcpu = queue->first; vcpu && !own && vcpu->sched.pinned; vcpu = vcpu->sched.next)
        before = vcpu;
    if (vcpu) {
        *(before ? &before->sched.next : &queue->first) = vcpu->sched.next;
        if (queue->last == vcpu)
            queue->last = before;
        queue_count(queue, vcpu, -1u);
    }
    spin_unlock(&queue->lock);
    return vcpu;
}

/* Makes a pCPU look at its queue soon, whether it is in a guest or idle. */
static void pcpu_wake(unsigned pcpu)
{
    __atomic_store_n(&queues[pcpu].wake, 1, __ATOMIC_SEQ_CST);
    pcpu_kick(pcpu);
}

/* Returns an idle pCPU, which it marks as busy, or CPUS_MAX if there is none. */
static unsigned sched_claim_idle(void)
{
    uint64_t found = __atomic_load_n(&idle, __ATOMIC_SEQ_CST);
    while (found) {
        uint64_t bit = found & -found;
        if (__atomic_fetch_and(&idle, ~bit, __ATOMIC_SEQ_CST) & bit)
            return (unsigned)__builtin_ctzll(bit);
        found &= ~bit;
    }
    return CPUS_MAX;
}

static unsigned sched_choose(const struct vcpu *vcpu)
{
    if (vcpu->sched.pinned)
        return vcpu->sched.pin;
    unsigned best = sched_claim_idle();
    if (best != CPUS_MAX)
        return best;
    best = this_cpu();
    for (uint64_t left = pcpus_running(); left; left &= left - 1) {
        unsigned pcpu = (unsigned)__builtin_ctzll(left);
        if (queue_length(pcpu) < queue_length(best))
            best = pcpu;
    }
    return best;
}

/* A pCPU that searches between sched_choose() and queue_append() does not find the vCPU. But it
 * marks itself as idle before it searches, so the later sched_wake_one() finds the mark and wakes
 * it. */
void sched_add(struct vcpu *vcpu)
{
    bool pinned = vcpu->sched.pinned;
    unsigned pcpu = sched_choose(vcpu);
    queue_append(&queues[pcpu], vcpu);
    pcpu_wake(pcpu); /* its SEQ_CST store orders queue_append() before sched_wake_one() */
    if (!pinned)
        sched_wake_one();
}

void sched_wake_one(void)
{
    unsigned pcpu = sched_claim_idle();
    if (pcpu != CPUS_MAX)
        pcpu_wake(pcpu);
}

void sched_found(void)
{
    sched_busy();
    if (sched_waiting())
        sched_wake_one();
}

/* The pCPU marks itself as idle before it searches, so it either finds a vCPU that is added
 * concurrently, or sched_add() sees the mark and wakes it. */
struct vcpu *sched_take(void)
{
    unsigned self = this_cpu();
    __atomic_store_n(&queues[self].wake, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&idle, BIT(self), __ATOMIC_SEQ_CST);
    struct vcpu *vcpu = queue_remove(&queues[self], true);
    for (uint64_t left = pcpus_running(); !vcpu && left; left &= left - 1)
        vcpu = queue_remove(&queues[__builtin_ctzll(left)], false);
    if (vcpu)
        sched_found();
    return vcpu;
}

void sched_busy(void)
{
    __atomic_fetch_and(&idle, ~BIT(this_cpu()), __ATOMIC_SEQ_CST);
}

bool sched_anyone_waits(void)
{
    if (sched_waiting())
        return true;
    for (uint64_t left = pcpus_running(); left; left &= left - 1)
        if (__atomic_load_n(&queues[__builtin_ctzll(left)].loose, __ATOMIC_RELAXED))
            return true;
    return false;
}

bool sched_halts(void)
{
    const struct queue *own = &queues[this_cpu()];
    __atomic_fetch_or(&idle, BIT(this_cpu()), __ATOMIC_SEQ_CST);
    return !__atomic_load_n(&own->wake, __ATOMIC_SEQ_CST) && !sched_anyone_waits();
}

void sched_idle(void)
{
    cpu_idle(&queues[this_cpu()].wake);
}

bool sched_is_woken(void)
{
    return __atomic_load_n(&queues[this_cpu()].wake, __ATOMIC_SEQ_CST);
}

void sched_wake_all(void)
{
    for (uint64_t left = pcpus_running(); left; left &= left - 1)
        pcpu_wake((unsigned)__builtin_ctzll(left));
}
