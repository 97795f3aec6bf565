/*
 * The VMX instructions and the life of a vCPU between them: VMXON once per CPU, a VMCS per vCPU,
 * entry, and the record of the exit. What an exit means is for the caller to say (guest/).
 */
#pragma once

#include "lib/compiler.h"
#include "lib/exit_codes.h"
#include "lib/types.h"
#include "vmx/controls.h"
#include "vmx/event.h"
#include "vmx/exit.h"
#include "vmx/regs.h"

/* What this machine's VMX offers; read once at boot. */
struct vmx_machine {
    struct vmx_msrs msrs;
    struct vmx_controls controls;
    unsigned maxphyaddr;
    bool entry_checks; /* in software before a vCPU's first entry */
};
extern struct vmx_machine vmx;

/* Checks that this CPU has VMX and that the firmware left it usable, enables it if the firmware
 * left that open, negotiates the controls and executes VMXON. Anything but EXIT_OK comes after a
 * sentence that says what is missing and what to do. */
enum exit_code vmx_init(void) MUST_CHECK;

struct vmx_vcpu {
    struct cpu_regs regs; /* first: the general registers that vmx/entry.S loads and stores */
    uint64_t host_rsp;    /* as the VMCS has it */
    bool launched;
    uint64_t entered_rsp; /* as the VMCS has it; regs.gpr[GPR_RSP] may be newer */

    struct event_pending pending; /* what waits to be delivered */
    bool windows;                 /* a window exit is asked for */

    struct vmx_exit exit;
    hpa_t vmcs;
    hpa_t msr_bitmap;
    hpa_t pml; /* the log, or 0 */
    bool pml_on;
};

/* For a zeroed vCPU; whatever comes of it, vmx_vcpu_destroy() cleans up afterwards.
 * Allocates the VMCS and the MSR bitmap (all MSRs exit) and writes controls and host state; the
 * guest state is the caller's, through cpu_set_reg() and vmwrite(). `vpid` 0: without VPID. Makes
 * the VMCS current. Returns 0, or -ENOMEM after a sentence. */
int vmx_vcpu_init(struct vmx_vcpu *vcpu, uint64_t eptp, uint16_t vpid) MUST_CHECK;
void vmx_vcpu_destroy(struct vmx_vcpu *vcpu);

/* Makes the vCPU's VMCS the current one. */
void vmx_load(struct vmx_vcpu *vcpu);

/* Page-modification logging (SDM 3, 29.3.6): while it is on, the CPU writes the address of each
 * page whose D bit it sets into a log of the vCPU, and exits when that is full. Returns 0 or
 * -ENOMEM. The VMCS is current; the machine has PML. */
int vmx_pml_switch(struct vmx_vcpu *vcpu, bool on) MUST_CHECK;

/* After an exit with vcpu->pml_on: where the new entries begin and how many. Empties the log. */
size_t vmx_pml_take(struct vmx_vcpu *vcpu, const uint64_t **entries);

/* Lets the guest use an MSR without an exit. */
void vmx_pass_msr(struct vmx_vcpu *vcpu, uint32_t msr);

/* Enters the guest and returns after its exit, with vcpu->exit filled. The first entry is preceded
 * by the software checks; an entry that fails is explained and dumped. Returns 0, or -EINVAL for an
 * entry that failed: the vCPU cannot go on. */
int vmx_run(struct vmx_vcpu *vcpu) MUST_CHECK;

/* Events (D15), in vmx/inject.c.
 *
 * vmx_requeue() stands first after every exit: an event whose delivery was interrupted is delivered
 * again by the next entry, and NMI blocking is put back. vmx_deliver() stands last before every
 * entry. Returns false for a triple fault: the vCPU is shut down. */
void vmx_requeue_event(struct vmx_vcpu *vcpu);
static inline void vmx_requeue(struct vmx_vcpu *vcpu)
{
    const struct vmx_exit *e = &vcpu->exit;
    if (unlikely(e->idt_vectoring & EVENT_INFO_VALID || e->reason == REASON_EPT_VIOLATION ||
                 e->reason == REASON_EXCEPTION_OR_NMI))
        vmx_requeue_event(vcpu);
}

bool vmx_deliver_event(struct vmx_vcpu *vcpu) MUST_CHECK;
static inline bool vmx_deliver(struct vmx_vcpu *vcpu)
{
    const struct event_pending *p = &vcpu->pending;
    if (likely(!(p->requeue.valid | p->exception.valid | p->nmis | p->interrupt | vcpu->windows)))
        return true;
    return vmx_deliver_event(vcpu);
}

/* Supplied by guest/: this entry delivers pending.vector. Takes that off its source, and makes the
 * next one pending if there is one. */
void vmx_interrupt_taken(struct vmx_vcpu *vcpu);

/* Raises an exception on the guest's behalf; delivered by the next entry, with RF in its frame if
 * it is a fault. #PF also needs CR2. */
void vmx_raise(struct vmx_vcpu *vcpu, uint8_t vector, uint32_t error_code);

/* After an instruction completed in software: if RFLAGS.TF is set, #DB with DR6.BS is due. */
void vmx_raise_single_step(struct vmx_vcpu *vcpu);

/* True if the vCPU, halted, has something that wakes it. */
bool vmx_wakes(const struct vmx_vcpu *vcpu);

/* Completes the exit's instruction: RIP stands behind it, the interrupt shadow ends, RF is clear
 * and the single-step trap is due. The length must be defined. */
void vmx_skip_instruction(struct vmx_vcpu *vcpu);

/* Ends the shadow of STI and MOV SS after an instruction was completed in software. */
void vmx_end_interrupt_shadow(void);

/* Switches a bit of the primary controls, e.g. PRIMARY_INTERRUPT_WINDOW_EXITING. */
void vmx_set_primary(uint64_t mask, bool on);
