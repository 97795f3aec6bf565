/* The loop around one vCPU: events in, guest, exit, and the clock that no guest can hold up. */
#include "arch/x86/cpu.h"
#include "arch/x86/memory.h"
#include "arch/x86/mitigate.h"
#include "arch/x86/tsc.h"
#include "vm/exits.h"
#include "vm/ipi.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/vm.h"
#include "lib/trace.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

#define EXITS_UNATTENDED 64u /* in a row, until the clock is looked at */

/* Lets the guest run for at most `ticks` of the TSC before it is left: not at all if a kick has
 * come since the last look at everything. One that comes now sees to that itself. */
static void arm_timer(const struct vcpu *vcpu, uint64_t ticks)
{
    vmx_set_timer(ticks);
    if (unlikely(READ_ONCE(vcpu->kicked)))
        vmwrite(VMCS_PREEMPTION_TIMER_VALUE, 0);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t vcpu_next_event(const struct vcpu *vcpu)
{
    uint64_t timer = lapic_deadline(&vcpu->lapic);
    return vcpu->delayed.valid ? earlier(timer, vcpu->delayed_until) : timer;
}

/* Against absolute times, so that a guest that has it armed anew all the time gains nothing. The
 * preemption timer stands still outside the guest, and some CPUs do not keep its value. So for an
 * event of the guest's own to come in time, and on these CPUs for everything, it is armed at each
 * entry: rearm_timer() in vm/dispatch.c does that. The rest can be late by as long as the guest
 * did not run. */
static void arm_next(struct vcpu *vcpu, uint64_t now)
{
    uint64_t event = vcpu_next_event(vcpu);
    uint64_t others = earlier(vcpu->slice_end, sleep_next());
    uint64_t rest = earlier(others, earlier(vcpu->budget_end, vcpu->vm->nx_due));
    vcpu->next_event = earlier(event, rest);
    vcpu->arm_at_entry =
        event < rest || !vmx_has(&vmx.controls, CONTROL_EXIT, EXIT_SAVE_PREEMPTION_TIMER);
    if (vcpu->arm_at_entry)
        vcpu->exits_left = 1;
    arm_timer(vcpu, vcpu->next_event > now ? vcpu->next_event - now : 0);
}

void vcpu_arm_timer(struct vcpu *vcpu)
{
    arm_next(vcpu, rdtsc());
}

/* The guest does not go on if its slice is over. */
void vcpu_arm_for_slice(struct vcpu *vcpu)
{
    uint64_t now = rdtsc();
    if (now < vcpu->next_event)
        arm_timer(vcpu, vcpu->next_event - now);
    else
        vcpu->exits_left = 1;
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

/* A slice begins when somebody waits for this pCPU, and ends when nobody does. */
static void look_at_queue(struct vcpu *vcpu, uint64_t now)
{
    sleep_wake_due(now);
    if (!sched_waiting())
        vcpu->slice_end = TIME_NEVER;
    else if (vcpu->slice_end == TIME_NEVER)
        vcpu->slice_end = now + SCHED_SLICE_MS * tsc_khz();
}

/* When something is due, the timer has run out or a kick has come, and whenever the vCPU is
 * halted. */
static void look_at_clock(struct vcpu *vcpu, uint64_t now)
{
    vcpu->kicked = false;
    ipi_receive(vcpu);
    deliver_delayed(vcpu, now);
    lapic_tick(&vcpu->lapic);
    recover_large_pages(vcpu->vm, now);
    look_at_queue(vcpu, now);
    arm_next(vcpu, now);
    if (now >= vcpu->budget_end)
        over_budget(vcpu);
}

static void enter(struct vcpu *vcpu)
{
    if (vmx_run(&vcpu->vmx))
        vm_end(vcpu->vm, VM_ENDED_ENTRY_FAILED, "the VM entry failed; the sentences above say why");
}

/* Lets the CPU itself halt, in the guest's HLT state: no instruction of the guest is executed until
 * something comes that exits, which is all that may wake the guest: a kick, the preemption timer,
 * an interrupt of the host's. The kick that comes before the entry is the same race as with a guest
 * that runs, and is settled by the same means: its handler sets the timer to 0 (vm/pcpu.h). A
 * guest that does not run holds no translation and no pointer, so nobody waits for this pCPU. */
static void halt_cpu(struct vcpu *vcpu)
{
    pcpu_halts();
    vcpu->vmx.attention = true; /* back to here, whatever the exit */
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    epoch_offline((unsigned)THIS_CPU);
    enter(vcpu);
    epoch_online((unsigned)THIS_CPU, &vcpu->vm->mmu);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
}

static bool sleeps_for_ever(const struct vcpu *vcpu)
{
    return vcpu->vm->vcpu_count == 1 && vcpu_next_event(vcpu) == TIME_NEVER;
}

/* A halted vCPU waits for what will wake it, and lets others go first. What comes after the last
 * look_at_clock() kicks, and ends the halt. */
static void wait_halted(struct vcpu *vcpu)
{
    while (vm_ending(vcpu->vm) == VM_RUNNING && !vcpu->stopping) {
        if (vmx_wakes(&vcpu->vmx)) {
            vcpu->halted = false;
            return;
        }
        if (sleeps_for_ever(vcpu)) {
            vm_end(
                vcpu->vm, VM_ENDED_HALTED,
                "HLT before RIP %#lx with IF=%u and no event on its way: it would sleep for ever",
                cpu_reg(&vcpu->vmx.regs, REG_RIP),
                !!(cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_IF));
            return;
        }
        if (!sched_halts())
            return;
        halt_cpu(vcpu);
        sched_busy();
        look_at_clock(vcpu, rdtsc());
    }
}

/* Prints what the VM has written, if it is its turn, until something else is to be done here. The
 * guest pays for its instructions and not for the speed of the console: what it can write is
 * bounded (vm/transcript.h). */
static void print_own(struct vcpu *vcpu)
{
    uint64_t start = rdtsc();
    while (!READ_ONCE(vcpu->kicked) && !sched_anyone_waits() &&
           transcript_is_current(vcpu->vm->console.transcript) && transcript_print())
        ;
    vcpu->budget_end += rdtsc() - start;
}

/* What a call of this vCPU's has left to be done is done before it goes on, a piece at a time, and
 * in its own time: the VM's other vCPUs did not ask for it. True: look around, then do another. */
static bool do_chore(struct vcpu *vcpu)
{
    if (likely(!vcpu->has_chores) || vm_ending(vcpu->vm) != VM_RUNNING ||
        rdtsc() >= vcpu->slice_end)
        return false;
    vcpu->has_chores = mmu_do_chore(&vcpu->vm->mmu);
    return vcpu->has_chores;
}

/* What is due before the guest goes on. False: it does not, or not now. */
static bool attend(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    if (unlikely(transcript_has_text()))
        print_own(vcpu);
    do {
        uint64_t now = rdtsc();
        if (now >= vcpu->next_event || vcpu->vmx.exit.reason == REASON_PREEMPTION_TIMER ||
            vcpu->kicked)
            look_at_clock(vcpu, now);
        else if (vcpu->arm_at_entry)
            arm_timer(vcpu, vcpu->next_event - now);
        if (vcpu->halted)
            wait_halted(vcpu);
    } while (READ_ONCE(vcpu->kicked) || do_chore(vcpu));
    if (vm_ending(vm) != VM_RUNNING || vcpu->stopping || vcpu->halted || rdtsc() >= vcpu->slice_end)
        return false;
    if (!vmx_deliver(&vcpu->vmx)) {
        vm_end(vm, VM_ENDED_TRIPLE_FAULT, "triple fault: an exception during the delivery of #DF");
        return false;
    }
    /* For what waits for a window the CPU exits once that is open. */
    vcpu->vmx.attention = false;
    vcpu->exits_left = vcpu->arm_at_entry ? 1 : EXITS_UNATTENDED;
    if (pass_is_open(&vcpu->pass))
        pass_arm(vcpu);
    (void)tlb_enter(&vm->mmu, THIS_CPU);
    pml_follow(vcpu);
    return true;
}

/* The vCPU gets this pCPU. What another pCPU knows of its VPID may be older than what it has done
 * here since; the EPTP's translations are the ledger's business (rule T5). */
static void begin(struct vcpu *vcpu)
{
    epoch_online((unsigned)THIS_CPU, &vcpu->vm->mmu);
    vcpu->place = tlb_place(THIS_CPU);
    trace_run(vcpu->vm->number, vcpu->index, vcpu->traced);
    memory_pay_from(vcpu->vm->number);
    mitigate_enter_vm(vcpu->vm->number);
    bool migrated = vmx_load(&vcpu->vmx);
    if (migrated)
        tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_MIGRATION);
    if (vcpu->starting)
        ipi_start(vcpu);
    const char *refused = extra_state_load(&vcpu->extra);
    if (unlikely(refused))
        vm_end(vcpu->vm, VM_ENDED_ENTRY_FAILED,
               "CPU %lu refuses the %s that the guest had on another one; pin the VM with pin=",
               THIS_CPU, refused);
    vcpu->budget_end = rdtsc() + vcpu->budget_left;
    vcpu->slice_end = TIME_NEVER;
    vcpu->kicked = true; /* the first look is at everything */
    pcpu_takes(vcpu, migrated);
}

static void end(struct vcpu *vcpu)
{
    uint64_t now = rdtsc();
    if (pass_is_open(&vcpu->pass))
        pass_close(vcpu);
    pcpu_drops(vcpu);
    tlb_leave(THIS_CPU);
    epoch_offline((unsigned)THIS_CPU);
    vcpu->budget_left = vcpu->budget_end > now ? vcpu->budget_end - now : 0;
    trace_run(0, 0, NULL);
    extra_state_save(&vcpu->extra);
    vmx_unload(&vcpu->vmx);
}

/* Most exits are handled inside vmx_run(), by vmx_exited(). */
void vcpu_run(struct vcpu *vcpu)
{
    begin(vcpu);
    while (attend(vcpu))
        enter(vcpu);
    end(vcpu);
}
