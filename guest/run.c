/* The loop around one vCPU: events in, guest, exit, and the clock that no guest can hold up. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/vm.h"
#include "lib/assert.h"
#include "lib/trace.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

#define TIMER_MAX        0xffffffffull
#define EXITS_UNATTENDED 64u /* in a row, until the clock is looked at */

unsigned tlb_this_cpu(void)
{
    return THIS_CPU;
}

/* So there is no other one to be kicked. */
void tlb_kick(unsigned pcpu)
{
    (void)pcpu;
    BUG_ON(true);
}

/* Lets the guest run for at most `ticks` of the TSC before it is left. */
static void arm_timer(uint64_t ticks)
{
    uint64_t value = ticks >> field_get(vmx.msrs.misc, MISC_TIMER_RATE);
    vmwrite(VMCS_PREEMPTION_TIMER_VALUE, value < TIMER_MAX ? value : TIMER_MAX);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Against absolute times, so that a guest that has it armed anew all the time gains nothing. The
 * preemption timer stands still outside the guest, and some CPUs do not keep its value: it is armed
 * at each entry, for an event to come in time. The rest can wait for the next exit. */
static void arm_next(struct vcpu *vcpu, uint64_t now)
{
    uint64_t event = lapic_deadline(&vcpu->lapic);
    if (vcpu->delayed.valid)
        event = earlier(event, vcpu->delayed_until);
    uint64_t rest = earlier(vcpu->budget_end, vcpu->vm->nx_due);
    vcpu->next_event = earlier(event, rest);
    vcpu->arm_at_entry =
        event < rest || !vmx_has(&vmx.controls, CONTROL_EXIT, EXIT_SAVE_PREEMPTION_TIMER);
    vcpu->vmx.attention |= vcpu->arm_at_entry;
    arm_timer(vcpu->next_event > now ? vcpu->next_event - now : 0);
}

void vcpu_arm_timer(struct vcpu *vcpu)
{
    arm_next(vcpu, rdtsc());
}

void vcpu_delay(struct vcpu *vcpu, const struct event *event, uint64_t ticks)
{
    uint64_t now = rdtsc();
    vcpu->delayed = *event;
    vcpu->delayed_until = ticks < ~now ? now + ticks : ~0ull;
    arm_next(vcpu, now);
}

static void deliver_delayed(struct vcpu *vcpu, uint64_t now)
{
    if (vcpu->delayed.valid && now >= vcpu->delayed_until) {
        vcpu_pend(vcpu, &vcpu->delayed);
        vcpu->delayed.valid = false;
    }
}

static void over_budget(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_ENDED_BUDGET,
           "still running after its budget of %lu ms, at RIP %#lx; give it more with budget=",
           vcpu->vm->words.budget, cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

static uint64_t nx_due_after(const struct vm *vm, uint64_t now)
{
    return vm->nx_recovery ? now + vm->nx_recovery * tsc_khz() : ~0ull;
}

/* One vCPU of the VM does it. */
static void recover_large_pages(struct vm *vm, uint64_t now)
{
    uint64_t due = __atomic_load_n(&vm->nx_due, __ATOMIC_RELAXED);
    if (now >= due && __atomic_compare_exchange_n(&vm->nx_due, &due, nx_due_after(vm, now), false,
                                                  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        mmu_nx_recover(&vm->mmu);
}

/* When something is due, or the timer has run out, and whenever the vCPU is halted. */
static void look_at_clock(struct vcpu *vcpu, uint64_t now)
{
    deliver_delayed(vcpu, now);
    lapic_tick(&vcpu->lapic);
    recover_large_pages(vcpu->vm, now);
    arm_next(vcpu, now);
    if (now >= vcpu->budget_end)
        over_budget(vcpu);
}

/* A halted vCPU waits for what will wake it; without any such thing the VM has ended. */
static void wait_halted(struct vcpu *vcpu)
{
    while (vcpu->vm->ending == VM_RUNNING) {
        look_at_clock(vcpu, rdtsc());
        if (vmx_wakes(&vcpu->vmx)) {
            vcpu->halted = false;
            return;
        }
        if (!vcpu->delayed.valid && lapic_deadline(&vcpu->lapic) == LAPIC_NEVER)
            vm_end(
                vcpu->vm, VM_ENDED_HALTED,
                "HLT before RIP %#lx with IF=%u and no event on its way: it would sleep for ever",
                cpu_reg(&vcpu->vmx.regs, REG_RIP),
                !!(cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_IF));
        __asm__ volatile("pause");
    }
}

/* What is due before the guest goes on. False: it does not. */
static bool attend(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    uint64_t now = rdtsc();
    if (now >= vcpu->next_event || vcpu->vmx.exit.reason == REASON_PREEMPTION_TIMER)
        look_at_clock(vcpu, now);
    else if (vcpu->arm_at_entry)
        arm_timer(vcpu->next_event - now);
    if (vcpu->halted)
        wait_halted(vcpu);
    if (vm->ending != VM_RUNNING)
        return false;
    if (!vmx_deliver(&vcpu->vmx)) {
        vm_end(vm, VM_ENDED_TRIPLE_FAULT, "triple fault: an exception during the delivery of #DF");
        return false;
    }
    /* What waits for a window is looked at after every exit, as is a timer armed by each entry. */
    vcpu->vmx.attention = vcpu->vmx.windows || vcpu->arm_at_entry;
    vcpu->exits_left = EXITS_UNATTENDED;
    (void)tlb_enter(&vm->mmu, THIS_CPU);
    pml_follow(vcpu);
    return true;
}

/* Most exits are handled inside vmx_run(), by vmx_exited(). */
void vm_run(struct vm *vm)
{
    struct vcpu *vcpu = &vm->vcpu;

    epoch_online(THIS_CPU);
    trace_run(vm->number, 0, vcpu->traced);
    vcpu->budget_end = rdtsc() + vm->words.budget * tsc_khz();
    vm->nx_due = nx_due_after(vm, rdtsc());
    vmx_load(&vcpu->vmx);
    extra_state_load(&vcpu->extra);
    arm_next(vcpu, rdtsc());
    while (attend(vcpu)) {
        if (vmx_run(&vcpu->vmx))
            vm_end(vm, VM_ENDED_ENTRY_FAILED, "the VM entry failed; the sentences above say why");
    }
    tlb_leave(THIS_CPU);
    epoch_offline(THIS_CPU);
    trace_run(0, 0, NULL);
    extra_state_save(&vcpu->extra);
}
