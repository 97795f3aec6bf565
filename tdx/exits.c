/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "tdx/exits.h"

#include "vmx/errors.h"

/* A task switch reads and writes TSSs, which only an emulator could do. An EPT misconfiguration
 * cannot happen: MMIO is an EPT violation in a VM that takes #VE. */
static const uint8_t answers[REASON_COUNT] = {
    [REASON_EXCEPTION_OR_NMI] = TD_EXCEPTION,
    [REASON_EXTERNAL_INTERRUPT] = TD_AS_USUAL,
    [REASON_TRIPLE_FAULT] = TD_AS_USUAL,
    [REASON_INTERRUPT_WINDOW] = TD_AS_USUAL,
    [REASON_NMI_WINDOW] = TD_AS_USUAL,
    [REASON_PREEMPTION_TIMER] = TD_AS_USUAL,
    [REASON_PML_FULL] = TD_AS_USUAL,
    [REASON_VIRTUALIZED_EOI] = TD_AS_USUAL,
    [REASON_APIC_WRITE] = TD_AS_USUAL,
    [REASON_CPUID] = TD_CPU,
    [REASON_RDMSR] = TD_CPU,
    [REASON_WRMSR] = TD_CPU,
    [REASON_CR_ACCESS] = TD_CPU,
    [REASON_MOV_DR] = TD_AS_USUAL,
    [REASON_INVLPG] = TD_AS_USUAL,
    [REASON_INVPCID] = TD_AS_USUAL,
    [REASON_XSETBV] = TD_AS_USUAL,
    [REASON_HLT] = TD_RAISE_VE,
    [REASON_INVD] = TD_RAISE_VE,
    [REASON_VMCALL] = TD_RAISE_VE,
    [REASON_IO_INSTRUCTION] = TD_RAISE_VE,
    [REASON_MWAIT] = TD_RAISE_VE,
    [REASON_MONITOR] = TD_RAISE_VE,
    [REASON_WBINVD] = TD_RAISE_VE,
    [REASON_GETSEC] = TD_RAISE_UD,
    [REASON_RSM] = TD_RAISE_UD,
    [REASON_VMCLEAR] = TD_RAISE_UD,
    [REASON_VMLAUNCH] = TD_RAISE_UD,
    [REASON_VMPTRLD] = TD_RAISE_UD,
    [REASON_VMPTRST] = TD_RAISE_UD,
    [REASON_VMREAD] = TD_RAISE_UD,
    [REASON_VMRESUME] = TD_RAISE_UD,
    [REASON_VMWRITE] = TD_RAISE_UD,
    [REASON_VMXOFF] = TD_RAISE_UD,
    [REASON_VMXON] = TD_RAISE_UD,
    [REASON_INVEPT] = TD_RAISE_UD,
    [REASON_INVVPID] = TD_RAISE_UD,
    [REASON_VMFUNC] = TD_RAISE_UD,
    [REASON_ENCLS] = TD_RAISE_UD,
    [REASON_ENCLV] = TD_RAISE_UD,
    [REASON_RDPMC] = TD_RAISE_GP,
    [REASON_EPT_VIOLATION] = TD_MEMORY,
};

enum td_answer td_exit_answer(uint32_t reason)
{
    return reason < REASON_COUNT ? (enum td_answer)answers[reason] : TD_STOP;
}
