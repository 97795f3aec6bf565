/* SPDX-License-Identifier: MIT */
/*
 * The TDVMCALLs that only TDs have (GHCI 1.5, section 3): vm/ghci.c calls td_vmcall() for a leaf
 * that is none of its own. The registers are a copy with only what the TD exposes; the functions
 * change what they return. The guest chooses all of them.
 */
#include "vm/td_exit.h"

#include "arch/x86/cpu.h"
#include "vm/dma.h"
#include "vm/ghci.h"
#include "vm/ipi.h"
#include "vm/td_cpu.h"
#include "vm/td_report.h"
#include "vm/vm.h"

/* ---- ReportFatalError ------------------------------------------------------------------------ */

#define FATAL_HAS_GPA BIT(63) /* of R12: R13 is the address of more information */

/* The registers that hold the text, in its order. */
static const uint8_t fatal_text[] = {GPR_R14, GPR_R15, GPR_RBX, GPR_RDI,
                                     GPR_RSI, GPR_R8,  GPR_R9,  GPR_RDX};

/* Only what can be printed is: the text is the guest's. */
static uint64_t report_fatal_error(struct vcpu *vcpu, uint64_t *gpr)
{
    char text[sizeof(fatal_text) * 8 + 1];
    size_t length = 0;
    for (; length < sizeof(text) - 1; length++) {
        char c = (char)(gpr[fatal_text[length / 8]] >> 8 * (length % 8));
        if (!c)
            break;
        text[length] = c < ' ' || c > '~' ? '?' : c;
    }
    text[length] = 0;
    vcpu_end(vcpu, VM_ENDED_FATAL_ERROR, "the TD reports a fatal error, code %#lx: \"%s\"",
             (uint64_t)(gpr[GPR_R12] & ~FATAL_HAS_GPA), text);
    return GHCI_SUCCESS;
}

/* ---- GetQuote -------------------------------------------------------------------------------- */

/* The vCPU that has asked for it gets an interrupt when a quote is complete (GHCI 1.5, 3.5). */
static void notify(struct vm *vm)
{
    const uint16_t wanted = __atomic_load_n(&vm->td->notify, __ATOMIC_RELAXED);
    const struct lapic_message message = {
        .mode = LAPIC_FIXED, .vector = (uint8_t)wanted, .destination = wanted >> 8};
    if (wanted)
        (void)ipi_send_from_device(vm, &message, false);
}

static uint64_t get_quote(struct vcpu *vcpu, uint64_t *gpr)
{
    const uint64_t shared = td_shared_bit(vcpu->vm->td), buffer = gpr[GPR_R12], size = gpr[GPR_R13];
    if (!(buffer & shared) || !size || buffer + size < buffer)
        return GHCI_INVALID_OPERAND;
    if (page_offset(buffer) || page_offset(size))
        return GHCI_ALIGN_ERROR;
    if (!td_get_quote(vcpu->vm, buffer, size))
        return GHCI_INVALID_OPERAND;
    notify(vcpu->vm);
    return GHCI_SUCCESS;
}

/* ---- Others ---------------------------------------------------------------------------------- */

#define FIRST_VECTOR 32u

static uint64_t setup_event_notify_interrupt(struct vcpu *vcpu, uint64_t *gpr)
{
    if (gpr[GPR_R12] < FIRST_VECTOR || gpr[GPR_R12] > 255)
        return GHCI_INVALID_OPERAND;
    __atomic_store_n(&vcpu->vm->td->notify, (uint16_t)((unsigned)vcpu->index << 8 | gpr[GPR_R12]),
                     __ATOMIC_RELAXED);
    return GHCI_SUCCESS;
}

/* Sub-leaf 1 says which leaves beyond the base ones exist: bit 0 GetQuote, bit 1
 * SetupEventNotifyInterrupt. */
static uint64_t get_more_info(struct vcpu *vcpu, uint64_t *gpr)
{
    (void)vcpu;
    if (gpr[GPR_R12] != 1)
        return GHCI_INVALID_OPERAND;
    gpr[GPR_R11] = BITS(1, 0);
    gpr[GPR_R12] = gpr[GPR_R13] = gpr[GPR_R14] = 0;
    return GHCI_SUCCESS;
}

/* R12: 0 for WBINVD, 1 for WBNOINVD. The caches keep their lines, which is coherent. */
static uint64_t instruction_wbinvd(struct vcpu *vcpu, uint64_t *gpr)
{
    (void)vcpu;
    return gpr[GPR_R12] > 1 ? GHCI_INVALID_OPERAND : GHCI_SUCCESS;
}

static const struct {
    uint64_t leaf; /* R11; below 65536 a VMX exit reason */
    uint64_t (*call)(struct vcpu *vcpu, uint64_t *gpr);
} calls[] = {
    {REASON_CPUID, td_vmcall_cpuid},
    {REASON_HLT, td_vmcall_hlt},
    {REASON_IO_INSTRUCTION, td_vmcall_io},
    {REASON_RDMSR, td_vmcall_rdmsr},
    {REASON_WRMSR, td_vmcall_wrmsr},
    {REASON_WBINVD, instruction_wbinvd},
    {GHCI_GET_INFO, get_more_info},
    {GHCI_GET_QUOTE, get_quote},
    {GHCI_REPORT_FATAL_ERROR, report_fatal_error},
    {GHCI_SETUP_EVENT_NOTIFY_INTERRUPT, setup_event_notify_interrupt},
};

uint64_t td_vmcall(struct vcpu *vcpu, uint64_t *gpr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
        if (calls[i].leaf == gpr[GPR_R11])
            return calls[i].call(vcpu, gpr);
    return GHCI_UNKNOWN_LEAF;
}
