/* What each exit reason leads to: one table, one small handler each. */
#include "arch/x86/cpu.h"
#include "guest/abi.h"
#include "guest/vm.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "mmio/flow.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

/* The qualification of an EPT violation (SDM 3, table 28-7). */
#define QUALIFICATION_READ        BIT(0)
#define QUALIFICATION_WRITE       BIT(1)
#define QUALIFICATION_FETCH       BIT(2)
#define QUALIFICATION_PERMISSIONS BITS(5, 3)
#define QUALIFICATION_GLA_VALID   BIT(7)
#define QUALIFICATION_FINAL       BIT(8)

/* The qualification of an I/O instruction (SDM 3, table 28-5). */
#define IO_SIZE   BITS(2, 0) /* less one */
#define IO_IN     BIT(3)
#define IO_STRING BIT(4)
#define IO_PORT   BITS(31, 16)

static void unhandled(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_ENDED_UNHANDLED_EXIT, "exit reason %u (%s) at RIP %#lx has no handler",
           vcpu->vmx.exit.reason, exit_reason_name(vcpu->vmx.exit.reason),
           cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

static void invalid_opcode(struct vcpu *vcpu)
{
    vmx_raise(&vcpu->vmx, VECTOR_UD, 0);
}

/* The CPU was interrupted for the host's sake; the host has taken it. */
static void nothing(struct vcpu *vcpu)
{
    (void)vcpu;
}

static void skip(struct vcpu *vcpu)
{
    vmx_skip_instruction(&vcpu->vmx);
}

static void host_interrupt(struct vcpu *vcpu)
{
    (void)vcpu;
    __asm__ volatile("sti; nop; cli"); /* it is pending: its vector is taken here */
}

static void exception_or_nmi(struct vcpu *vcpu)
{
    vmx_take_host_nmi(&vcpu->vmx);
    if (field_get(vmx_exit_interruption(&vcpu->vmx.exit), EVENT_INFO_TYPE) != EVENT_NMI)
        unhandled(vcpu); /* the exception bitmap is empty */
}

static void triple_fault(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_ENDED_TRIPLE_FAULT,
           "triple fault at RIP %#lx: an exception came up while #DF was delivered",
           cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

static void task_switch(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_ENDED_UNHANDLED_EXIT,
           "task switch at RIP %#lx: hardware task switching is not offered",
           cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

static void halt(struct vcpu *vcpu)
{
    vmx_skip_instruction(&vcpu->vmx);
    vcpu->halted = true;
    vcpu->vmx.attention = true;
}

static void preemption_timer(struct vcpu *vcpu)
{
    vcpu->vmx.attention = true;
}

static uint64_t size_mask(unsigned size)
{
    return BITS(8 * size - 1, 0);
}

static void io_instruction(struct vcpu *vcpu)
{
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    uint64_t *rax = &vcpu->vmx.regs.gpr[GPR_RAX];
    uint64_t port = field_get(qualification, IO_PORT);
    unsigned size = (unsigned)field_get(qualification, IO_SIZE) + 1;

    if (qualification & IO_STRING) {
        vm_end(vcpu->vm, VM_ENDED_UNSUPPORTED_INSTRUCTION,
               "INS or OUTS on port %#lx at RIP %#lx: string I/O is not offered", port,
               cpu_reg(&vcpu->vmx.regs, REG_RIP));
        return;
    }
    if (qualification & IO_IN) {
        uint64_t value = bus_read(&vcpu->vm->port_bus, &vcpu->mmio, port, size);
        uint64_t mask = size_mask(size);
        *rax = size == 4 ? value & mask : (*rax & ~mask) | (value & mask);
    } else {
        bus_write(&vcpu->vm->port_bus, &vcpu->mmio, port, size, *rax & size_mask(size));
    }
    vmx_skip_instruction(&vcpu->vmx);
}

static const enum vm_ending mmio_endings[] = {
    [MMIO_END_DELIVERY] = VM_ENDED_MMIO_DURING_DELIVERY,
    [MMIO_END_MISCONFIG] = VM_ENDED_MISCONFIGURATION,
    [MMIO_END_UNSUPPORTED] = VM_ENDED_UNSUPPORTED_INSTRUCTION,
    [MMIO_END_FETCH] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_TABLES] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_PAGING] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_STALE] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_MEMORY] = VM_ENDED_MEMORY_FAULT,
};

static void act_on(struct vcpu *vcpu, enum mmio_outcome outcome)
{
    struct mmio_vcpu *mmio = &vcpu->mmio;
    switch (outcome) {
    case MMIO_DONE:
        vmx_end_interrupt_shadow();
        if (unlikely(mmio->single_step))
            vmx_raise_single_step(&vcpu->vmx);
        return;
    case MMIO_REENTER:
        return;
    case MMIO_INJECT:
        if (mmio->fault.vector == VECTOR_PF)
            write_cr2(mmio->fault.cr2);
        vmx_raise(&vcpu->vmx, mmio->fault.vector, mmio->fault.error_code);
        return;
    case MMIO_STALE:
        tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_STALE);
        return;
    case MMIO_END:
        vm_end(vcpu->vm, mmio_endings[mmio->end], "%s", mmio->text);
        return;
    }
}

static bool delivering(const struct vcpu *vcpu)
{
    return vcpu->vmx.exit.idt_vectoring & EVENT_INFO_VALID;
}

/* Rule F1. */
static void ept_violation(struct vcpu *vcpu)
{
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    uint32_t error_code = (qualification & QUALIFICATION_READ ? ACCESS_READ : 0) |
                          (qualification & QUALIFICATION_WRITE ? ACCESS_WRITE : 0) |
                          (qualification & QUALIFICATION_FETCH ? ACCESS_FETCH : 0) |
                          (qualification & QUALIFICATION_PERMISSIONS ? FAULT_PRESENT : 0);
    if (qualification & QUALIFICATION_GLA_VALID && qualification & QUALIFICATION_FINAL)
        error_code |= FAULT_FINAL;
    act_on(vcpu, mmio_violation(&vcpu->mmio, vmx_exit_gpa(&vcpu->vmx.exit), error_code,
                                delivering(vcpu)));
}

static void ept_misconfiguration(struct vcpu *vcpu)
{
    act_on(vcpu, mmio_misconfig(&vcpu->mmio, vmx_exit_gpa(&vcpu->vmx.exit), delivering(vcpu)));
}

static void xsetbv(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint64_t value = gpr[GPR_RDX] << 32 | (gpr[GPR_RAX] & 0xffffffff);
    if ((uint32_t)gpr[GPR_RCX] != 0 || cpu_cpl(&vcpu->vmx.regs) != 0 || !extra_set_xcr0(value))
        vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
    else
        vmx_skip_instruction(&vcpu->vmx);
}

static void general_protection(struct vcpu *vcpu)
{
    vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
}

static void (*const handlers[REASON_COUNT])(struct vcpu *) = {
    [REASON_EXCEPTION_OR_NMI] = exception_or_nmi,
    [REASON_EXTERNAL_INTERRUPT] = host_interrupt,
    [REASON_TRIPLE_FAULT] = triple_fault,
    [REASON_INTERRUPT_WINDOW] = nothing, /* vmx_deliver() does the rest */
    [REASON_NMI_WINDOW] = nothing,
    [REASON_TASK_SWITCH] = task_switch,
    [REASON_CPUID] = exit_cpuid,
    [REASON_GETSEC] = invalid_opcode,
    [REASON_HLT] = halt,
    [REASON_INVD] = skip, /* as WBINVD: what is cached stays, which is coherent */
    [REASON_INVLPG] = exit_invlpg,
    [REASON_RDPMC] = general_protection,
    [REASON_VMCALL] = exit_vmcall,
    [REASON_VMCLEAR] = invalid_opcode,
    [REASON_VMLAUNCH] = invalid_opcode,
    [REASON_VMPTRLD] = invalid_opcode,
    [REASON_VMPTRST] = invalid_opcode,
    [REASON_VMREAD] = invalid_opcode,
    [REASON_VMRESUME] = invalid_opcode,
    [REASON_VMWRITE] = invalid_opcode,
    [REASON_VMXOFF] = invalid_opcode,
    [REASON_VMXON] = invalid_opcode,
    [REASON_CR_ACCESS] = exit_cr_access,
    [REASON_IO_INSTRUCTION] = io_instruction,
    [REASON_RDMSR] = exit_rdmsr,
    [REASON_WRMSR] = exit_wrmsr,
    [REASON_MWAIT] = invalid_opcode, /* CPUID does not offer MONITOR */
    [REASON_MONITOR] = invalid_opcode,
    [REASON_EPT_VIOLATION] = ept_violation,
    [REASON_EPT_MISCONFIGURATION] = ept_misconfiguration,
    [REASON_INVEPT] = invalid_opcode,
    [REASON_PREEMPTION_TIMER] = preemption_timer,
    [REASON_INVVPID] = invalid_opcode,
    [REASON_WBINVD] = skip,
    [REASON_XSETBV] = xsetbv,
    [REASON_INVPCID] = exit_invpcid,
    [REASON_VMFUNC] = invalid_opcode,
};

uint64_t vcpu_exit_count(const struct vcpu *vcpu)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < REASON_COUNT; i++)
        sum += vcpu->exits[i];
    return sum;
}

/* More than a basic reason, or one that the manual did not have: false if the entry failed. */
static bool unusual_reason(struct vmx_exit *e)
{
    if (e->reason & EXIT_REASON_ENTRY_FAILED)
        return false;
    e->reason &= (uint32_t)EXIT_REASON_BASIC;
    return true;
}

static void dispatch(struct vcpu *vcpu, uint32_t reason)
{
    vcpu->exits[reason]++;
    if (!(vmx_exit_defines[reason] & OF_INSTRUCTION)) {
        vmx_requeue(&vcpu->vmx);
        vcpu->events_requeued += vcpu->vmx.pending.requeue.valid;
    }
    if (unlikely(!handlers[reason]))
        unhandled(vcpu);
    else
        handlers[reason](vcpu);
}

bool vmx_exited(struct vmx_vcpu *vmx_vcpu)
{
    struct vcpu *vcpu = (struct vcpu *)vmx_vcpu;
    uint32_t reason = vmx_begin_exit(vmx_vcpu);
    if (unlikely(reason >= REASON_COUNT)) {
        if (!unusual_reason(&vmx_vcpu->exit))
            return false;
        reason = vmx_vcpu->exit.reason;
    }
    if (likely(reason < REASON_COUNT))
        dispatch(vcpu, reason);
    else
        unhandled(vcpu);
    return likely(!vmx_vcpu->attention && tlb_is_paid(&vcpu->vm->mmu, tlb_this_cpu()));
}
