/* SPDX-License-Identifier: MIT */
#include "vm/clock.h"

#include "arch/x86/cpu.h"
#include "vm/sleep.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* Lets the guest run for at most `ticks` of the TSC before it is left: not at all if a kick has
 * come since the last look at everything. One that comes now sees to that itself. */
static void clock_set_timer(const struct vcpu *vcpu, uint64_t ticks)
{
    vmx_set_timer(ticks);
    if (unlikely(attention_requested(&vcpu->vmx.attention, ATTENTION_KICK)))
        vmwrite(VMCS_PREEMPTION_TIMER_VALUE, 0);
}

static uint64_t earlier_time(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Deadlines are absolute, so a guest that makes the timer be armed all the time gains nothing.
 *
 * The preemption timer stands still outside of the guest, and some CPUs do not keep its value. For
 * an event of the guest's own to come in time, and on these CPUs for all deadlines, the timer is
 * armed at each entry, by rearm_timer() in vm/dispatch.c. The other deadlines can be missed by as
 * long as the guest did not run. */
void clock_arm(struct vcpu *vcpu, uint64_t now)
{
    uint64_t event = vcpu_next_event(vcpu);
    uint64_t others = earlier_time(vcpu->slice_end, sleep_next());
    uint64_t rest = earlier_time(others, earlier_time(vcpu->budget_end, vcpu->vm->nx_due));
    vcpu->next_event = earlier_time(event, rest);
    if (event < rest || !vmx_has(&vmx.controls, CONTROL_EXIT, EXIT_SAVE_PREEMPTION_TIMER))
        attention_request(&vcpu->vmx.attention, ATTENTION_REARM);
    else
        attention_clear(&vcpu->vmx.attention, ATTENTION_REARM);
    clock_set_timer(vcpu, vcpu->next_event > now ? vcpu->next_event - now : 0);
}

void clock_rearm(const struct vcpu *vcpu, uint64_t now)
{
    clock_set_timer(vcpu, vcpu->next_event - now);
}

/* The guest does not go on if its slice is over. */
void vcpu_arm_for_slice(struct vcpu *vcpu)
{
    uint64_t now = rdtsc();
    if (now < vcpu->next_event)
        clock_rearm(vcpu, now);
    else
        attention_request(&vcpu->vmx.attention, ATTENTION_TIMER);
}

void vcpu_delay(struct vcpu *vcpu, const struct event *event, uint64_t ticks)
{
    uint64_t now = rdtsc();
    vcpu->delayed = *event;
    vcpu->delayed_until = ticks < ~now ? now + ticks : ~0ull;
    clock_arm(vcpu, now);
}
