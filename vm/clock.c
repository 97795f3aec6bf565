/* SPDX-License-Identifier: MIT */
#include "vm/clock.h"

#include "arch/x86/cpu.h"
#include "vm/apicv.h"
#include "vm/sleep.h"
#include "vm/vm.h"
#include "vm/watch.h"
#include "vmx/vmcs.h"

/* Lets the guest run for at most `ticks` TSC ticks, or not at all if a kick is pending. The handler
 * of a kick that comes after this test sets the timer to 0 itself. */
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

/* Deadlines are absolute TSC values, so a guest that has the timer armed again and again does not
 * extend them.
 *
 * The preemption timer does not count outside of the guest, and some CPUs do not save its value at
 * an exit. Therefore rearm_timer() in vm/dispatch.c arms it at each entry if the first deadline is
 * an event of the guest's own, which has to come in time, and on these CPUs in any case. The other
 * deadlines can be missed by as long as the guest did not run. */
void clock_arm(struct vcpu *vcpu, uint64_t now)
{
    uint64_t event = vcpu_next_event(vcpu);
    uint64_t others = earlier_time(vcpu->slice_end, sleep_next());
    uint64_t shared = earlier_time(vcpu->vm->regular_due, watch_next());
    uint64_t rest = earlier_time(earlier_time(others, vcpu->budget_end), shared);
    vcpu->next_event = earlier_time(event, rest);
    if (event < rest || !vmx_has(&vmx.controls, CONTROL_EXIT, EXIT_SAVE_PREEMPTION_TIMER))
        attention_request(&vcpu->vmx.attention, ATTENTION_REARM);
    else
        attention_clear(&vcpu->vmx.attention, ATTENTION_REARM);
    clock_set_timer(vcpu, vcpu->next_event > now ? vcpu->next_event - now : 0);
    apicv_watch_timer(vcpu);
}

void clock_rearm(const struct vcpu *vcpu, uint64_t now)
{
    clock_set_timer(vcpu, vcpu->next_event - now);
}

/* If a deadline has passed, such as the end of the slice, the request makes the vCPU leave the
 * entry loop before it enters the guest again. */
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
    vcpu->inject_at = ticks < ~now ? now + ticks : ~0ull;
    vcpu_set_delayed(vcpu);
    clock_arm(vcpu, now);
}
