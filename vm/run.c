/* SPDX-License-Identifier: MIT */
/* The loop that runs one vCPU: it handles the requests of vmx/attention.h, delivers events, and
 * enters the guest. A guest cannot delay the clock. */
#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/memory.h"
#include "arch/x86/mitigate.h"
#include "arch/x86/tsc.h"
#include "vm/apicv.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/ipi.h"
#include "vm/legacy_timer.h"
#include "vm/pause.h"
#include "vm/pcpu.h"
#include "vm/regular.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/trace.h"
#include "vm/triple_fault.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vm/watch.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/trace_export.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

#define EXITS_UNATTENDED 64u /* exits in a row before the clock is read */

#define LOOK_AT_CLOCK (ATTENTION_TIMER | ATTENTION_KICK | ATTENTION_MAIL)
#define LEAVE_PCPU \
    (ATTENTION_ENDED | ATTENTION_STOP | ATTENTION_HALTED | ATTENTION_SHUTDOWN | ATTENTION_PAUSE)
#define NOT_HALTED \
    (ATTENTION_ENDED | ATTENTION_STOP | ATTENTION_CHORES | ATTENTION_VISIT | ATTENTION_PAUSE)

static COLD void deliver_delayed(struct vcpu *vcpu, uint64_t now)
{
    if (now >= vcpu->inject_at) {
        vcpu->inject_at = TIME_NEVER;
        vcpu_pend(vcpu, &vcpu->delayed);
    }
    if (now >= vcpu->pit_at)
        legacy_timer_look(vcpu);
    vcpu_set_delayed(vcpu);
}

static const char *what_it_does(struct vcpu *vcpu)
{
    return attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED) ? "halted" : "running";
}

static void over_budget(struct vcpu *vcpu)
{
    vcpu_end(vcpu, VM_ENDED_BUDGET,
             "still %s after its budget of %lu ms, at RIP %#lx; give it more with budget=, up to "
             "%u",
             what_it_does(vcpu), vcpu->vm->words.budget, cpu_reg(&vcpu->vmx.regs, REG_RIP),
             BUDGET_MAX_MS);
}

/* Called before the state of a vCPU is saved. If the VM has run for too long, any of its vCPUs may
 * be the one that hangs. */
static void say_where_it_was(struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    if (vm_ending(vm) == VM_ENDED_BUDGET && vm->vcpu_count > 1)
        log_info("# %s: vCPU %u was %s at RIP %#lx", vm->name, vcpu->index, what_it_does(vcpu),
                 vmread(VMCS_GUEST_RIP));
}

/* Wakes the sleeping vCPUs that are due. The slice of the vCPU that runs here begins when something
 * starts to wait for this pCPU, and is unlimited while nothing waits. */
static void look_at_queue(struct vcpu *vcpu, uint64_t now)
{
    sleep_wake_due(now);
    if (!sched_waiting())
        vcpu->slice_end = TIME_NEVER;
    else if (vcpu->slice_end == TIME_NEVER)
        vcpu->slice_end = now + SCHED_SLICE_MS * tsc_khz();
}

/* Called when the selection of trace events may have changed for this vCPU. */
static NOINLINE void follow_trace(struct vcpu *vcpu)
{
    vcpu->trace_changes = READ_ONCE(trace_changes);
    vcpu->vmx.exits_traced = trace_selected(vcpu->vm->number) & TRACE_EXIT_EVENTS;
    vmx_update_extra_work(&vcpu->vmx);
}

/* Called when a deadline has passed, the timer has expired or a kick has arrived, and for a halted
 * vCPU. */
static void look_at_clock(struct vcpu *vcpu, uint64_t now)
{
    attention_clear(&vcpu->vmx.attention, ATTENTION_TIMER | ATTENTION_KICK);
    if (unlikely(vcpu->trace_changes != READ_ONCE(trace_changes)))
        follow_trace(vcpu);
    ipi_receive(vcpu);
    if (unlikely(now >= vcpu->frames_at)) {
        units_receive(vcpu);
        ipi_receive(vcpu); /* the interrupts of the devices */
    }
    if (unlikely(now >= vcpu->delayed_until))
        deliver_delayed(vcpu, now);
    lapic_tick(&vcpu->lapic);
    regular_look(vcpu, now);
    if (unlikely(now >= watch_next()))
        watch_look(now);
    look_at_queue(vcpu, now);
    clock_arm(vcpu, now);
    if (now >= vcpu->budget_end)
        over_budget(vcpu);
}

static ALWAYS_INLINE void run_enter(struct vcpu *vcpu)
{
    trace(entry, vcpu_traced_rip(vcpu),
          attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED));
    if (vmx_run(&vcpu->vmx))
        vcpu_end(vcpu, VM_ENDED_ENTRY_FAILED,
                 "the VM entry at RIP %#lx failed: " PLEASE_REPORT "the messages above",
                 vmread(VMCS_GUEST_RIP));
}

/* Halts the CPU by entering the guest in the HLT activity state. Everything that may wake the guest
 * causes an exit before the guest executes an instruction: a kick, the preemption timer, an
 * interrupt of the host. A kick that arrives just before the entry sets the timer to 0, as for a
 * running guest (vm/pcpu.h). A halted guest uses no translation and no pointer, so the pCPU leaves
 * its epoch, and no other CPU waits for it. Without the state, which a CPU may lack, the caller
 * looks again and again (rule N142). */
static void halt_cpu(struct vcpu *vcpu)
{
    pcpu_halts();
    epoch_offline(this_cpu());
    if (likely(vmx.msrs.misc & MISC_HLT_STATE)) {
        vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
        run_enter(vcpu);
        vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
    } else {
        cpu_relax();
    }
    epoch_online(this_cpu(), &vcpu->vm->mmu);
}

static bool interrupts_wake(struct vcpu *vcpu)
{
    return vcpu->vmx.wakes_masked || cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_IF;
}

/* While the CPU delivers the APIC's interrupts, vmx_wakes() does not know of them. */
static bool halt_ends(struct vcpu *vcpu)
{
    bool by_cpu = vcpu->vmx.apicv.on && lapic_pending(&vcpu->lapic) >= 0;
    return vmx_wakes(&vcpu->vmx) || (by_cpu && interrupts_wake(vcpu));
}

bool vcpu_wakes(struct vcpu *vcpu)
{
    if (!halt_ends(vcpu))
        return false;
    attention_clear(&vcpu->vmx.attention, ATTENTION_HALTED);
    return true;
}

/* Returns true if no event can end the halt of the VM's only vCPU. If the VM has a PC's devices and
 * an interrupt ends the halt, input on the serial port can end it. */
static bool sleeps_for_ever(struct vcpu *vcpu)
{
    bool input = vcpu->vm->words.pc && interrupts_wake(vcpu);
    return vcpu->vm->vcpu_count == 1 && vcpu_next_event(vcpu) == TIME_NEVER && !input;
}

/* Uses the time of a halted vCPU for what waits to leave the machine. Returns false if nothing
 * does. */
static bool serves_machine(void)
{
    return (transcript_has_text() && transcript_print()) ||
           (unlikely(trace_exports()) && trace_send_piece());
}

/* Halts the pCPU until its vCPU wakes up or gets work, unless another vCPU can use the pCPU. A
 * message that arrives after the last look_at_clock() is followed by a kick, which ends the
 * halt. */
static void wait_halted(struct vcpu *vcpu)
{
    struct attention *requests = &vcpu->vmx.attention;
    while (!attention_requested(requests, NOT_HALTED)) {
        if (vcpu_wakes(vcpu))
            return;
        if (sleeps_for_ever(vcpu)) {
            bool on = cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_IF;
            vcpu_end(
                vcpu, VM_ENDED_HALTED,
                "HLT before RIP %#lx with IF=%u and no event pending: it would sleep for ever; "
                "%s",
                cpu_reg(&vcpu->vmx.regs, REG_RIP), on,
                interrupts_wake(vcpu)
                    ? "it waits for a timer that is not armed, or for a device that does not exist"
                    : "its last output may say why it has stopped");
            return;
        }
        if (!sched_halts())
            return;
        if (!serves_machine())
            halt_cpu(vcpu);
        sched_busy();
        look_at_clock(vcpu, rdtsc());
    }
}

/* Prints text of the vCPU's own VM, if its transcript is the current one, until a kick arrives or a
 * vCPU waits for a pCPU. The time is not charged to the guest's budget, which is for its
 * instructions and not for the speed of the console: the text that a guest can write is bounded
 * (vm/transcript.h). */
static void run_print_own(struct vcpu *vcpu)
{
    uint64_t start = rdtsc();
    while (!attention_requested(&vcpu->vmx.attention, ATTENTION_KICK) && !sched_anyone_waits() &&
           transcript_is_current(vcpu->vm->console.transcript) && transcript_print())
        ;
    vcpu->budget_end += rdtsc() - start;
}

/* Executes a piece of the vCPU's unfinished hypercall, or of the work that its hypercalls have left
 * (a chore). The work is done before the guest continues, and in the time of the vCPU that asked
 * for it. Returns true if work remains: the caller handles requests first, then calls again. */
static bool run_piece(struct vcpu *vcpu)
{
    struct attention *requests = &vcpu->vmx.attention;
    struct mmu *mmu = &vcpu->vm->mmu;
    bool more;
    if (likely(!attention_requested(requests, ATTENTION_CHORES)) ||
        attention_requested(requests, ATTENTION_ENDED | ATTENTION_STOP) ||
        rdtsc() >= vcpu->slice_end)
        return false;
    epoch_pass(this_cpu(), epoch_now()); /* no pointer is kept from one piece to the next */
    if (vcpu->unfinished) {
        hypercall_go_on(vcpu);
        more = vcpu->unfinished || mmu_has_chores(mmu);
    } else {
        more = mmu_do_chore(mmu) || units_go_on(vcpu->vm);
    }
    if (!more)
        attention_clear(requests, ATTENTION_CHORES);
    clock_arm(vcpu, rdtsc()); /* the preemption timer does not count outside of the guest */
    return more;
}

/* Receives visits. Returns true if the vCPU is paused. If it was, the debugger may want something
 * else of it than when the turn began. */
static COLD bool run_is_held(struct vcpu *vcpu)
{
    if (attention_requested(&vcpu->vmx.attention, ATTENTION_VISIT))
        visit_receive(vcpu);
    if (pause_holds(vcpu))
        return true;
    if (vcpu->vm->debugger) {
        debugger_end(vcpu);
        debugger_begin(vcpu);
    }
    return false;
}

/* Handles all requests, and prepares the entry. Returns false if the vCPU leaves its pCPU instead
 * of entering the guest. */
static bool run_attend(struct vcpu *vcpu)
{
    struct attention *requests = &vcpu->vmx.attention;
    if (unlikely(attention_requested(requests, ATTENTION_STEP)))
        debugger_step_exited(vcpu);
    if (unlikely(transcript_has_text()))
        run_print_own(vcpu);
    do {
        uint64_t now = rdtsc();
        if (now >= vcpu->next_event || attention_requested(requests, LOOK_AT_CLOCK))
            look_at_clock(vcpu, now);
        else if (attention_requested(requests, ATTENTION_REARM))
            clock_rearm(vcpu, now);
        bool held = unlikely(attention_requested(requests, ATTENTION_VISIT | ATTENTION_PAUSE)) &&
                    run_is_held(vcpu);
        if (!held && attention_requested(requests, ATTENTION_HALTED))
            wait_halted(vcpu);
    } while (attention_requested(requests, ATTENTION_KICK | ATTENTION_VISIT) || run_piece(vcpu));
    if (attention_requested(requests, LEAVE_PCPU) || rdtsc() >= vcpu->slice_end)
        return false;
    bool steps = attention_requested(requests, ATTENTION_STEP);
    if (unlikely(steps) && !debugger_step_prepare(vcpu))
        return false;
    if (unlikely(vcpu->vmx.apicv.changed))
        apicv_sync(vcpu);
    if (!vmx_deliver(&vcpu->vmx)) {
        attention_request(requests, ATTENTION_SHUTDOWN);
        return false;
    }
    /* An event that must wait needs no request: vmx_deliver() has enabled its window exiting. */
    attention_clear(requests, ATTENTION_EVENT | ATTENTION_PRINT);
    vcpu->exits_left = EXITS_UNATTENDED;
    if (pass_is_open(vcpu))
        pass_arm(vcpu);
    if (unlikely(steps))
        debugger_step_arm(vcpu);
    (void)tlb_enter(&vcpu->vm->mmu, this_cpu());
    pml_follow(vcpu);
    return true;
}

/* Begins the vCPU's turn on this pCPU. If its last turn was on another pCPU, this pCPU may have
 * stale translations of its VPID, which are flushed here. The flush ledger takes care of the
 * translations of its EPTP (rule T5). */
static void run_begin(struct vcpu *vcpu)
{
    epoch_online(this_cpu(), &vcpu->vm->mmu);
    vcpu->place = tlb_place(this_cpu());
    trace_run(vcpu->vm->number, vcpu->index, vcpu->traced);
    trace(turn, true);
    memory_pay_from(vcpu->vm->number);
    mitigate_enter_vm(vcpu->vm->number);
    bool migrated = vmx_load(&vcpu->vmx);
    if (migrated)
        tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_MIGRATION);
    if (attention_requested(&vcpu->vmx.attention, ATTENTION_START))
        ipi_start(vcpu);
    const char *refused = extra_state_load(&vcpu->extra);
    if (unlikely(refused))
        vcpu_end(vcpu, VM_ENDED_ENTRY_FAILED,
                 "CPU %u refuses the %s that the guest had on another one; pin the VM with pin=",
                 this_cpu(), refused);
    if (unlikely(vcpu->vm->debugger))
        debugger_begin(vcpu);
    vcpu->budget_end = rdtsc() + vcpu->budget_left;
    vcpu->slice_end = TIME_NEVER;
    attention_request(&vcpu->vmx.attention, ATTENTION_KICK); /* begin with look_at_clock() */
    pcpu_takes(vcpu, migrated);
}

static void run_end(struct vcpu *vcpu)
{
    uint64_t now = rdtsc();
    if (pass_is_open(vcpu))
        pass_close(vcpu);
    if (unlikely(vcpu->vm->debugger))
        debugger_end(vcpu);
    pcpu_drops(vcpu);
    tlb_leave(this_cpu());
    epoch_offline(this_cpu());
    vcpu->budget_left = vcpu->budget_end > now ? vcpu->budget_end - now : 0;
    trace(turn, false);
    trace_run(0, 0, NULL);
    extra_state_save(&vcpu->extra);
    vmx_unload(&vcpu->vmx);
}

/* Most exits are handled inside of vmx_run(), by vmx_exited(). */
void vcpu_run(struct vcpu *vcpu)
{
    run_begin(vcpu);
    while (run_attend(vcpu))
        run_enter(vcpu);
    if (attention_requested(&vcpu->vmx.attention, ATTENTION_SHUTDOWN))
        triple_fault_end(vcpu);
    say_where_it_was(vcpu);
    run_end(vcpu);
}
