/* SPDX-License-Identifier: MIT */
/* Calls the handler of each exit reason. The entry loop calls vmx_exited() after every exit. */
#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/guarded.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/mitigate.h"
#include "guest/abi.h"
#include "vm/apicv.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/features.h"
#include "vm/refused.h"
#include "vm/td.h"
#include "vm/ve.h"
#include "vm/vm.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "mmio/fetch.h"
#include "mmio/flow.h"
#include "mmio/doorbell.h"
#include "mmio/known.h"
#include "mmio/replay.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

static COLD void exit_unhandled(struct vcpu *vcpu)
{
    vcpu_end(vcpu, VM_ENDED_UNHANDLED_EXIT,
             "exit reason %u (%s) at RIP %#lx has no handler: " PLEASE_REPORT "this line",
             vcpu->vmx.exit.reason, exit_reason_name(vcpu->vmx.exit.reason),
             cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

/* All interrupts of the machine are masked (arch/x86/interrupts.h). If one arrives nevertheless,
 * its exit has acknowledged it; where the CPU lacks that control, it is delivered here. */
static COLD void exit_host_interrupt(void)
{
    static bool said;
    if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_warn("CPU %u: an interrupt of the machine has interrupted a guest, although all are "
                 "masked; it is ignored, and so are further ones",
                 this_cpu());
    __asm__ volatile("sti; nop; cli");
}

COLD void vmx_machine_check(struct vmx_vcpu *half)
{
    const struct vcpu *vcpu = vcpu_of(half);
    bool entered = !(half->exit.reason & EXIT_REASON_ENTRY_FAILED);
    char where[128];
    snprintf(where, sizeof(where), "%s vCPU %u of guest %s at RIP %#lx",
             entered ? "in" : "at the entry of", vcpu->index, vcpu->vm->name,
             vmread(VMCS_GUEST_RIP));
    machine_check_end(where);
}

static COLD void exit_exception_or_nmi(struct vcpu *vcpu)
{
    if (vmx_take_host_event(&vcpu->vmx))
        return;
    vcpu->exceptions++;
    if (unlikely(vcpu->vm->debugger) && debugger_exception(vcpu))
        return;
    if (!vmx_reflect_exception(&vcpu->vmx))
        exit_unhandled(vcpu); /* the exception bitmap has no other vectors */
}

/* The guest accesses its own debug registers, not those of a debugger. */
static COLD void exit_debug_register(struct vcpu *vcpu)
{
    bool debugged = vcpu->vm->debugger;
    if (debugged)
        debugger_yield(vcpu);
    exit_mov_dr(vcpu);
    if (debugged)
        debugger_take(vcpu);
}

static COLD void exit_triple_fault(struct vcpu *vcpu)
{
    attention_request(&vcpu->vmx.attention, ATTENTION_SHUTDOWN);
}

static COLD void exit_hlt(struct vcpu *vcpu)
{
    vmx_skip_instruction(&vcpu->vmx);
    attention_request(&vcpu->vmx.attention, ATTENTION_HALTED);
}

/* Called first after exits that an instruction does not cause by itself, because they may have
 * interrupted the delivery of an event. */
static ALWAYS_INLINE void may_have_cut_short(struct vcpu *vcpu, uint32_t reason)
{
    if (unlikely(vmx_cut_short(&vcpu->vmx, reason)))
        exit_requeue(vcpu);
}

static bool was_delivering(const struct vcpu *vcpu)
{
    return vcpu->vmx.exit.idt_vectoring & EVENT_INFO_VALID;
}

/* Reads the exit's fields again, so that the common case need not keep them during mmu_fault(). */
static COLD void ept_violation_slow(struct vcpu *vcpu, int result, const struct mmio_info *info)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    (void)vmx_cut_short(&vcpu->vmx, REASON_EPT_VIOLATION); /* fills vmx.exit; the event is queued */
    uint32_t error_code = exit_violation_error_code(vmx_exit_qualification(exit));
    mmio_act_on(vcpu, mmio_not_mapped(&vcpu->mmio, vmx_exit_gpa(exit), error_code,
                                      was_delivering(vcpu), result, info));
    if (unlikely(vcpu->vm->debugger) && result == FAULT_WRITE_PROTECTED)
        debugger_written(vcpu);
}

static NOINLINE void ept_violation(struct vcpu *vcpu)
{
    struct mmio_info info;
    uint64_t qualification =
        vmx_exit_field(REASON_EPT_VIOLATION, DEFINES_QUALIFICATION, VMCS_EXIT_QUALIFICATION);
    if (unlikely(vmx_was_delivering() || qualification & QUALIFICATION_NMI_UNBLOCKED))
        may_have_cut_short(vcpu, REASON_EPT_VIOLATION);
    gpa_t gpa = GPA(vmx_exit_field(REASON_EPT_VIOLATION, DEFINES_GPA, VMCS_GUEST_PHYSICAL_ADDRESS));
    int result = mmu_fault(vcpu->mmio.mmu, gpa, exit_violation_error_code(qualification), &info);
    if (unlikely(!mmio_is_mapped(result)))
        ept_violation_slow(vcpu, result, &info);
    vcpu_end_of_slice(vcpu);
}

static COLD void ept_misconfiguration_slow(struct vcpu *vcpu)
{
    may_have_cut_short(vcpu, REASON_EPT_MISCONFIGURATION);
    enum mmio_outcome outcome =
        mmio_misconfig(&vcpu->mmio, vmx_exit_gpa(&vcpu->vmx.exit), was_delivering(vcpu));
    mmio_act_on(vcpu, outcome);
    /* An EPT misconfiguration has no exit qualification, so it is unknown whether an IRET had
     * already ended the blocking of NMIs. Blocking NMIs again does no harm, because this IRET is
     * the next instruction to be executed. */
    if (outcome != MMIO_DONE && outcome != MMIO_INJECT && !was_delivering(vcpu) &&
        mmio_at_iret(&vcpu->mmio))
        vmx_iret_again(&vcpu->vmx);
    vcpu_end_of_slice(vcpu);
}

static ALWAYS_INLINE void complete_access(struct mmio_vcpu *mmio, uint64_t next, uint64_t rflags)
{
    (void)mmio;
    vmx_complete(next, rflags);
}

static NOINLINE void repeated_access(struct vcpu *vcpu, struct replay *replay, uint64_t rflags)
{
    if (!mmio_replay_move(&vcpu->mmio, replay, rflags, complete_access, NULL))
        ept_misconfiguration_slow(vcpu);
}

/* An access for which no replay entry holds. */
static NOINLINE void other_access(struct vcpu *vcpu, gpa_t gpa)
{
    if (vmx_in_interrupt_shadow() || !mmio_known_move(&vcpu->mmio, gpa, TARGET_UNKNOWN))
        ept_misconfiguration_slow(vcpu);
}

static NOINLINE void ept_misconfiguration(struct vcpu *vcpu)
{
    struct mmio_vcpu *mmio = &vcpu->mmio;
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    if (unlikely(vmx_was_delivering())) { /* no instruction made the access */
        ept_misconfiguration_slow(vcpu);
        return;
    }
    gpa_t gpa =
        GPA(vmx_exit_field(REASON_EPT_MISCONFIGURATION, DEFINES_GPA, VMCS_GUEST_PHYSICAL_ADDRESS));
    uint64_t rip = vmread_always(VMCS_GUEST_RIP), cr3 = vmread_always(VMCS_GUEST_CR3);
    uint64_t rflags = vmread_always(VMCS_GUEST_RFLAGS);
    uint64_t cs_rights = vmread_always(VMCS_GUEST_CS_ACCESS_RIGHTS);
    uint64_t mode = cpu_mode(cpu, rflags, cs_rights);
    IN_REGISTER(mode);
    struct replay *replay = mmio_replay_find(mmio, rip, gpa, cr3, mode);
    if (unlikely(!replay || vmx_in_interrupt_shadow())) {
        cpu_know_usual(cpu, rip, rflags, cr3, cs_rights);
        other_access(vcpu, gpa);
    } else if (!(replay->flags & REPLAY_BELL)) {
        repeated_access(vcpu, replay, rflags);
    } else if (!mmio_replay_bell(mmio, replay, rflags, complete_access)) {
        other_access(vcpu, gpa);
    }
}

/* XCR0 must be valid by the rules that the hypervisor knows, and by those of this CPU, which may
 * know more. */
static COLD void exit_xsetbv(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint64_t value = gpr[GPR_RDX] << 32 | (gpr[GPR_RAX] & 0xffffffff);
    if ((uint32_t)gpr[GPR_RCX] != 0 || cpu_cpl(&vcpu->vmx.regs) != 0 ||
        !features_xcr0_valid(value) || !xsetbv_safe(value)) {
        access_refuse(vcpu, "XSETBV of %#lx to XCR%u", value, (uint32_t)gpr[GPR_RCX]);
        return;
    }
    vcpu->extra.xcr0 = value; /* the CPU has loaded it already; CPUID needs this copy */
    cpuid_update(vcpu);
    vmx_skip_instruction(&vcpu->vmx);
}

bool exit_was_incidental(struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    struct mmio_info info;
    switch (exit->reason) {
    case REASON_EXCEPTION_OR_NMI:
        return vmx_take_host_event(&vcpu->vmx);
    case REASON_EXTERNAL_INTERRUPT:
        exit_host_interrupt();
        return true;
    case REASON_PREEMPTION_TIMER:
    case REASON_PML_FULL:
        return true;
    case REASON_EPT_VIOLATION:
        return mmio_is_mapped(mmu_fault(vcpu->mmio.mmu, vmx_exit_gpa(exit),
                                        exit_violation_error_code(vmx_exit_qualification(exit)),
                                        &info));
    default:
        return false;
    }
}

static NOINLINE void handle_any(struct vcpu *vcpu)
{
    uint32_t reason = vcpu->vmx.exit.reason;
    may_have_cut_short(vcpu, reason);
    switch (reason) {
    case REASON_EXCEPTION_OR_NMI:
        return exit_exception_or_nmi(vcpu);
    case REASON_EXTERNAL_INTERRUPT:
        return exit_host_interrupt();
    case REASON_PREEMPTION_TIMER:
        attention_request(&vcpu->vmx.attention, ATTENTION_TIMER);
        return;
    case REASON_INTERRUPT_WINDOW:
    case REASON_NMI_WINDOW:
        attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
        return;
    case REASON_CR_ACCESS:
        return exit_cr_access(vcpu);
    case REASON_MOV_DR:
        return exit_debug_register(vcpu);
    case REASON_INVLPG:
        return exit_invlpg(vcpu);
    case REASON_INVPCID:
        return exit_invpcid(vcpu);
    case REASON_XSETBV:
        return exit_xsetbv(vcpu);
    case REASON_HLT:
        return exit_hlt(vcpu);
    case REASON_PML_FULL: /* the log is emptied at every exit */
        return;
    case REASON_INVD: /* the caches keep their lines, which is coherent */
    case REASON_WBINVD:
        return vmx_skip_instruction(&vcpu->vmx);
    case REASON_RDPMC:
        return access_refuse(vcpu, "RDPMC of counter %#x", (uint32_t)vcpu->vmx.regs.gpr[GPR_RCX]);
    case REASON_MWAIT: /* CPUID does not offer MONITOR */
    case REASON_MONITOR:
    case REASON_GETSEC: /* nor SMX, nor VMX */
    case REASON_VMCLEAR ... REASON_VMXON:
    case REASON_INVEPT:
    case REASON_INVVPID:
    case REASON_VMFUNC:
    case REASON_SEAMCALL: /* exits on every CPU that has TDX */
    case REASON_TDCALL:
    case REASON_RDMSR_IMMEDIATE: /* exit on every CPU that has them; CPUID does not offer them */
    case REASON_WRMSRNS_IMMEDIATE:
        return vmx_raise(&vcpu->vmx, VECTOR_UD, 0);
    case REASON_TRIPLE_FAULT:
        return exit_triple_fault(vcpu);
    case REASON_VIRTUALIZED_EOI:
        return exit_virtualized_eoi(vcpu);
    case REASON_APIC_WRITE:
        return exit_apic_write(vcpu);
    case REASON_TASK_SWITCH:
        return exit_task_switch(vcpu);
    default:
        return exit_unhandled(vcpu);
    }
}

static COLD void handle_rare(struct vcpu *vcpu)
{
    uint32_t reason = vcpu->vmx.exit.reason;
    if (likely(reason < REASON_COUNT)) {
        vcpu->exits[reason]++;
        handle_any(vcpu);
    } else if (reason & EXIT_REASON_ENTRY_FAILED) { /* vmx_run() explains it */
        attention_request(&vcpu->vmx.attention, ATTENTION_ENTRY_FAILED);
    } else {
        vcpu_end(vcpu, VM_ENDED_UNHANDLED_EXIT,
                 "exit reason %#x at RIP %#lx has no handler: " PLEASE_REPORT "this line", reason,
                 cpu_reg(&vcpu->vmx.regs, REG_RIP));
    }
}

/* The handlers of frequent exits are called directly; handle_any() calls the others. */
static void (*const handlers[])(struct vcpu *vcpu) = {
    [0 ... REASON_CPUID - 1] = handle_any,
    [REASON_CPUID] = exit_cpuid,
    [REASON_CPUID + 1 ... REASON_VMCALL - 1] = handle_any,
    [REASON_VMCALL] = exit_vmcall,
    [REASON_VMCALL + 1 ... REASON_IO_INSTRUCTION - 1] = handle_any,
    [REASON_IO_INSTRUCTION] = exit_io,
    [REASON_RDMSR] = exit_rdmsr,
    [REASON_WRMSR] = exit_wrmsr,
    [REASON_WRMSR + 1 ... REASON_EPT_VIOLATION - 1] = handle_any,
    [REASON_EPT_VIOLATION] = ept_violation,
    [REASON_EPT_MISCONFIGURATION] = ept_misconfiguration,
};

/* ---- Entering again -------------------------------------------------------------------------- */

static NOINLINE bool pay_and_enter(struct vcpu *vcpu, uint64_t epoch)
{
    tlb_pay_debt(vcpu->mmio.mmu, this_cpu());
    epoch_pass(this_cpu(), epoch);
    pml_follow(vcpu);
    return true;
}

/* Arms the preemption timer, which has not counted since the exit, for the time until the next
 * event. This may overwrite the 0 that a kick's handler has written, so the requests are read again
 * afterwards (vm/pcpu.h). Returns false if another request is pending, or if the event is due. */
static ALWAYS_INLINE bool rearm_timer(struct vcpu *vcpu)
{
    uint64_t now = rdtsc();
    if (unlikely(now >= vcpu->next_event))
        return false;
    vmx_set_timer(vcpu->next_event - now);
    return READ_ONCE(vcpu->vmx.attention.word) == ATTENTION_REARM;
}

/* Called when attention is requested, or after so many exits that the clock has to be read. Returns
 * true if the guest continues, because the only request is to arm the timer for this entry. */
static NOINLINE bool goes_on(struct vcpu *vcpu)
{
    return vcpu->vmx.attention.word == ATTENTION_REARM && rearm_timer(vcpu);
}

/* Called after the exit was handled. */
static ALWAYS_INLINE bool enters_again(struct vcpu *vcpu)
{
    if (unlikely(attention_pending(&vcpu->vmx.attention) || !--vcpu->exits_left) &&
        !goes_on(vcpu)) {
        bool again = false;
        IN_REGISTER(again); /* not a register that the path below would have to save */
        return again;
    }
    uint64_t epoch;
    if (likely(tlb_enter_paid(vcpu->mmio.mmu, vcpu->place, &epoch)))
        return true;
    return pay_and_enter(vcpu, epoch);
}

static ALWAYS_INLINE bool vcpu_exited(struct vcpu *vcpu, uint64_t reason)
{
    tlb_leave_at(vcpu->place);
    if (likely(reason < ARRAY_SIZE(handlers))) {
        vcpu->exits[reason]++;
        handlers[reason](vcpu);
    } else {
        handle_rare(vcpu);
    }
    return enters_again(vcpu);
}

static NOINLINE bool td_exited(struct vcpu *vcpu, uint64_t reason)
{
    tlb_leave_at(vcpu->place);
    if (likely(reason < REASON_COUNT)) {
        vcpu->exits[reason]++;
        if (!td_exit(vcpu, (uint32_t)reason))
            handle_any(vcpu);
    } else {
        handle_rare(vcpu);
    }
    return enters_again(vcpu);
}

static NOINLINE bool vcpu_exited_to_extra_work(struct vcpu *vcpu, uint32_t reason)
{
    if (mitigate_actions() & DO_IBRS_AT_EXIT)
        mitigate_at_exit();
    if (unlikely(vcpu->vmx.watched))
        last_exit_note(vcpu);
    if (vmx.poison)
        vcpu->poison_ticks += vmx_poison(reason);
    if (vcpu->vmx.pml_on)
        pml_drain(vcpu);
    if (attention_requested(&vcpu->vmx.attention, ATTENTION_SHUTDOWN)) { /* vm/triple_fault.h */
        tlb_leave_at(vcpu->place);
        return false;
    }
    if (pass_is_open(vcpu)) {
        tlb_leave_at(vcpu->place); /* pass_close() waits for all pCPUs that are in a guest */
        pass_exit(vcpu, reason);
    }
    return vcpu->vmx.td ? td_exited(vcpu, reason) : vcpu_exited(vcpu, reason);
}

uint64_t vcpu_traced_rip(const struct vcpu *vcpu)
{
    return vm_traced(vcpu->vm, vmread(VMCS_GUEST_RIP));
}

/* Records the exit, with its qualification and its address if the reason defines them. */
static COLD void trace_exit(struct vcpu *vcpu, uint32_t reason)
{
    uint8_t defines = reason < REASON_COUNT ? vmx_exit_defines[reason] : 0;
    uint64_t qualification = defines & DEFINES_QUALIFICATION ? vmread(VMCS_EXIT_QUALIFICATION) : 0;
    uint64_t gpa = defines & DEFINES_GPA ? vmread(VMCS_GUEST_PHYSICAL_ADDRESS) : TRACE_NO_ADDRESS;
    trace(exit, reason, vcpu_traced_rip(vcpu), qualification, gpa);
}

static COLD bool vcpu_exited_traced(struct vcpu *vcpu, uint32_t reason)
{
    trace_exit(vcpu, reason);
    bool again = vcpu_exited_to_extra_work(vcpu, reason);
    if (again)
        trace(entry, vcpu_traced_rip(vcpu), false);
    return again;
}

bool vmx_exited(struct vmx_vcpu *vmx_vcpu)
{
    struct vcpu *vcpu = vcpu_of(vmx_vcpu);
    uint64_t reason = vmx_begin_exit(vmx_vcpu);
    if (unlikely(vmx_vcpu->extra_work))
        return vmx_vcpu->exits_traced ? vcpu_exited_traced(vcpu, (uint32_t)reason)
                                      : vcpu_exited_to_extra_work(vcpu, (uint32_t)reason);
    return vcpu_exited(vcpu, reason);
}
