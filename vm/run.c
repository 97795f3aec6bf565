/* SPDX-License-Identifier: MIT */
/* The loop around one vCPU: events in, guest, exit, and the clock that no guest can hold up. */
#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/memory.h"
#include "arch/x86/mitigate.h"
#include "arch/x86/tsc.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/input.h"
#include "vm/ipi.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/vm.h"
#include "lib/trace.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

#define EXITS_UNATTENDED 64u /* in a row, until the clock is looked at */

#define LOOK_AT_CLOCK (ATTENTION_TIMER | ATTENTION_KICK | ATTENTION_MAIL)
#define LEAVE_PCPU    (ATTENTION_ENDED | ATTENTION_STOP | ATTENTION_HALTED)

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
    attention_clear(&vcpu->vmx.attention, ATTENTION_TIMER | ATTENTION_KICK);
    ipi_receive(vcpu);
    deliver_delayed(vcpu, now);
    lapic_tick(&vcpu->lapic);
    recover_large_pages(vcpu->vm, now);
    if (unlikely(now >= READ_ONCE(input_due)))
        input_poll(now, tsc_khz());
    look_at_queue(vcpu, now);
    clock_arm(vcpu, now);
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
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    epoch_offline(this_cpu());
    enter(vcpu);
    epoch_online(this_cpu(), &vcpu->vm->mmu);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
}

/* In a VM with a PC's devices, somebody may type. */
static bool sleeps_for_ever(struct vcpu *vcpu)
{
    bool input = vcpu->vm->words.pc && cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_IF;
    return vcpu->vm->vcpu_count == 1 && vcpu_next_event(vcpu) == TIME_NEVER && !input;
}

/* A halted vCPU waits for what will wake it, and lets others go first. What comes after the last
 * look_at_clock() kicks, and ends the halt. */
static void wait_halted(struct vcpu *vcpu)
{
    struct attention *requests = &vcpu->vmx.attention;
    while (!attention_requested(requests, ATTENTION_ENDED | ATTENTION_STOP)) {
        if (vmx_wakes(&vcpu->vmx)) {
            attention_clear(requests, ATTENTION_HALTED);
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
    while (!attention_requested(&vcpu->vmx.attention, ATTENTION_KICK) && !sched_anyone_waits() &&
           transcript_is_current(vcpu->vm->console.transcript) && transcript_print())
        ;
    vcpu->budget_end += rdtsc() - start;
}

/* A call of this vCPU's that is not over, or what it has left to be done, goes on before the guest
 * does, a piece at a time, and in its own time: the VM's other vCPUs did not ask for it. True: look
 * around, then do another. */
static bool do_piece(struct vcpu *vcpu)
{
    struct attention *requests = &vcpu->vmx.attention;
    struct mmu *mmu = &vcpu->vm->mmu;
    bool more;
    if (likely(!attention_requested(requests, ATTENTION_CHORES)) ||
        attention_requested(requests, LEAVE_PCPU) || rdtsc() >= vcpu->slice_end)
        return false;
    if (vcpu->unfinished) {
        hypercall_go_on(vcpu);
        more = vcpu->unfinished || mmu_has_chores(mmu);
    } else {
        more = mmu_do_chore(mmu) || disks_go_on(vcpu->vm);
    }
    if (!more)
        attention_clear(requests, ATTENTION_CHORES);
    clock_arm(vcpu, rdtsc()); /* the timer stood still meanwhile */
    return more;
}

/* What is due before the guest goes on. False: it does not, or not now. */
static bool attend(struct vcpu *vcpu)
{
    struct attention *requests = &vcpu->vmx.attention;
    if (unlikely(transcript_has_text()))
        print_own(vcpu);
    do {
        uint64_t now = rdtsc();
        if (now >= vcpu->next_event || attention_requested(requests, LOOK_AT_CLOCK))
            look_at_clock(vcpu, now);
        else if (attention_requested(requests, ATTENTION_REARM))
            clock_rearm(vcpu, now);
        if (attention_requested(requests, ATTENTION_HALTED))
            wait_halted(vcpu);
    } while (attention_requested(requests, ATTENTION_KICK) || do_piece(vcpu));
    if (attention_requested(requests, LEAVE_PCPU) || rdtsc() >= vcpu->slice_end)
        return false;
    if (!vmx_deliver(&vcpu->vmx)) {
        vm_end(vcpu->vm, VM_ENDED_TRIPLE_FAULT,
               "triple fault: an exception during the delivery of #DF");
        return false;
    }
    /* For what waits for a window the CPU exits once that is open. */
    attention_clear(requests, ATTENTION_EVENT | ATTENTION_PRINT);
    vcpu->exits_left = EXITS_UNATTENDED;
    if (pass_is_open(vcpu))
        pass_arm(vcpu);
    (void)tlb_enter(&vcpu->vm->mmu, this_cpu());
    pml_follow(vcpu);
    return true;
}

/* The vCPU gets this pCPU. What another pCPU knows of its VPID may be older than what it has done
 * here since; the EPTP's translations are the ledger's business (rule T5). */
static void begin(struct vcpu *vcpu)
{
    epoch_online(this_cpu(), &vcpu->vm->mmu);
    vcpu->place = tlb_place(this_cpu());
    trace_run(vcpu->vm->number, vcpu->index, vcpu->traced);
    memory_pay_from(vcpu->vm->number);
    mitigate_enter_vm(vcpu->vm->number);
    bool migrated = vmx_load(&vcpu->vmx);
    if (migrated)
        tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_MIGRATION);
    if (attention_requested(&vcpu->vmx.attention, ATTENTION_START))
        ipi_start(vcpu);
    const char *refused = extra_state_load(&vcpu->extra);
    if (unlikely(refused))
        vm_end(vcpu->vm, VM_ENDED_ENTRY_FAILED,
               "CPU %u refuses the %s that the guest had on another one; pin the VM with pin=",
               this_cpu(), refused);
    vcpu->budget_end = rdtsc() + vcpu->budget_left;
    vcpu->slice_end = TIME_NEVER;
    attention_request(&vcpu->vmx.attention, ATTENTION_KICK); /* the first look is at everything */
    pcpu_takes(vcpu, migrated);
}

static void end(struct vcpu *vcpu)
{
    uint64_t now = rdtsc();
    if (pass_is_open(vcpu))
        pass_close(vcpu);
    pcpu_drops(vcpu);
    tlb_leave(this_cpu());
    epoch_offline(this_cpu());
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
