/* SPDX-License-Identifier: MIT */
/*
 * The texts for VMX's numbers: why a VMX instruction failed, why the guest exited, why an entry was
 * refused, and what to do about it (SDM 3, 31.4, 27.8 and appendix C).
 *
 * Pure. Called wherever a failure or a counter is printed.
 */
#pragma once

#include "lib/bits.h"

#include <stdint.h>

/* The exit-reason field (SDM 3, 25.9.1). */
#define EXIT_REASON_BASIC        BITS(15, 0)
#define EXIT_REASON_SHADOW_STACK BIT(25) /* the exit left a supervisor shadow stack marked busy */
#define EXIT_REASON_BUS_LOCK     BIT(26)
#define EXIT_REASON_ENCLAVE      BIT(27)
#define EXIT_REASON_PENDING_MTF  BIT(28)
#define EXIT_REASON_VMX_ROOT     BIT(29)
#define EXIT_REASON_ENTRY_FAILED BIT(31)

/* clang-format off */
#define EXIT_REASONS(X)                                                  \
    X(EXCEPTION_OR_NMI,           0, "exception or NMI")                 \
    X(EXTERNAL_INTERRUPT,         1, "external interrupt")               \
    X(TRIPLE_FAULT,               2, "triple fault")                     \
    X(INIT,                       3, "INIT signal")                      \
    X(SIPI,                       4, "start-up IPI")                     \
    X(IO_SMI,                     5, "I/O SMI")                          \
    X(OTHER_SMI,                  6, "other SMI")                        \
    X(INTERRUPT_WINDOW,           7, "interrupt window")                 \
    X(NMI_WINDOW,                 8, "NMI window")                       \
    X(TASK_SWITCH,                9, "task switch")                      \
    X(CPUID,                     10, "CPUID")                            \
    X(GETSEC,                    11, "GETSEC")                           \
    X(HLT,                       12, "HLT")                              \
    X(INVD,                      13, "INVD")                             \
    X(INVLPG,                    14, "INVLPG")                           \
    X(RDPMC,                     15, "RDPMC")                            \
    X(RDTSC,                     16, "RDTSC")                            \
    X(RSM,                       17, "RSM")                              \
    X(VMCALL,                    18, "VMCALL")                           \
    X(VMCLEAR,                   19, "VMCLEAR")                          \
    X(VMLAUNCH,                  20, "VMLAUNCH")                         \
    X(VMPTRLD,                   21, "VMPTRLD")                          \
    X(VMPTRST,                   22, "VMPTRST")                          \
    X(VMREAD,                    23, "VMREAD")                           \
    X(VMRESUME,                  24, "VMRESUME")                         \
    X(VMWRITE,                   25, "VMWRITE")                          \
    X(VMXOFF,                    26, "VMXOFF")                           \
    X(VMXON,                     27, "VMXON")                            \
    X(CR_ACCESS,                 28, "control-register access")          \
    X(MOV_DR,                    29, "MOV DR")                           \
    X(IO_INSTRUCTION,            30, "I/O instruction")                  \
    X(RDMSR,                     31, "RDMSR")                            \
    X(WRMSR,                     32, "WRMSR")                            \
    X(ENTRY_FAILED_GUEST_STATE,  33, "entry failed: invalid guest state") \
    X(ENTRY_FAILED_MSR_LOADING,  34, "entry failed: MSR loading")        \
    X(MWAIT,                     36, "MWAIT")                            \
    X(MONITOR_TRAP_FLAG,         37, "monitor trap flag")                \
    X(MONITOR,                   39, "MONITOR")                          \
    X(PAUSE,                     40, "PAUSE")                            \
    X(ENTRY_FAILED_MACHINE_CHECK,41, "entry failed: machine-check event") \
    X(TPR_BELOW_THRESHOLD,       43, "TPR below threshold")              \
    X(APIC_ACCESS,               44, "APIC access")                      \
    X(VIRTUALIZED_EOI,           45, "virtualized EOI")                  \
    X(GDTR_IDTR_ACCESS,          46, "access to GDTR or IDTR")           \
    X(LDTR_TR_ACCESS,            47, "access to LDTR or TR")             \
    X(EPT_VIOLATION,             48, "EPT violation")                    \
    X(EPT_MISCONFIGURATION,      49, "EPT misconfiguration")             \
    X(INVEPT,                    50, "INVEPT")                           \
    X(RDTSCP,                    51, "RDTSCP")                           \
    X(PREEMPTION_TIMER,          52, "VMX-preemption timer")             \
    X(INVVPID,                   53, "INVVPID")                          \
    X(WBINVD,                    54, "WBINVD or WBNOINVD")               \
    X(XSETBV,                    55, "XSETBV")                           \
    X(APIC_WRITE,                56, "APIC write")                       \
    X(RDRAND,                    57, "RDRAND")                           \
    X(INVPCID,                   58, "INVPCID")                          \
    X(VMFUNC,                    59, "VMFUNC")                           \
    X(ENCLS,                     60, "ENCLS")                            \
    X(RDSEED,                    61, "RDSEED")                           \
    X(PML_FULL,                  62, "page-modification log full")       \
    X(XSAVES,                    63, "XSAVES")                           \
    X(XRSTORS,                   64, "XRSTORS")                          \
    X(PCONFIG,                   65, "PCONFIG")                          \
    X(SPP_EVENT,                 66, "SPP-related event")                \
    X(UMWAIT,                    67, "UMWAIT")                           \
    X(TPAUSE,                    68, "TPAUSE")                           \
    X(LOADIWKEY,                 69, "LOADIWKEY")                        \
    X(ENCLV,                     70, "ENCLV")                            \
    X(ENQCMD_PASID,              72, "ENQCMD PASID translation failure") \
    X(ENQCMDS_PASID,             73, "ENQCMDS PASID translation failure") \
    X(BUS_LOCK,                  74, "bus lock")                         \
    X(INSTRUCTION_TIMEOUT,       75, "instruction timeout")              \
    X(SEAMCALL,                  76, "SEAMCALL")                         \
    X(TDCALL,                    77, "TDCALL")                           \
    X(RDMSRLIST,                 78, "RDMSRLIST")                        \
    X(WRMSRLIST,                 79, "WRMSRLIST")                        \
    X(URDMSR,                    80, "URDMSR")                           \
    X(UWRMSR,                    81, "UWRMSR")                           \
    X(RDMSR_IMMEDIATE,           84, "RDMSR with an immediate")          \
    X(WRMSRNS_IMMEDIATE,         85, "WRMSRNS with an immediate")
/* clang-format on */

enum exit_reason {
#define X(name, number, text) REASON_##name = (number),
    EXIT_REASONS(X)
#undef X
};

/* The largest reason + 1: the size of an array of counters. */
#define REASON_COUNT (REASON_WRMSRNS_IMMEDIATE + 1)

/* The name of the basic exit reason; "unknown exit reason" for the gaps. */
const char *exit_reason_name(uint32_t reason);

/* The name of a VM-instruction error, and a hint; both are defined for every number. */
const char *vm_instruction_error_name(uint32_t error);
const char *vm_instruction_error_hint(uint32_t error);

/* Logs with log_error() why the VMX instruction with the name `instruction` failed. */
void vm_instruction_error_log(const char *instruction, uint32_t error);

/* Logs why a VM entry failed and where to look. `reason` is the exit reason with bit 31 set (33, 34
 * or 41), `qualification` the exit qualification. */
void entry_failure_log(uint32_t reason, uint64_t qualification);
