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
    unsigned length, loose; /* of those, any pCPU may take so many */
    uint64_t wake;          /* what cpu_idle() looks at */
} __attribute__((aligned(64))) queues[CPUS_MAX];

static uint64_t idle; /* pCPUs that found nothing when they looked last */

static unsigned waiting(unsigned pcpu)
{
    return __atomic_load_n(&queues[pcpu].length, __ATOMIC_RELAXED);
}

bool sched_vcpu_waits(void)
{
    return waiting(this_cpu());
}

bool sched_waiting(void)
{
    return sched_vcpu_waits() || pcpu_has_work();
}

static void count(struct queue *queue, const struct vcpu *vcpu, unsigned by)
{
    __atomic_store_n(&queue->length, queue->length + by, __ATOMIC_RELAXED);
    if (!vcpu->sched.pinned)
        __atomic_store_n(&queue->loose, queue->loose + by, __ATOMIC_RELAXED);
}

static void append(struct queue *queue, struct vcpu *vcpu)
{
    vcpu->sched.next = NULL;
    spin_lock(&queue->lock);
    *(queue->first ? &queue->last->sched.next : &queue->first) = vcpu;
    queue->last = vcpu;
    count(queue, vcpu, 1);
    spin_unlock(&queue->lock);
}

/* The first one that may run on this pCPU. */
static struct vcpu *remove(struct queue *queue, bool own)
{
    struct vcpu *before = NULL, *vcpu;
    spin_lock(&queue->lock);
    for (vcpu = queue->first; vcpu && !own && vcpu->sched.pinned; vcpu = vcpu->sched.next)
        before = vcpu;
    if (vcpu) {
        *(before ? &before->sched.next : &queue->first) = vcpu->sched.next;
        if (queue->last == vcpu)
            queue->last = before;
        count(queue, vcpu, -1u);
    }
    spin_unlock(&queue->lock);
    return vcpu;
}

/* In the guest or idle, it looks at its queue soon. */
static void wake(unsigned pcpu)
{
    __atomic_store_n(&queues[pcpu].wake, 1, __ATOMIC_SEQ_CST);
    pcpu_kick(pcpu);
}

/* An idle pCPU, which is so no longer, or CPUS_MAX. */
static unsigned claim_idle(void)
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

static unsigned choose(const struct vcpu *vcpu)
{
    if (vcpu->sched.pinned)
        return vcpu->sched.pin;
    unsigned best = claim_idle();
    if (best != CPUS_MAX)
        return best;
    best = this_cpu();
    for (uint64_t left = pcpus_running(); left; left &= left - 1) {
        unsigned pcpu = (unsigned)__builtin_ctzll(left);
        if (waiting(pcpu) < waiting(best))
            best = pcpu;
    }
    return best;
}

/* A pCPU that has become idle between the choice and append() has looked into the queue in vain. It
 * said so before, and is found by a look that comes after. */
void sched_add(struct vcpu *vcpu)
{
    bool pinned = vcpu->sched.pinned;
    unsigned pcpu = choose(vcpu);
    append(&queues[pcpu], vcpu);
    wake(pcpu); /* orders the two */
    if (!pinned)
        sched_wake_one();
}

void sched_wake_one(void)
{
    unsigned pcpu = claim_idle();
    if (pcpu != CPUS_MAX)
        wake(pcpu);
}

void sched_found(void)
{
    sched_busy();
    if (sched_waiting())
        sched_wake_one();
}

/* First "I am idle", then the look: whoever adds afterwards sees it, and what was added before is
 * found. */
struct vcpu *sched_take(void)
{
    unsigned self = this_cpu();
    __atomic_store_n(&queues[self].wake, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&idle, BIT(self), __ATOMIC_SEQ_CST);
    struct vcpu *vcpu = remove(&queues[self], true);
    for (uint64_t left = pcpus_running(); !vcpu && left; left &= left - 1)
        vcpu = remove(&queues[__builtin_ctzll(left)], false);
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

void sched_wake_all(void)
{
    for (uint64_t left = pcpus_running(); left; left &= left - 1)
        wake((unsigned)__builtin_ctzll(left));
}
