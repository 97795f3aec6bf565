/* SPDX-License-Identifier: MIT */
/*
 * EPT violations of a TD. A private access to accepted memory is a first touch, which the MMU maps;
 * any other private access stops the TD, or is #VE where the TD wants it. A shared access to shared
 * memory is a first touch, too; to anything else it is #VE: MMIO, and memory that is private, which
 * Linux reads on purpose (load_unaligned_zeropad()).
 */
#include "vm/td_exit.h"

#include "arch/x86/cpu.h"
#include "lib/errno.h"
#include "mmio/walk.h"
#include "mmu/mmu.h"
#include "tdx/td.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/td_memory.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

struct violation {
    struct vcpu *vcpu;
    gpa_t gpa; /* with the shared bit */
    uint64_t qualification;
    bool shared;
};

static const char *violation_access_name(uint64_t qualification)
{
    return qualification & QUALIFICATION_FETCH   ? "fetch"
           : qualification & QUALIFICATION_WRITE ? "write"
                                                 : "read";
}

/* The message names the rule, the page and its state. */
static COLD void violation_stop(const struct violation *v, const char *rule)
{
    const struct vm *vm = v->vcpu->vm;
    const gpa_t plain = gfn_to_gpa(mmu_gfn(&vm->mmu, v->gpa));
    vcpu_end(v->vcpu, VM_ENDED_MEMORY_FAULT,
             "%s: a %s %s%s at GPA %#lx, RIP %#lx, and the page is %s", rule,
             v->shared ? "shared" : "private", violation_access_name(v->qualification),
             v->qualification & QUALIFICATION_FINAL ? "" : " by the walk of the page tables",
             v->gpa.v, cpu_reg(&v->vcpu->vmx.regs, REG_RIP),
             td_page_state_name(td_page_state(v->vcpu->vm, plain)));
}

/* `gpa` is the complete address, with offset and shared bit, as the guest compares it. */
static void violation_raise(const struct violation *v)
{
    const bool gla = v->qualification & QUALIFICATION_GLA_VALID;
    const struct td_ve ve = {
        .reason = REASON_EPT_VIOLATION,
        .qualification = v->qualification,
        .gla = gla ? vmread(VMCS_GUEST_LINEAR_ADDRESS) : 0,
        .gpa = v->gpa.v,
    };
    td_raise_ve_with(v->vcpu, &ve);
}

/* As the module does (N132): to the CPU, the address is a valid one. */
static void violation_raise_page_fault(const struct violation *v)
{
    const uint64_t q = v->qualification;
    write_cr2(vmread(VMCS_GUEST_LINEAR_ADDRESS));
    vmx_raise(&v->vcpu->vmx, VECTOR_PF,
              (uint32_t)(PF_PRESENT | PF_RESERVED | (q & QUALIFICATION_WRITE ? PF_WRITE : 0) |
                         (q & QUALIFICATION_FETCH ? PF_FETCH : 0) |
                         (cpu_cpl(&v->vcpu->vmx.regs) == 3 ? PF_USER : 0)));
    vmx_end_interrupt_shadow();
}

/* The MMU's answer to an access that may be a first touch. */
static int violation_fault(const struct violation *v, struct mmio_info *info)
{
    return mmu_fault(v->vcpu->mmio.mmu, v->gpa, exit_violation_error_code(v->qualification), info);
}

bool td_gpa_is_reserved(const struct td *td, gpa_t gpa)
{
    return gpa.v >> td->gpa_width;
}

enum td_why td_private_why(enum td_page_state state, uint64_t td_ctls)
{
    switch (state) {
    case TD_PAGE_CONVERTING:
        return TD_WHY_WAITS;
    case TD_PAGE_PENDING:
        return td_ctls & TD_CTLS_PENDING_VE_DISABLE ? TD_WHY_PENDING : TD_WHY_VE;
    case TD_PAGE_SHARED:
        return TD_WHY_SHARED;
    case TD_PAGE_NONE:
        return TD_WHY_NONE;
    case TD_PAGE_BLOCKED: /* a large page may be split by the MMU */
    case TD_PAGE_ACCEPTED:
        break;
    }
    return TD_WHY_FAULT;
}

enum td_why td_shared_why(enum td_page_state state, uint64_t qualification)
{
    if (qualification & QUALIFICATION_FETCH || !(qualification & QUALIFICATION_FINAL))
        return TD_WHY_CODE;
    if (state == TD_PAGE_CONVERTING)
        return TD_WHY_WAITS;
    return state == TD_PAGE_SHARED || state == TD_PAGE_NONE ? TD_WHY_FAULT : TD_WHY_VE;
}

const char *td_why_rule(enum td_why why)
{
    static const char *const rules[] = {
        [TD_WHY_FAULT] = "the host provides the page at the first touch",
        [TD_WHY_WAITS] = "the vCPU waits until another one's MapGPA is complete",
        [TD_WHY_VE] = "the TD handles it, as #VE",
        [TD_WHY_RESERVED] = "the TD gets #PF for a bit beyond its address width",
        [TD_WHY_PENDING] = "private memory must be accepted before it is used (SEPT_VE_DISABLE)",
        [TD_WHY_SHARED] = "shared memory must be used with the shared bit, or be made private by "
                          "MapGPA and accepted",
        [TD_WHY_NONE] = "there is no private memory outside of RAM; devices are reached with the "
                        "shared bit",
        [TD_WHY_CODE] = "code and page tables must be private",
    };
    return rules[why];
}

/* Does what follows from the decision. Returns true if the MMU is to be asked. */
static bool violation_decide(const struct violation *v, enum td_why why)
{
    switch (why) {
    case TD_WHY_FAULT:
        return true;
    case TD_WHY_WAITS:
        mmu_help(&v->vcpu->vm->mmu);
        return false;
    case TD_WHY_VE:
    case TD_WHY_RESERVED:
        return false;
    default:
        violation_stop(v, td_why_rule(why));
        return false;
    }
}

static void private_access(const struct violation *v)
{
    struct vm *vm = v->vcpu->vm;
    struct mmio_info info;
    enum td_page_state state = td_page_state(vm, gfn_to_gpa(mmu_gfn(&vm->mmu, v->gpa)));
    enum td_why why = td_private_why(state, __atomic_load_n(&vm->td->td_ctls, __ATOMIC_RELAXED));
    if (why == TD_WHY_VE)
        violation_raise(v);
    if (!violation_decide(v, why))
        return;
    int result = violation_fault(v, &info);
    if (result != FAULT_FIXED && result != FAULT_SPURIOUS && result != FAULT_RETRY)
        violation_stop(v, "the host could not provide private memory");
}

static void shared_access(const struct violation *v)
{
    struct vm *vm = v->vcpu->vm;
    struct mmio_info info;
    const bool delivering = v->vcpu->vmx.exit.idt_vectoring & EVENT_INFO_VALID;
    const enum td_page_state state = td_page_state(vm, gfn_to_gpa(mmu_gfn(&vm->mmu, v->gpa)));
    const enum td_why why = td_shared_why(state, v->qualification);
    int result = FAULT_VE;
    if (violation_decide(v, why))
        result = violation_fault(v, &info);
    else if (why != TD_WHY_VE)
        return;
    if (result == FAULT_FIXED || result == FAULT_SPURIOUS || result == FAULT_RETRY)
        return;
    if (result != FAULT_VE)
        return violation_stop(v, "the host could not provide shared memory");
    if (delivering)
        return violation_stop(
            v, "#VE cannot be delivered while an event is being delivered; keep IDT, GDT, "
               "TSS and stacks in private memory");
    violation_raise(v);
}

/* No event can be half delivered when the #PF is: it would have to become a double fault. */
static void reserved_access(const struct violation *v)
{
    if (v->vcpu->vmx.exit.idt_vectoring & EVENT_INFO_VALID)
        return violation_stop(v, "#PF for a bit beyond the TD's address width cannot be delivered "
                                 "while an event is being delivered");
    violation_raise_page_fault(v);
}

static void violation_handle(const struct violation *v)
{
    if (v->qualification & QUALIFICATION_GLA_VALID && td_gpa_is_reserved(v->vcpu->vm->td, v->gpa))
        reserved_access(v);
    else if (v->shared)
        shared_access(v);
    else
        private_access(v);
}

/* There is no linear address, so the qualification says that none is valid. */
void td_operand_violation(struct vcpu *vcpu, gpa_t gpa, bool write)
{
    const struct violation v = {
        .vcpu = vcpu,
        .gpa = gpa,
        .qualification = (write ? QUALIFICATION_WRITE : QUALIFICATION_READ) | QUALIFICATION_FINAL,
        .shared = gpa.v & td_shared_bit(vcpu->vm->td)};
    violation_handle(&v);
}

void td_violation(struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    exit_cut_short(vcpu, exit->reason);
    struct violation v = {
        .vcpu = vcpu, .gpa = vmx_exit_gpa(exit), .qualification = vmx_exit_qualification(exit)};
    v.shared = v.gpa.v & td_shared_bit(vcpu->vm->td);
    violation_handle(&v);
    vcpu_end_of_slice(vcpu);
}
