/*
 * The VMX instructions and the life of a vCPU between them: VMXON once per CPU, a VMCS per vCPU,
 * entry, and the record of the exit. What an exit means is for the caller to say (vm/).
 */
#pragma once

#include "arch/x86/cpu.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"
#include "lib/types.h"
#include "vmx/attention.h"
#include "vmx/controls.h"
#include "vmx/event.h"
#include "vmx/exit.h"
#include "arch/x86/regs.h"

/* What this machine's VMX offers; read once at boot. */
struct vmx_machine {
    struct vmx_msrs msrs;
    struct vmx_controls controls;
    unsigned maxphyaddr;
    bool entry_checks; /* in software before a vCPU's first entry */
    bool poison;       /* what an exit leaves undefined is filled with garbage */
};
extern struct vmx_machine vmx;

/* Checks that this CPU has VMX and that the firmware left it usable, enables it if the firmware
 * left that open, negotiates the controls and executes VMXON. Anything but EXIT_OK comes after a
 * sentence that says what is missing and what to do. */
enum exit_code vmx_init(void) MUST_CHECK;

/* On each further CPU: the same for a CPU that is like the one of vmx_init(). False after a
 * sentence that says why it cannot run guests. */
bool vmx_init_cpu(void) MUST_CHECK;

struct cpu;

struct vmx_vcpu {
    struct cpu_regs regs; /* first: the general registers that vmx/entry.S loads and stores */
    uint64_t host_rsp;    /* as the VMCS has it */
    bool launched;
    bool checked;           /* what is to be checked before the first entry was */
    const struct cpu *host; /* whose state the VMCS restores at exits */

    struct attention attention;   /* why the guest must not simply go on */
    struct event_pending pending; /* what waits to be delivered */
    bool windows;                 /* a window exit is asked for */

    struct vmx_exit exit;
    hpa_t vmcs;
    hpa_t msr_bitmap;
    hpa_t pml; /* the log, or 0 */
    bool pml_on;
    bool extra_work; /* each exit begins with some; see vmx_update_extra_work() */
};

/* Whether each exit has to do something before its handler: reading the PML log, setting IBRS,
 * closing an open pass, filling undefined fields with garbage. Called by whoever changes one of
 * these. */
void vmx_update_extra_work(struct vmx_vcpu *vcpu);

/* For a zeroed vCPU; whatever comes of it, vmx_vcpu_destroy() cleans up afterwards.
 * Allocates the VMCS and the MSR bitmap (all MSRs exit) and writes controls and host state; the
 * guest state is the caller's, through cpu_set_reg() and vmwrite(). `vpid` 0: without VPID. Makes
 * the VMCS current. Returns 0, or -ENOMEM after a sentence. */
int vmx_vcpu_init(struct vmx_vcpu *vcpu, uint64_t eptp, uint16_t vpid) MUST_CHECK;
void vmx_vcpu_destroy(struct vmx_vcpu *vcpu);

/* Makes the vCPU's VMCS the current one of this CPU. True: it was another CPU's before. */
bool vmx_load(struct vmx_vcpu *vcpu);

/* Writes it back to memory, so that any CPU can load it. */
void vmx_unload(struct vmx_vcpu *vcpu);

/* Page-modification logging (SDM 3, 29.3.6): while it is on, the CPU writes the address of each
 * page whose D bit it sets into a log of the vCPU, and exits when that is full. The VMCS is
 * current; the machine has PML. vmx_pml_init() gives the vCPU its log, or returns -ENOMEM. */
int vmx_pml_init(struct vmx_vcpu *vcpu) MUST_CHECK;
void vmx_pml_switch(struct vmx_vcpu *vcpu, bool on);

/* Lets the CPU deliver #VE to the vCPU whose VMCS is loaded, with its information at `area`, a page
 * that stays. False if the CPU can't. */
bool vmx_ve_enable(hpa_t area) MUST_CHECK;

/* After an exit with vcpu->pml_on: where the new entries begin and how many. Empties the log. */
size_t vmx_pml_take(struct vmx_vcpu *vcpu, const uint64_t **entries);

/* Makes what an exit with this reason leaves what no emulator would: garbage where nothing is
 * defined, and RF. The CPU must let exit information be written. The first thing after an exit.
 * Returns the TSC ticks that it took, so that measurements can leave them out. */
bool vmx_can_poison(void);
uint64_t vmx_poison(uint32_t reason);

/* Lets the guest use an MSR without an exit, or only read it. */
void vmx_pass_msr(struct vmx_vcpu *vcpu, uint32_t msr);
void vmx_pass_msr_reads(struct vmx_vcpu *vcpu, uint32_t msr);

/* Enters the guest, again after each exit, until vmx_exited() returns false. The first entry is
 * preceded by the software checks; one that fails is explained and dumped. Returns 0, or -EINVAL
 * for an entry that failed: the vCPU cannot go on. */
int vmx_run(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Handles an exit. True: enter the guest again at once. Called by vmx/entry.S. Supplied by
 * vm/dispatch.c. It has to begin with vmx_begin_exit(), which makes the exit record and returns the
 * whole exit-reason field. */
bool vmx_exited(struct vmx_vcpu *vcpu);
static inline uint64_t vmx_begin_exit(struct vmx_vcpu *vcpu)
{
    uint64_t reason = vmread_always(VMCS_EXIT_REASON);
    vcpu->regs.known = 0;
    vcpu->exit.reason = (uint32_t)reason;
    return reason;
}

/* For an exit by exception or NMI: an NMI that arrived while the guest ran is the host's, and taken
 * by its vector. False: it is no NMI. */
bool vmx_take_host_nmi(const struct vmx_vcpu *vcpu) MUST_CHECK;

/* The qualification of an EPT violation (SDM 3, table 28-7). */
#define QUALIFICATION_READ          BIT(0)
#define QUALIFICATION_WRITE         BIT(1)
#define QUALIFICATION_FETCH         BIT(2)
#define QUALIFICATION_PERMISSIONS   BITS(5, 3)
#define QUALIFICATION_GLA_VALID     BIT(7)
#define QUALIFICATION_FINAL         BIT(8)
#define QUALIFICATION_NMI_UNBLOCKED BIT(12)

/* Events (D15), in vmx/inject.c.
 *
 * First after every exit: where vmx_cut_short() says so, vmx_requeue_event() makes the next entry
 * deliver the event again whose delivery was cut short, or block NMIs again for an IRET that is
 * executed again. vmx_deliver() stands last before an entry after something asked for attention.
 * Returns false for a triple fault: the vCPU is shut down. */
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

/* Was an event being delivered? For the frequent way of an exit, which makes no record of that:
 * whoever leaves it asks vmx_cut_short() first. */
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

/* Supplied by vm/interrupts.c. This entry delivers pending.vector. Takes that off its source, and
 * makes the next one pending if there is one. */
void vmx_interrupt_taken(struct vmx_vcpu *vcpu);

/* Raises an exception on the guest's behalf; delivered by the next entry, with RF in its frame if
 * it is a fault. #PF also needs CR2. */
void vmx_raise(struct vmx_vcpu *vcpu, uint8_t vector, uint32_t error_code);

/* After an exit by exception or NMI: gives an exception of EXCEPTIONS_REFLECTED, which are those
 * that exit, back to the guest. False: it is none of them. */
#define EXCEPTIONS_REFLECTED (BIT(VECTOR_DB) | BIT(VECTOR_AC))
bool vmx_reflect_exception(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Raises #DB for what stands in `reasons`, bits as in the qualification of a #DB exit, or
 * DEBUG_TASK_SWITCH (vmx/debug.h). */
void vmx_raise_debug(struct vmx_vcpu *vcpu, uint64_t reasons);

/* After an instruction completed in software: if RFLAGS.TF is set, #DB with DR6.BS is due. */
void vmx_raise_single_step(struct vmx_vcpu *vcpu);

/* The same for the breakpoints that it met, as bits of the pending debug exceptions (SDM 3,
 * 25.4.2). All that an instruction, and a MOV SS before it, make due comes as one #DB. */
void vmx_raise_trap(uint64_t pending);

/* True if the vCPU, halted, has something that wakes it. */
bool vmx_wakes(const struct vmx_vcpu *vcpu);

/* After an exit that undid an instruction which is executed again: it is IRET, which has ended NMI
 * blocking before that. */
static inline void vmx_iret_again(struct vmx_vcpu *vcpu)
{
    vcpu->pending.iret_again = true;
    attention_request(&vcpu->attention, ATTENTION_EVENT);
}

/* Whether an NMI that arrives now has to wait for an IRET. */
bool vmx_nmis_blocked(const struct vmx_vcpu *vcpu);

#define INTERRUPT_SHADOW (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)
static inline bool vmx_in_interrupt_shadow(void)
{
    return vmread_always(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPT_SHADOW;
}

/* Ends the shadow of STI and MOV SS after an instruction was completed in software. */
void vmx_end_interrupt_shadow(void);

/* Whether the exit came from CPL 1 to 3. */
static inline bool vmx_in_user_code(void)
{
    return vmread_always(VMCS_GUEST_SS_ACCESS_RIGHTS) & SEG_AR_DPL;
}

static inline bool vmx_in_64_bit_code(void)
{
    return vmread_always(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_GUEST &&
           vmread_always(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_L;
}

/* Completes an instruction that was executed in software, where nothing but RIP and RF changes: no
 * interrupt shadow and no single step. Where the exit was for an access to memory, the CPU has
 * saved RF as 1 (SDM 3, "Saving RIP, RSP, RFLAGS, and SSP"), for a retry that is not to meet its
 * own breakpoint again. As the instruction is complete, the next one may meet its own. */
static inline void vmx_complete(uint64_t next, uint64_t rflags)
{
    vmwrite_always(VMCS_GUEST_RIP, next);
    if (likely(rflags & RFLAGS_RF))
        vmwrite_always(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
}

/* The exit's instruction will be executed again, or goes on with its next iteration. RF keeps it
 * from meeting its own breakpoint a second time (SDM 3, 18.3.1.1); where the exit was the
 * instruction's own and not one for an access to memory, the CPU has saved RF as 0. */
void vmx_retry_instruction(struct vmx_vcpu *vcpu);

/* Completes the exit's instruction, whose length must be defined: RIP stands behind it, the
 * interrupt shadow ends, RF is clear and the single-step trap is due. */
void vmx_skip_instruction(struct vmx_vcpu *vcpu);

/* The same for exits that come often, where `reason` is known, no register was asked for by name,
 * and nothing is special: EIP does not wrap (as it does outside 64-bit code), and there is no
 * shadow, RF or TF. Else false: nothing was done. */
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

/* Makes the guest be left after `ticks` of the TSC, or later if they are more than the preemption
 * timer can count. It counts in the guest alone (SDM 3, 27.5.1). */
static inline void vmx_set_timer(uint64_t ticks)
{
    uint64_t value = ticks >> field_get(vmx.msrs.misc, MISC_TIMER_RATE), most = UINT32_MAX;
    vmwrite_always(VMCS_PREEMPTION_TIMER_VALUE, value < most ? value : most);
}

/* Switches a bit of the primary controls, e.g. PRIMARY_INTERRUPT_WINDOW_EXITING. */
void vmx_set_primary(uint64_t mask, bool on);
