#include "guest/sleep.h"

#include "guest/ipi.h"
#include "guest/pcpu.h"
#include "guest/sched.h"
#include "lib/spinlock.h"

static struct beds {
    struct spinlock lock;
    struct vcpu *first;
    uint64_t next; /* TSC: the first of them is due; 0: there is none */
} __attribute__((aligned(64))) beds[CPUS_MAX];

/* Claims the vCPU for whoever asks first: the number of its pCPU and 1 more, or 0. */
static uint32_t claim(struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->asleep, __ATOMIC_SEQ_CST)
               ? __atomic_exchange_n(&vcpu->asleep, 0, __ATOMIC_SEQ_CST)
               : 0;
}

static void set_next(struct beds *here)
{
    uint64_t next = 0;
    for (const struct vcpu *vcpu = here->first; vcpu; vcpu = vcpu->next)
        if (!next || vcpu->wake_at < next)
            next = vcpu->wake_at;
    __atomic_store_n(&here->next, next, __ATOMIC_RELAXED);
}

static void unlink(struct beds *here, struct vcpu *vcpu)
{
    struct vcpu **link = &here->first;
    while (*link != vcpu)
        link = &(*link)->next;
    *link = vcpu->next;
    set_next(here);
}

/* With the lock, nobody else can take it off the list: it stays what it is. */
void sleep_add(struct vcpu *vcpu)
{
    struct beds *here = &beds[this_cpu()];
    vcpu->wake_at = vcpu_next_event(vcpu);
    spin_lock(&here->lock);
    vcpu->next = here->first;
    here->first = vcpu;
    set_next(here);
    __atomic_store_n(&vcpu->asleep, (uint32_t)this_cpu() + 1, __ATOMIC_SEQ_CST);
    bool awake = (ipi_waiting(vcpu) || vm_ending(vcpu->vm) != VM_RUNNING) && claim(vcpu);
    if (awake)
        unlink(here, vcpu);
    spin_unlock(&here->lock);
    if (awake)
        sched_add(vcpu);
}

void sleep_alert(struct vcpu *vcpu)
{
    pcpu_kick_vcpu(vcpu);
    uint32_t pcpu = claim(vcpu);
    if (!pcpu)
        return;
    struct beds *there = &beds[pcpu - 1];
    spin_lock(&there->lock);
    unlink(there, vcpu);
    spin_unlock(&there->lock);
    sched_add(vcpu);
}

/* One that is due by then, and that nobody else wakes. */
static struct vcpu *take(struct beds *here, uint64_t until)
{
    spin_lock(&here->lock);
    struct vcpu *vcpu = here->first;
    while (vcpu && !(vcpu->wake_at <= until && claim(vcpu)))
        vcpu = vcpu->next;
    if (vcpu)
        unlink(here, vcpu);
    spin_unlock(&here->lock);
    return vcpu;
}

uint64_t sleep_next(void)
{
    uint64_t next = __atomic_load_n(&beds[this_cpu()].next, __ATOMIC_RELAXED);
    return next ? next : TIME_NEVER;
}

void sleep_wake_due(uint64_t now)
{
    struct vcpu *vcpu;
    while (now >= sleep_next() && (vcpu = take(&beds[this_cpu()], now)))
        sched_add(vcpu);
}

struct vcpu *sleep_take(void)
{
    return take(&beds[this_cpu()], TIME_NEVER);
}
