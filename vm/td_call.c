/* SPDX-License-Identifier: MIT */
/* TDCALL of a TD: recognised at #UD, executed by tdx/tdcall.h. */
#include "vm/td_exit.h"

#include "arch/x86/cpu.h"
#include "ept/tdx_status.h"
#include "lib/errno.h"
#include "lib/trace.h"
#include "tdx/fetch.h"
#include "tdx/tdcall.h"
#include "vm/clock.h"
#include "vm/hypercall.h"
#include "vm/td_memory.h"
#include "vm/td_report.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* ---- The instruction ------------------------------------------------------------------------- */

struct fetching {
    struct vcpu *vcpu;
    bool changing; /* a page could not be read because another CPU was changing its entry */
};

/* While a large page is split, no byte of it can be read. If the page is MAPPED when its state is
 * asked for, the split has just ended. */
static bool fetch_private(void *context, gpa_t gpa, void *buffer, size_t size)
{
    struct fetching *fetching = context;
    struct vm *vm = fetching->vcpu->vm;
    if (!td_private_read(vm, gpa, buffer, size))
        return true;
    enum td_page_state state = td_page_state(vm, gpa);
    fetching->changing |=
        state == TD_PAGE_BLOCKED || state == TD_PAGE_CONVERTING || state == TD_PAGE_ACCEPTED;
    return false;
}

bool td_at_tdcall(struct vcpu *vcpu, bool *again)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    struct fetching fetching = {.vcpu = vcpu};
    struct td_fetch fetch = {
        .read = fetch_private,
        .context = &fetching,
        .gpa_width = vcpu->vm->td->gpa_width,
        .code64 = vmx_in_64_bit_code(),
        .cr0 = cpu_reg(cpu, REG_CR0),
        .cr3 = cpu_reg(cpu, REG_CR3),
        .cr4 = cpu_reg(cpu, REG_CR4),
        .efer = cpu_reg(cpu, REG_EFER),
    };
    for (unsigned i = 0; i < 4 && !(fetch.efer & EFER_LMA); i++)
        fetch.pdptes[i] = cpu_reg(cpu, REG_PDPTE0 + i);
    uint64_t rip = cpu_reg(cpu, REG_RIP);
    if (!fetch.code64)
        rip = (uint32_t)(rip + cpu_reg(cpu, REG_SEG_BASE + SEG_CS));
    bool found = td_fetch_is_tdcall(&fetch, rip);
    *again = fetching.changing;
    return found;
}

/* ---- What the leaves need -------------------------------------------------------------------- */

static COLD void td_call_stop(struct vcpu *vcpu, const char *what, gpa_t gpa, const char *rule)
{
    vcpu_end(vcpu, VM_ENDED_MEMORY_FAULT, "TDCALL %s of GPA %#lx, RIP %#lx: the page is %s; %s",
             what, gpa.v, cpu_reg(&vcpu->vmx.regs, REG_RIP),
             td_page_state_name(td_page_state(vcpu->vm, gpa)), rule);
}

static uint64_t host_accept(void *context, gpa_t gpa, unsigned level)
{
    struct vcpu *vcpu = context;
    uint64_t status = td_accept(vcpu->vm, gpa, level);
    if (status == TD_ACCEPT_RETRY)
        return TDCALL_STATUS_REPEAT;
    if (status != TD_ACCEPT_NONE)
        return status;
    td_call_stop(vcpu, "MEM.PAGE.ACCEPT", gpa, "only private memory can be accepted");
    return TDCALL_STATUS_END;
}

static uint64_t host_page(void *context, gpa_t gpa, struct tdcall_page *page)
{
    struct vcpu *vcpu = context;
    enum td_page_state state = td_page_state(vcpu->vm, gpa);
    unsigned level;
    hpa_t host;
    if (mmu_gpa_to_pfn(&vcpu->vm->mmu, gpa, &host, &level))
        level = EPT_LEVEL_4K; /* a page that is still to be provided */
    *page =
        (struct tdcall_page){.level = level - EPT_LEVEL_4K, .pending = state == TD_PAGE_PENDING};
    if (state == TD_PAGE_PENDING || state == TD_PAGE_ACCEPTED)
        return TDX_SUCCESS;
    if (state == TD_PAGE_CONVERTING || state == TD_PAGE_BLOCKED)
        return TDCALL_STATUS_REPEAT;
    td_call_stop(vcpu, "MEM.PAGE.ATTR", gpa, "only private memory has attributes");
    return TDCALL_STATUS_END;
}

/* An operand that cannot be accessed is an EPT violation of the TD. If it has not stopped the TD,
 * the instruction is executed again, before or after a #VE. */
static uint64_t report_status(struct vcpu *vcpu, uint64_t status,
                              const struct tdx_operand_fault *fault)
{
    if (status != TDX_OPERAND_FAULT)
        return status;
    td_operand_violation(vcpu, fault->gpa, fault->write);
    return TDCALL_STATUS_REPEAT;
}

static uint64_t host_report(void *context, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
    struct vcpu *vcpu = context;
    struct tdx_operand_fault fault;
    return report_status(vcpu, td_mr_report(vcpu->vm, rcx, rdx, r8, &fault), &fault);
}

static uint64_t host_verify_report(void *context, uint64_t rcx)
{
    struct vcpu *vcpu = context;
    struct tdx_operand_fault fault;
    return report_status(vcpu, td_mr_verifyreport(vcpu->vm, rcx, &fault), &fault);
}

static uint64_t host_rtmr_extend(void *context, uint64_t rcx, uint64_t rdx)
{
    struct vcpu *vcpu = context;
    struct tdx_operand_fault fault;
    return report_status(vcpu, td_mr_rtmr_extend(vcpu->vm, rcx, rdx, &fault), &fault);
}

/* ---- The call -------------------------------------------------------------------------------- */

static const struct tdcall_host host_functions = {.accept = host_accept,
                                                  .page = host_page,
                                                  .report = host_report,
                                                  .verify_report = host_verify_report,
                                                  .rtmr_extend = host_rtmr_extend};

/* NMIs that waited for VEINFO.GET can be delivered now. */
static void release_nmis(struct vcpu *vcpu)
{
    if (unlikely(vcpu->vmx.pending.nmis && !td_ve_is_valid(vcpu->td)))
        attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
}

/* The CPU raised #UD only after it had decoded the instruction, so the mode and the privilege level
 * are those at which it was executed. */
void td_call(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    struct tdcall_host host = host_functions;
    if (!vmx_in_64_bit_code() || vmx_in_user_code()) {
        vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
        vmx_end_interrupt_shadow();
        return;
    }
    const uint64_t leaf = gpr[GPR_RAX], rcx = gpr[GPR_RCX];
    host.context = vcpu;
    enum tdcall_next next = tdcall(vcpu->td, gpr, &host);
    trace(tdcall, leaf, vm_traced(vcpu->vm, rcx), gpr[GPR_RAX]);
    if (next == TDCALL_COMPLETE || next == TDCALL_VMCALL) {
        vmx_skip_bytes(&vcpu->vmx, TDCALL_LENGTH);
        release_nmis(vcpu);
    }
    if (next == TDCALL_VMCALL)
        hypercall_of_td(vcpu);
    vcpu_end_of_slice(vcpu);
}
