/* SPDX-License-Identifier: MIT */
/*
 * VMX operation and the vCPU: VMXON once on each CPU, a VMCS for each vCPU, VM entry, and the
 * record of the exit. The caller (vm/) handles the exits.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"
#include "lib/types.h"
#include "vmx/apicv.h"
#include "vmx/attention.h"
#include "vmx/controls.h"
#include "vmx/event.h"
#include "vmx/exit.h"
#include "arch/x86/regs.h"

/* The VMX capabilities of this machine, read once at boot, and options. */
struct vmx_machine {
    struct vmx_msrs msrs;
    struct vmx_controls controls;
    unsigned maxphyaddr;
    bool entry_checks;        /* check the VMCS in software before a vCPU's first entry */
    bool apicv;               /* the CPU delivers the interrupts of x2APICs; see vmx/apicv.h */
    bool counts_instructions; /* the TSC does; see vmx/cut_delivery.h */
    bool poison;              /* fill the fields that an exit leaves undefined with garbage */
};
extern struct vmx_machine vmx;

/* Reads this CPU's capability MSRs. Returns false if it has no VMX. */
bool vmx_read_msrs(struct vmx_msrs *msrs) MUST_CHECK;

/* Checks that this CPU has VMX and that the firmware has not disabled it, enables it if the
 * firmware has not decided, negotiates the controls and executes VMXON. Any result but EXIT_OK
 * follows a message that says what is missing and what to do. */
enum exit_code vmx_init(void) MUST_CHECK;

/* Is this CPU like the CPU of vmx_init()? Returns false after a message that names the first
 * difference. Called before anything else that depends on the CPU's features, because what these
 * are is known once for all CPUs, and before mitigate_start(), which may hide TSX from CPUID. */
bool vmx_cpu_is_alike(void) MUST_CHECK;

/* Enables VMX on another CPU, which is like the CPU of vmx_init(). Returns false after a message
 * that says why the CPU cannot run guests. */
bool vmx_init_cpu(void) MUST_CHECK;

struct cpu;

struct vmx_vcpu {
    struct cpu_regs regs; /* first, because vmx/entry.S loads and stores the general registers */
    uint64_t host_rsp;    /* the value of the field in the VMCS */
    bool launched;
    bool checked;           /* the checks before the first entry have been made */
    const struct cpu *host; /* the CPU whose state the VMCS restores at exits */

    struct attention attention;   /* requests to handle before the next entry */
    struct event_pending pending; /* the events that are to be delivered */
    bool windows;                 /* window exiting is enabled */
    bool wakes_masked;            /* a halt ends by an interrupt even if RFLAGS.IF is 0 */

    struct vmx_exit exit;
    hpa_t vmcs;
    hpa_t msr_bitmap;
    hpa_t pml; /* the page-modification log, or 0 */
    bool pml_on;
    bool extra_work;            /* each exit begins with extra work; see vmx_update_extra_work() */
    bool watched;               /* its exits are kept for people who ask (vm/last_exit.h) */
    bool exits_traced;          /* exits and entries are events (lib/trace.h) */
    bool td;                    /* a TD's: all exits are td_exit()'s (vm/td.h) */
    const uint32_t *holds_nmis; /* NULL, or: while it is not 0, NMIs wait (tdx/ve.h) */
    struct vmx_apicv apicv;
};

/* Recomputes vcpu->extra_work: whether each exit has to read the PML log, write IBRS, close an open
 * pass, poison fields or be traced before its handler runs, or has another handler because it is a
 * TD's.
 * Called after a change to one of these conditions. */
void vmx_update_extra_work(struct vmx_vcpu *vcpu);

/* Initializes a zeroed vCPU; on success and on failure, vmx_vcpu_destroy() frees what was
 * allocated. Allocates the VMCS and the MSR bitmap (all MSRs exit), writes controls and host state,
 * and makes the VMCS current; the caller sets the guest state with cpu_set_reg() and vmwrite(). If
 * `vpid` is 0, VPIDs are not used. Returns 0, or -ENOMEM after a message. */
int vmx_vcpu_init(struct vmx_vcpu *vcpu, uint64_t eptp, uint16_t vpid) MUST_CHECK;
void vmx_vcpu_destroy(struct vmx_vcpu *vcpu);

/* Makes the vCPU's VMCS the current one of this CPU. Returns true if the vCPU was last loaded on
 * another CPU, or never. */
bool vmx_load(struct vmx_vcpu *vcpu);

/* Executes VMCLEAR, which writes the VMCS to memory, so that any CPU can load it. */
void vmx_unload(struct vmx_vcpu *vcpu);

/* Page-modification logging (SDM 3, 29.3.6): while it is enabled, the CPU writes the address of
 * each page whose dirty flag it sets into a log of the vCPU, and exits when the log is full. The
 * VMCS must be current, and the CPU must support PML. vmx_pml_init() allocates the log, or returns
 * -ENOMEM after a message. */
int vmx_pml_init(struct vmx_vcpu *vcpu) MUST_CHECK;
void vmx_pml_switch(struct vmx_vcpu *vcpu, bool on);

/* Enables EPT-violation #VE for the vCPU whose VMCS is current. The CPU writes the information to
 * the page `area`, which must stay allocated. Returns false if the CPU does not support #VE. */
bool vmx_ve_enable(hpa_t area) MUST_CHECK;

/* Returns the number of new log entries after an exit with vcpu->pml_on, sets `*entries` to the
 * first of them, and empties the log. */
size_t vmx_pml_take(struct vmx_vcpu *vcpu, const uint64_t **entries);

/* Changes the VMCS after an exit with this reason to what a CPU, but no emulator, may leave:
 * garbage in undefined fields, and RF. Called first after an exit, and only if vmx_can_poison(),
 * which tests that exit information can be written. Returns the TSC ticks that it took, so that
 * measurements can subtract them. */
bool vmx_can_poison(void);
uint64_t vmx_poison(uint32_t reason);

/* Lets the guest access an MSR without exits, or only read or write it. */
void vmx_pass_msr(struct vmx_vcpu *vcpu, uint32_t msr);
void vmx_pass_msr_reads(struct vmx_vcpu *vcpu, uint32_t msr);
void vmx_pass_msr_writes(struct vmx_vcpu *vcpu, uint32_t msr);

/* Undoes vmx_pass_msr(): accesses exit again. */
void vmx_intercept_msr(struct vmx_vcpu *vcpu, uint32_t msr);

/* Enters the guest, and again after each exit until vmx_exited() returns false. Before the first
 * entry, the VMCS is checked in software. A failed entry is explained and the VMCS is dumped.
 * Returns 0, or -EINVAL after a failed entry, in which case the vCPU cannot continue. */
int vmx_run(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Handles an exit; returns true to enter the guest again at once. It must begin with
 * vmx_begin_exit(), which starts the exit record and returns the complete exit-reason field.
 * Called by vmx/entry.S. Supplied by vm/dispatch.c. */
bool vmx_exited(struct vmx_vcpu *vcpu);
static inline uint64_t vmx_begin_exit(struct vmx_vcpu *vcpu)
{
    uint64_t reason = vmread_always(VMCS_EXIT_REASON);
    vcpu->regs.known = 0;
    vcpu->exit.reason = (uint32_t)reason;
    return reason;
}

/* Handles what belongs to the host after an exit due to an exception or NMI: an NMI that arrives
 * while the guest runs is passed to the host's handler with INT 2, and a machine check ends the
 * machine. It is never the guest's: the exception bitmap applies neither to INT 18 nor to what an
 * entry injects (SDM 3, 26.2 and 27.6.1.2). Returns false if the exit was due to an exception of
 * the guest. */
bool vmx_take_host_event(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Reports a machine check that has interrupted the vCPU, or an entry of it, and ends the machine.
 * Supplied by vm/dispatch.c. */
NORETURN void vmx_machine_check(struct vmx_vcpu *vcpu);

/* The qualification of an EPT violation (SDM 3, table 28-7). */
#define QUALIFICATION_READ          BIT(0)
#define QUALIFICATION_WRITE         BIT(1)
#define QUALIFICATION_FETCH         BIT(2)
#define QUALIFICATION_PERMISSIONS   BITS(5, 3)
#define QUALIFICATION_GLA_VALID     BIT(7)
#define QUALIFICATION_FINAL         BIT(8)
#define QUALIFICATION_NMI_UNBLOCKED BIT(12)

/* Events (decision D15), in vmx/inject.c.
 *
 * vmx_cut_short() is called first after every exit. If it returns true, vmx_requeue_event() makes
 * the next entry deliver the interrupted event again, or block NMIs again for an IRET that is
 * executed again. vmx_deliver() is called last before an entry if the attention flag was set; it
 * returns false for a triple fault, after which the vCPU is shut down. */
void vmx_requeue_event(struct vmx_vcpu *vcpu);
static inline bool vmx_cut_short(struct vmx_vcpu *vcpu, uint32_t reason)
{
    if (vmx_exit_defines[reason] & OF_INSTRUCTION)
        return false;
    vcpu->exit.idt_vectoring = (uint32_t)vmread_always(VMCS_IDT_VECTORING_INFO);
    if (vcpu->exit.idt_vectoring & EVENT_INFO_VALID)
        return true;
    return vmx_exit_defines[reason] & DEFINES_IRET &&
           vmread_always(VMCS_EXIT_QUALIFICATION) & QUALIFICATION_NMI_UNBLOCKED;
}

/* Did the exit interrupt the delivery of an event? For the fast path of an exit, which does not
 * record that; the slow path calls vmx_cut_short() first. */
static inline bool vmx_was_delivering(void)
{
    return vmread_always(VMCS_IDT_VECTORING_INFO) & EVENT_INFO_VALID;
}

bool vmx_deliver_event(struct vmx_vcpu *vcpu) MUST_CHECK;
static inline bool vmx_deliver(struct vmx_vcpu *vcpu)
{
    const struct event_pending *p = &vcpu->pending;
    if (likely(!(p->requeue.valid | p->exception.valid | p->iret_again | p->nmis | p->interrupt |
                 vcpu->windows)))
        return true;
    return vmx_deliver_event(vcpu);
}

/* Called when an entry delivers the pending interrupt: removes it from its source, makes the next
 * one pending if there is one, and returns the vector, which is pending.vector unless the source
 * decides only now (an 8259). Supplied by vm/interrupts.c. */
uint8_t vmx_interrupt_taken(struct vmx_vcpu *vcpu);

/* Raises an exception in the guest, which the next entry delivers, with RF set in its frame if it
 * is a fault. For #PF, the caller also sets CR2. */
void vmx_raise(struct vmx_vcpu *vcpu, uint8_t vector, uint32_t error_code);

/* The exceptions that exit in every VM. A machine check is the host's (rule N126). */
#define EXCEPTIONS_EXITING (BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_MC))

/* Reflects an exception of EXCEPTIONS_REFLECTED to the guest after an exit due to an exception or
 * NMI. Returns false if the exit had another cause. #UD exits from TDs only (vm/td_exit.c), and #BP
 * while a debugger has breakpoints (vm/debugger.h). */
#define EXCEPTIONS_REFLECTED (BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_UD) | BIT(VECTOR_BP))
bool vmx_reflect_exception(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Raises #DB for `reasons`, which are bits as in the qualification of a #DB exit, or
 * DEBUG_TASK_SWITCH (vmx/debug.h). */
void vmx_raise_debug(struct vmx_vcpu *vcpu, uint64_t reasons);

/* Called after an instruction was completed in software: raises a #DB with DR6.BS if RFLAGS.TF is
 * set. */
void vmx_raise_single_step(struct vmx_vcpu *vcpu);

/* Raises a debug trap for the breakpoints that the instruction met; `pending` has the format of the
 * pending debug exceptions (SDM 3, 25.4.2). All debug exceptions of an instruction, and of a MOV SS
 * before it, are delivered as one #DB. */
void vmx_raise_trap(uint64_t pending);

/* Returns true if an event is pending that wakes the vCPU from HLT. */
bool vmx_wakes(const struct vmx_vcpu *vcpu);

/* Called after an exit if the instruction that will be executed again is an IRET that had already
 * ended NMI blocking. */
static inline void vmx_iret_again(struct vmx_vcpu *vcpu)
{
    vcpu->pending.iret_again = true;
    attention_request(&vcpu->attention, ATTENTION_EVENT);
}

/* Returns true if an NMI that arrives now has to wait for an IRET. */
bool vmx_nmis_blocked(const struct vmx_vcpu *vcpu);

#define INTERRUPT_SHADOW (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)
static inline bool vmx_in_interrupt_shadow(void)
{
    return vmread_always(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPT_SHADOW;
}

/* Ends blocking by STI and MOV SS after an instruction was completed in software. */
void vmx_end_interrupt_shadow(void);

/* Begins the one of a MOV to SS that was executed in software. */
void vmx_begin_mov_ss_shadow(void);

/* Returns true if the exit came from CPL 1 to 3. */
static inline bool vmx_in_user_code(void)
{
    return vmread_always(VMCS_GUEST_SS_ACCESS_RIGHTS) & SEG_AR_DPL;
}

static inline bool vmx_in_64_bit_code(void)
{
    return vmread_always(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_GUEST &&
           vmread_always(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_L;
}

/* Completes an instruction that was executed in software, if nothing but RIP and RF has to change:
 * there is no interrupt shadow and no single step. After an exit due to a memory access, the saved
 * RF is 1 (SDM 3, "Saving RIP, RSP, RFLAGS, and SSP"), so that a retry of the instruction does not
 * hit its own breakpoint again. The instruction is complete, so RF is cleared for the next one. */
static inline void vmx_complete(uint64_t next, uint64_t rflags)
{
    vmwrite_always(VMCS_GUEST_RIP, next);
    if (likely(rflags & RFLAGS_RF))
        vmwrite_always(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
}

/* Prepares the exit's instruction to be executed again, or to continue with its next iteration.
 * Sets RF, so that the instruction does not hit its own breakpoint a second time (SDM 3, 18.3.1.1):
 * if the instruction itself caused the exit, and not a memory access, the CPU has saved RF as 0. */
void vmx_retry_instruction(struct vmx_vcpu *vcpu);

/* Completes the exit's instruction, whose length must be defined: advances RIP, ends the interrupt
 * shadow, clears RF and raises the single-step trap if TF is set. */
void vmx_skip_instruction(struct vmx_vcpu *vcpu);

/* The same for an instruction of `length` bytes, if the exit does not define its length. */
void vmx_skip_bytes(struct vmx_vcpu *vcpu, uint64_t length);

/* The fast path of vmx_skip_instruction(), for a known `reason` and while no register is cached.
 * Handles the common case: EIP does not wrap (as it does outside 64-bit code), and there is no
 * interrupt shadow, RF or TF. Otherwise returns false and changes nothing. */
static inline MUST_CHECK bool vmx_skip_plain(uint32_t reason)
{
    uint64_t rip = vmread_always(VMCS_GUEST_RIP);
    uint64_t length = vmx_exit_field(reason, DEFINES_LENGTH, VMCS_EXIT_INSTRUCTION_LENGTH);
    uint64_t next = rip + length;
    if (unlikely((uint32_t)next < (uint32_t)length || vmx_in_interrupt_shadow() ||
                 vmread_always(VMCS_GUEST_RFLAGS) & (RFLAGS_RF | RFLAGS_TF)))
        return false;
    vmwrite_always(VMCS_GUEST_RIP, next);
    return true;
}

static inline void vmx_skip(struct vmx_vcpu *vcpu, uint32_t reason)
{
    if (unlikely(!vmx_skip_plain(reason)))
        vmx_skip_instruction(vcpu);
}

/* Sets the preemption timer to `ticks` of the TSC, or to its maximum if that is less. The timer
 * counts only while the guest runs (SDM 3, 27.5.1). */
static inline void vmx_set_timer(uint64_t ticks)
{
    uint64_t value = ticks >> field_get(vmx.msrs.misc, MISC_TIMER_RATE), most = UINT32_MAX;
    vmwrite_always(VMCS_PREEMPTION_TIMER_VALUE, value < most ? value : most);
}

/* Switches bits of the primary controls, for example PRIMARY_INTERRUPT_WINDOW_EXITING. */
void vmx_set_primary(uint64_t mask, bool on);
