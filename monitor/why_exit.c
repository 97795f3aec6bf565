/* SPDX-License-Identifier: MIT */
/* What `why last` says of an exit: what the guest did, and what the hypervisor does then. Pure. */
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/why_exit.h"
#include "tdx/exits.h"
#include "vm/vm.h"
#include "vmx/errors.h"
#include "vmx/event.h"
#include "vmx/vmx.h"

/* What the hypervisor does after an exit, where nothing but the reason matters. */
static const char *const answers[REASON_COUNT] = {
    [REASON_EXTERNAL_INTERRUPT] = "All interrupts of the machine are masked; one that arrives "
                                  "nevertheless is ignored.",
    [REASON_TRIPLE_FAULT] = "The vCPU has shut down, and the VM ends by triple-fault.",
    [REASON_INTERRUPT_WINDOW] = "The guest can take an interrupt now, for which it was made to "
                                "exit: the pending one is injected.",
    [REASON_NMI_WINDOW] = "The guest can take an NMI now, for which it was made to exit.",
    [REASON_HLT] = "The vCPU sleeps until an interrupt or NMI wakes it; other vCPUs run meanwhile.",
    [REASON_INVLPG] = "With gva_cache=exits: cached walks of the page are dropped, and INVVPID "
                      "flushes it.",
    [REASON_INVPCID] = "With gva_cache=exits: cached walks are dropped, and INVVPID flushes.",
    [REASON_PREEMPTION_TIMER] = "The hypervisor had armed the timer: for the end of the time slice "
                                "or of the budget, for a timer of the guest's, or after a kick.",
    [REASON_PML_FULL] = "The log of modified pages was full. It is emptied at every exit.",
    [REASON_WBINVD] = "Nothing is done, since the caches are coherent.",
    [REASON_INVD] = "Nothing is done: the caches keep their lines, which is coherent.",
    [REASON_MOV_DR] = "The access to the debug register is emulated; the guest has its own values.",
    [REASON_RDPMC] = "#GP: the VM has no performance counters.",
    [REASON_VIRTUALIZED_EOI] = "The CPU has carried out the EOI; the I/O APIC is told of it.",
    [REASON_APIC_WRITE] = "The CPU has written the virtual APIC page; the local APIC does what "
                          "follows from the write.",
    [REASON_XSETBV] = "XCR0 is loaded if this CPU and the guest's CPUID allow the value; else #GP.",
    [REASON_VMCALL] = "A hypercall, by the number in EAX.",
    [REASON_TASK_SWITCH] = "The task switch is emulated.",
    [REASON_MWAIT] = "#UD: CPUID does not offer MONITOR.",
    [REASON_MONITOR] = "#UD: CPUID does not offer MONITOR.",
};

static const char *const crs[] = {"MOV to CR", "MOV from CR", "CLTS", "LMSW"};

static void say_io(struct monitor_call *call, const struct last_exit *exit)
{
    uint64_t q = exit->qualification;
    monitor_say(call,
                "  %s of %lu byte%s, port %#lx%s: the port bus gives it to a device; nobody "
                "there reads as all ones.",
                q & BIT(3) ? "IN" : "OUT", (q & 7) + 1, q & 7 ? "s" : "", q >> 16 & 0xffff,
                q & BIT(4) ? ", a string instruction" : "");
}

static void say_event(struct monitor_call *call, const struct last_exit *exit)
{
    uint32_t info = exit->interruption;
    monitor_say(call,
                "  Exception %lu, which is given back to the guest unless a debugger has "
                "caused it.",
                field_get(info, EVENT_INFO_VECTOR));
}

static void say_violation(struct monitor_call *call, const struct last_exit *exit)
{
    uint64_t q = exit->qualification;
    char linear[48] = "";
    if (q & QUALIFICATION_GLA_VALID)
        snprintf(linear, sizeof(linear), ", linear address %#lx", exit->gla);
    monitor_say(call, "  A %s at GPA %#lx%s, %s; the entries allowed %s%s%s%s.",
                q & QUALIFICATION_FETCH   ? "fetch"
                : q & QUALIFICATION_WRITE ? "write"
                                          : "read",
                exit->gpa, linear,
                q & QUALIFICATION_FINAL || !(q & QUALIFICATION_GLA_VALID)
                    ? "by the instruction or the delivery of an event"
                    : "by the CPU's walk of the guest's page tables",
                q & BIT(3) ? "R" : "", q & BIT(4) ? "W" : "", q & BIT(5) ? "X" : "",
                q & QUALIFICATION_PERMISSIONS ? "" : "nothing");
}

/* Most exits of a TD are handled as the TDX module does it. Returns false if this is not one of
 * them. */
static bool say_td(struct monitor_call *call, const struct last_exit *exit)
{
    static const char *const td_answers[] = {
        [TD_STOP] = "The TD is stopped: no TD may do this, or no CPU reports it for one.",
        [TD_CPU] = "It is answered from the TD's own CPUID, MSRs and control registers, or by #VE "
                   "or #GP.",
        [TD_RAISE_VE] = "The TD gets #VE, and asks the hypervisor by TDCALL.",
        [TD_RAISE_UD] = "#UD: the TD's CPUID does not offer the instruction.",
        [TD_RAISE_GP] = "#GP: the TD may not execute the instruction.",
        [TD_EXCEPTION] = "#UD of a TDCALL is the call; any other exception is given back to the "
                         "guest.",
        [TD_MEMORY] = NULL, /* say_violation() */
    };
    enum td_answer answer = td_exit_answer(exit->reason);
    if (!call->vm || !call->vm->td || !td_answers[answer])
        return false;
    monitor_say(call, "  %s", td_answers[answer]);
    return true;
}

static void say_details(struct monitor_call *call, const struct last_exit *exit)
{
    uint64_t q = exit->qualification;
    switch (exit->reason) {
    case REASON_EXCEPTION_OR_NMI:
        return say_event(call, exit);
    case REASON_CPUID:
        if (exit->handled)
            monitor_say(call, "  CPUID: the table of the VM's features has answered.");
        else
            monitor_say(call,
                        "  CPUID of leaf %#x, subleaf %#x: the table of the VM's features "
                        "answers.",
                        (uint32_t)exit->rax, (uint32_t)exit->rcx);
        return;
    case REASON_RDMSR:
    case REASON_WRMSR:
        monitor_say(call, "  %s of MSR %#x: an MSR that the VM does not have is #GP.",
                    exit->reason == REASON_RDMSR ? "RDMSR" : "WRMSR", (uint32_t)exit->rcx);
        return;
    case REASON_CR_ACCESS:
        monitor_say(call, "  %s%s: the bits that the hypervisor owns are checked and shadowed.",
                    crs[q >> 4 & 3],
                    q >> 4 & 2 ? ""
                               : (const char *[]){"0", "?", "?", "3", "4", "?", "?", "?",
                                                  "8"}[(q & 15) > 8 ? 1 : q & 15]);
        return;
    case REASON_IO_INSTRUCTION:
        return say_io(call, exit);
    case REASON_EPT_VIOLATION:
        return say_violation(call, exit);
    case REASON_EPT_MISCONFIGURATION:
        monitor_say(call, "  An access to GPA %#lx. The CPU does not say which kind it was.",
                    exit->gpa);
        return;
    default:
        monitor_say(call, "  %s",
                    answers[exit->reason] ? answers[exit->reason]
                                          : "An instruction that CPUID does not offer is #UD; any "
                                            "other exit ends the VM by unhandled-exit.");
        return;
    }
}

void why_say_last(struct monitor_call *call, const struct last_exit *exit)
{
    monitor_say(call, "Exit %lu, %s (%u); RIP %s %#lx.", exit->number,
                exit_reason_name(exit->reason), exit->reason, exit->handled ? "is now" : "was",
                exit->rip);
    if (!say_td(call, exit))
        say_details(call, exit);
    if (exit->event & EVENT_INFO_VALID)
        monitor_say(call,
                    "  It interrupted the delivery of vector %lu, which the next entry "
                    "delivers again.",
                    field_get(exit->event, EVENT_INFO_VECTOR));
}
