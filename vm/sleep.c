/* SPDX-License-Identifier: MIT */
#include "vm/sleep.h"

#include "arch/x86/this_cpu.h"
#include "vm/pause.h"
#include "vm/sched.h"

#define MESSAGES (ATTENTION_MAIL | ATTENTION_ENDED | ATTENTION_VISIT)

struct sleepers sleepers[CPUS_MAX];

/* Claims a sleeping vCPU; only the first caller succeeds. Returns the number of its pCPU + 1, or 0
 * if it does not sleep or is claimed already. */
static uint32_t sleeper_claim(struct vcpu *vcpu)
{
    return __atomic_exchange_n(&vcpu->sched.asleep, 0, __ATOMIC_SEQ_CST);
}

static void sleepers_set_next(struct sleepers *here)
{
    uint64_t next = TIME_NEVER;
    for (const struct vcpu *vcpu = here->first; vcpu; vcpu = vcpu->sched.next)
        if (vcpu->sched.wake_at < next)
            next = vcpu->sched.wake_at;
    __atomic_store_n(&here->next, ~next, __ATOMIC_RELAXED);
}

static void sleeper_unlink(struct sleepers *here, struct vcpu *vcpu)
{
    struct vcpu **link = &here->first;
    while (*link != vcpu)
        link = &(*link)->sched.next;
    *link = vcpu->sched.next;
    sleepers_set_next(here);
}

/* While this function holds the lock, another CPU may claim the vCPU, but cannot take it off the
 * list. */
void sleep_add(struct vcpu *vcpu)
{
    struct sleepers *here = &sleepers[this_cpu()];
    bool paused = attention_requested(&vcpu->vmx.attention, ATTENTION_PAUSE);
    vcpu->sched.wake_at = paused ? TIME_NEVER : vcpu_next_event(vcpu);
    spin_lock(&here->lock);
    vcpu->sched.next = here->first;
    here->first = vcpu;
    sleepers_set_next(here);
    __atomic_store_n(&vcpu->sched.asleep, this_cpu() + 1, __ATOMIC_SEQ_CST);
    bool message = attention_requested(&vcpu->vmx.attention, MESSAGES) || pause_changed(vcpu);
    bool awake = message && sleeper_claim(vcpu);
    if (awake)
        sleeper_unlink(here, vcpu);
    spin_unlock(&here->lock);
    if (awake)
        sched_add(vcpu);
}

void sleep_end(struct vcpu *vcpu)
{
    uint32_t pcpu = sleeper_claim(vcpu);
    if (!pcpu)
        return;
    struct sleepers *there = &sleepers[pcpu - 1];
    spin_lock(&there->lock);
    sleeper_unlink(there, vcpu);
    spin_unlock(&there->lock);
    sched_add(vcpu);
}

static bool sleeper_is_due(const struct vcpu *vcpu, uint64_t until)
{
    return vcpu->sched.wake_at <= until &&
           !attention_requested(&vcpu->vmx.attention, ATTENTION_PAUSE);
}

/* Claims a vCPU that is due by `until` and not paused, and takes it off the list. Returns NULL if
 * there is none. */
static struct vcpu *sleeper_take(struct sleepers *here, uint64_t until)
{
    spin_lock(&here->lock);
    struct vcpu *vcpu = here->first;
    while (vcpu && !(sleeper_is_due(vcpu, until) && sleeper_claim(vcpu)))
        vcpu = vcpu->sched.next;
    if (vcpu)
        sleeper_unlink(here, vcpu);
    spin_unlock(&here->lock);
    return vcpu;
}

void sleep_wake(uint64_t now)
{
    struct vcpu *vcpu;
    while ((vcpu = sleeper_take(&sleepers[this_cpu()], now)))
        sched_add(vcpu);
}

struct vcpu *sleep_take(void)
{
    struct vcpu *vcpu = sleeper_take(&sleepers[this_cpu()], TIME_NEVER);
    if (vcpu)
        sched_found();
    return vcpu;
}
