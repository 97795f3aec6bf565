/* SPDX-License-Identifier: MIT */
#include "vm/triple_fault.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "lib/cpu_local.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmio/breakpoints.h"
#include "mmu/tlb.h"
#include "vm/exits.h"
#include "vm/fault_chain.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

#define ENTRIES 32 /* at most; 11 suffice unless kicks and EPT violations end some early */

/* What an instruction or a delivery may change, and what the delivery of an event depends on. */
static const uint16_t repeated_fields[] = {
    VMCS_GUEST_RIP,         VMCS_GUEST_RSP,
    VMCS_GUEST_RFLAGS,      VMCS_GUEST_CR3,
    VMCS_GUEST_CS_SELECTOR, VMCS_GUEST_CS_BASE,
    VMCS_GUEST_CS_LIMIT,    VMCS_GUEST_CS_ACCESS_RIGHTS,
    VMCS_GUEST_SS_SELECTOR, VMCS_GUEST_SS_BASE,
    VMCS_GUEST_SS_LIMIT,    VMCS_GUEST_SS_ACCESS_RIGHTS,
    VMCS_GUEST_IDTR_BASE,   VMCS_GUEST_IDTR_LIMIT,
    VMCS_GUEST_GDTR_BASE,   VMCS_GUEST_GDTR_LIMIT,
};

struct triple_fault {
    struct vcpu *vcpu;
    uint64_t fields[ARRAY_SIZE(repeated_fields)];
    uint64_t interruptibility;
    struct event injected; /* by the last entry that injected an event */
    unsigned left;         /* entries */
};

/* The valid bit of the VM-entry interruption information is cleared by each exit; the rest stays
 * (SDM 3, 25.8.3). A vCPU that has never injected an event has 0 there, as #DE has it, which an
 * entry never injects without its type. */
static struct event last_injected(void)
{
    uint32_t info = (uint32_t)vmread(VMCS_ENTRY_INTERRUPTION_INFO);
    if (!info)
        return (struct event){0};
    return event_decode(info | (uint32_t)EVENT_INFO_VALID, (uint32_t)vmread(VMCS_ENTRY_ERROR_CODE),
                        (uint32_t)vmread(VMCS_ENTRY_INSTRUCTION_LENGTH));
}

static void triple_fault_begin(struct triple_fault *t, struct vcpu *vcpu)
{
    t->vcpu = vcpu;
    t->left = ENTRIES;
    t->injected = last_injected();
    for (unsigned i = 0; i < ARRAY_SIZE(repeated_fields); i++)
        t->fields[i] = vmread(repeated_fields[i]);
    t->interruptibility = vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)INTERRUPT_SHADOW;
    vmwrite(VMCS_EXCEPTION_BITMAP, BITS(31, 0));
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
    vmx_set_primary(PRIMARY_INTERRUPT_WINDOW_EXITING | PRIMARY_NMI_WINDOW_EXITING, false);
    vmx_update_extra_work(&vcpu->vmx); /* no exit is handled from now on */
}

/* Enters the guest once, in the state that it had when the triple fault began. `event` is injected
 * if it is valid; otherwise the instruction at RIP is executed as a single step. */
static bool enter_once(const struct triple_fault *t, struct event event)
{
    struct vcpu *vcpu = t->vcpu;
    const struct event_state state = {.protected_mode = vmread(VMCS_GUEST_CR0) & CR0_PE,
                                      .any_error_code = vmx.msrs.basic & BASIC_ANY_ERROR_CODE};
    uint64_t interruptibility = t->interruptibility;
    for (unsigned i = 0; i < ARRAY_SIZE(repeated_fields); i++)
        vmwrite(repeated_fields[i], t->fields[i]);
    if (!event.valid)
        vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_TF);
    else if (event.type == EVENT_NMI) /* an entry that injects an NMI blocks NMIs itself */
        interruptibility &= ~(uint64_t)BLOCKING_BY_NMI;
    event_fit(&event, &state);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, interruptibility);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, event_encode(&event));
    vmwrite(VMCS_ENTRY_ERROR_CODE, event.error_code);
    vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, event.length);
    vmx_set_timer(tsc_khz() / 10);
    (void)tlb_enter(&vcpu->vm->mmu, this_cpu());
    pml_follow(vcpu);
    return !vmx_run(&vcpu->vmx);
}

/* Repeats the instruction, or the delivery of `event`. Returns true if it raised an exception, and
 * then *during is the event that was being delivered, if any. */
static bool triple_fault_repeat(struct triple_fault *t, struct event event, struct event *during,
                                struct fault_step *raised)
{
    do {
        if (!t->left || !enter_once(t, event))
            return false;
        t->left--;
    } while (exit_was_incidental(t->vcpu));
    const struct vmx_exit *exit = &t->vcpu->vmx.exit;
    if (exit->reason != REASON_EXCEPTION_OR_NMI)
        return false;
    uint64_t qualification = vmx_exit_qualification(exit);
    *during =
        event_decode((uint32_t)vmread(VMCS_IDT_VECTORING_INFO),
                     (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR), (uint32_t)vmx_exit_length(exit));
    raised->event = event_decode(vmx_exit_interruption(exit),
                                 (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_ERROR), 0);
    raised->address = qualification;
    bool stepped = raised->event.vector == VECTOR_DB && qualification & TRAP_SINGLE_STEP;
    return raised->event.valid && !stepped && (!event.valid || during->valid);
}

/* Adds what the delivery of the chain's next event raises, until it raises nothing or the chain is
 * complete. */
static void triple_fault_follow(struct triple_fault *t, struct fault_chain *chain)
{
    struct event during;
    struct fault_step step;
    while (triple_fault_repeat(t, fault_chain_next(chain), &during, &step) &&
           fault_chain_add(chain, &step))
        ;
}

/* The chain that begins with the instruction at RIP; empty if it does not fault. */
static struct fault_chain chain_of_instruction(struct triple_fault *t)
{
    struct fault_chain chain = {0};
    struct event during;
    struct fault_step step;
    if (!triple_fault_repeat(t, (struct event){0}, &during, &step))
        return chain;
    const struct fault_step software = {.event = during}; /* INT n, INT3, INTO */
    if (during.valid)
        (void)fault_chain_add(&chain, &software);
    if (fault_chain_add(&chain, &step))
        triple_fault_follow(t, &chain);
    return chain;
}

/* The chain that begins with the last event that was injected. */
static struct fault_chain chain_of_injection(struct triple_fault *t, uint64_t cr2)
{
    struct fault_chain chain = {0};
    const struct fault_step first = {.event = t->injected, .address = cr2};
    if (t->injected.valid && fault_chain_add(&chain, &first))
        triple_fault_follow(t, &chain);
    return chain;
}

/* An event that is not the instruction's own has been injected, because all others exit. */
static struct fault_chain find_chain(struct triple_fault *t, uint64_t cr2)
{
    struct fault_chain chain = chain_of_instruction(t);
    if (chain.complete)
        return chain;
    struct fault_chain other = chain_of_injection(t, cr2);
    return other.complete ? other : chain;
}

void triple_fault_end(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct triple_fault t;
    char first[96], text[224];
    const struct fault_state state = {
        .rip = vmread(VMCS_GUEST_RIP),
        .rsp = vmread(VMCS_GUEST_RSP),
        .cr2 = read_cr2(),
        .cr3 = vmread(VMCS_GUEST_CR3),
        .idt_base = vmread(VMCS_GUEST_IDTR_BASE),
        .idt_limit = (uint32_t)vmread(VMCS_GUEST_IDTR_LIMIT),
        .gate_size = vmread(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_GUEST ? 16
                     : vmread(VMCS_GUEST_CR0) & CR0_PE               ? 8
                                                                     : 4,
    };
    triple_fault_begin(&t, vcpu);
    struct fault_chain chain = find_chain(&t, state.cr2);
    log_info("# %s: vCPU %u: RIP %#lx, RSP %#lx, CR2 %#lx, CR3 %#lx, IDTR base %#lx limit %#x",
             vm->name, vcpu->index, state.rip, state.rsp, state.cr2, state.cr3, state.idt_base,
             state.idt_limit);
    if (fault_chain_text(&chain, text, sizeof(text)))
        log_info("# %s: %s", vm->name, text);
    fault_chain_advice(&chain, &state, text, sizeof(text));
    if (chain.count)
        fault_step_text(&chain.steps[0], first, sizeof(first));
    vcpu_end(vcpu, VM_ENDED_TRIPLE_FAULT, "triple fault at RIP %#lx: %s%s; %s", state.rip,
             chain.count ? "it began with "
                         : "its cause is not known, because it did not "
                           "happen again",
             chain.count ? first : "", text);
}
