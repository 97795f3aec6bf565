/* SPDX-License-Identifier: MIT */
/*
 * The VMX controls: the name of each bit, which bits the hypervisor needs, and which settings this
 * CPU allows (SDM 3, 25.6 to 25.8 and appendix A).
 *
 * The controls form six sets, each a field of the VMCS. For each bit of a set, a capability MSR
 * says whether it must be 1 and whether it may be 1. A table in control_table.c says whether the
 * hypervisor requires the bit, uses it if possible, toggles it at run time or does not want it, and
 * why. vmx_negotiate() combines the two once, at boot; a new VMCS starts with the resulting values.
 *
 * Pure: the caller passes the values of the MSRs. Called by the VMX initialization.
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pin-based controls (SDM 3, 25.6.1). */
#define PIN_EXTERNAL_INTERRUPT_EXITING BIT(0)
#define PIN_NMI_EXITING                BIT(3)
#define PIN_VIRTUAL_NMIS               BIT(5)
#define PIN_PREEMPTION_TIMER           BIT(6)
#define PIN_POSTED_INTERRUPTS          BIT(7)

/* Primary processor-based controls (SDM 3, 25.6.2). */
#define PRIMARY_INTERRUPT_WINDOW_EXITING BIT(2)
#define PRIMARY_TSC_OFFSETTING           BIT(3)
#define PRIMARY_HLT_EXITING              BIT(7)
#define PRIMARY_INVLPG_EXITING           BIT(9)
#define PRIMARY_MWAIT_EXITING            BIT(10)
#define PRIMARY_RDPMC_EXITING            BIT(11)
#define PRIMARY_RDTSC_EXITING            BIT(12)
#define PRIMARY_CR3_LOAD_EXITING         BIT(15)
#define PRIMARY_CR3_STORE_EXITING        BIT(16)
#define PRIMARY_TERTIARY_CONTROLS        BIT(17)
#define PRIMARY_CR8_LOAD_EXITING         BIT(19)
#define PRIMARY_CR8_STORE_EXITING        BIT(20)
#define PRIMARY_TPR_SHADOW               BIT(21)
#define PRIMARY_NMI_WINDOW_EXITING       BIT(22)
#define PRIMARY_MOV_DR_EXITING           BIT(23)
#define PRIMARY_UNCONDITIONAL_IO_EXITING BIT(24)
#define PRIMARY_IO_BITMAPS               BIT(25)
#define PRIMARY_MONITOR_TRAP_FLAG        BIT(27)
#define PRIMARY_MSR_BITMAPS              BIT(28)
#define PRIMARY_MONITOR_EXITING          BIT(29)
#define PRIMARY_PAUSE_EXITING            BIT(30)
#define PRIMARY_SECONDARY_CONTROLS       BIT(31)

/* Secondary processor-based controls. */
#define SECONDARY_VIRTUALIZE_APIC_ACCESSES   BIT(0)
#define SECONDARY_EPT                        BIT(1)
#define SECONDARY_DESCRIPTOR_TABLE_EXITING   BIT(2)
#define SECONDARY_RDTSCP                     BIT(3)
#define SECONDARY_VIRTUALIZE_X2APIC          BIT(4)
#define SECONDARY_VPID                       BIT(5)
#define SECONDARY_WBINVD_EXITING             BIT(6)
#define SECONDARY_UNRESTRICTED_GUEST         BIT(7)
#define SECONDARY_APIC_REGISTERS             BIT(8)
#define SECONDARY_VIRTUAL_INTERRUPT_DELIVERY BIT(9)
#define SECONDARY_PAUSE_LOOP_EXITING         BIT(10)
#define SECONDARY_RDRAND_EXITING             BIT(11)
#define SECONDARY_INVPCID                    BIT(12)
#define SECONDARY_VM_FUNCTIONS               BIT(13)
#define SECONDARY_VMCS_SHADOWING             BIT(14)
#define SECONDARY_ENCLS_EXITING              BIT(15)
#define SECONDARY_RDSEED_EXITING             BIT(16)
#define SECONDARY_PML                        BIT(17)
#define SECONDARY_EPT_VIOLATION_VE           BIT(18)
#define SECONDARY_CONCEAL_VMX_FROM_PT        BIT(19)
#define SECONDARY_XSAVES                     BIT(20)
#define SECONDARY_PASID_TRANSLATION          BIT(21)
#define SECONDARY_MODE_BASED_EXECUTE         BIT(22)
#define SECONDARY_SUB_PAGE_PERMISSIONS       BIT(23)
#define SECONDARY_PT_GUEST_PHYSICAL          BIT(24)
#define SECONDARY_TSC_SCALING                BIT(25)
#define SECONDARY_USER_WAIT_PAUSE            BIT(26)
#define SECONDARY_PCONFIG                    BIT(27)
#define SECONDARY_ENCLV_EXITING              BIT(28)
#define SECONDARY_BUS_LOCK_DETECTION         BIT(30)
#define SECONDARY_INSTRUCTION_TIMEOUT        BIT(31)

/* Tertiary processor-based controls: 64 bits, none of which must be 1. */
#define TERTIARY_LOADIWKEY_EXITING         BIT(0)
#define TERTIARY_HLAT                      BIT(1)
#define TERTIARY_EPT_PAGING_WRITE          BIT(2)
#define TERTIARY_GUEST_PAGING_VERIFICATION BIT(3)
#define TERTIARY_IPI_VIRTUALIZATION        BIT(4)
#define TERTIARY_VIRTUALIZE_SPEC_CTRL      BIT(7)

/* VM-exit controls (SDM 3, 25.7.1). */
#define EXIT_SAVE_DEBUG_CONTROLS     BIT(2)
#define EXIT_HOST_ADDRESS_SPACE_SIZE BIT(9)
#define EXIT_LOAD_PERF_GLOBAL_CTRL   BIT(12)
#define EXIT_ACKNOWLEDGE_INTERRUPT   BIT(15)
#define EXIT_SAVE_PAT                BIT(18)
#define EXIT_LOAD_PAT                BIT(19)
#define EXIT_SAVE_EFER               BIT(20)
#define EXIT_LOAD_EFER               BIT(21)
#define EXIT_SAVE_PREEMPTION_TIMER   BIT(22)
#define EXIT_CLEAR_BNDCFGS           BIT(23)
#define EXIT_CONCEAL_VMX_FROM_PT     BIT(24)
#define EXIT_CLEAR_RTIT_CTL          BIT(25)
#define EXIT_CLEAR_LBR_CTL           BIT(26)
#define EXIT_CLEAR_UINV              BIT(27)
#define EXIT_LOAD_CET                BIT(28)
#define EXIT_LOAD_PKRS               BIT(29)
#define EXIT_SAVE_PERF_GLOBAL_CTRL   BIT(30)
#define EXIT_SECONDARY_CONTROLS      BIT(31)

/* VM-entry controls (SDM 3, 25.8.1). */
#define ENTRY_LOAD_DEBUG_CONTROLS   BIT(2)
#define ENTRY_IA32E_GUEST           BIT(9)
#define ENTRY_TO_SMM                BIT(10)
#define ENTRY_DEACTIVATE_DUAL_SMM   BIT(11)
#define ENTRY_LOAD_PERF_GLOBAL_CTRL BIT(13)
#define ENTRY_LOAD_PAT              BIT(14)
#define ENTRY_LOAD_EFER             BIT(15)
#define ENTRY_LOAD_BNDCFGS          BIT(16)
#define ENTRY_CONCEAL_VMX_FROM_PT   BIT(17)
#define ENTRY_LOAD_RTIT_CTL         BIT(18)
#define ENTRY_LOAD_UINV             BIT(19)
#define ENTRY_LOAD_CET              BIT(20)
#define ENTRY_LOAD_LBR_CTL          BIT(21)
#define ENTRY_LOAD_PKRS             BIT(22)
#define ENTRY_LOAD_FRED             BIT(23)

/* IA32_VMX_BASIC (SDM 3, A.1). */
#define BASIC_REVISION        BITS(30, 0)
#define BASIC_VMCS_SIZE       BITS(44, 32)
#define BASIC_32BIT_ADDRESSES BIT(48)
#define BASIC_DUAL_SMM        BIT(49)
#define BASIC_MEMORY_TYPE     BITS(53, 50)
#define BASIC_INS_OUTS_INFO   BIT(54)
#define BASIC_TRUE_CONTROLS   BIT(55)
#define BASIC_ANY_ERROR_CODE  BIT(56) /* error codes are optional for all exceptions */

/* IA32_VMX_MISC (SDM 3, A.6). */
#define MISC_TIMER_RATE         BITS(4, 0) /* the timer counts down when bit N of the TSC changes */
#define MISC_STORES_LMA         BIT(5)
#define MISC_HLT_STATE          BIT(6)
#define MISC_SHUTDOWN_STATE     BIT(7)
#define MISC_WAIT_FOR_SIPI      BIT(8)
#define MISC_CR3_TARGETS        BITS(24, 16)
#define MISC_MSR_LIST_MAX       BITS(27, 25) /* 512 * (N + 1) entries recommended */
#define MISC_VMWRITE_ANY        BIT(29)
#define MISC_ZERO_LENGTH_INJECT BIT(30)

/* IA32_VMX_EPT_VPID_CAP (SDM 3, A.10): the bits that restrict the EPT pointer. */
#define EPT_CAP_WALK_4         BIT(6)
#define EPT_CAP_WALK_5         BIT(7)
#define EPT_CAP_UC             BIT(8)
#define EPT_CAP_WB             BIT(14)
#define EPT_CAP_ACCESSED_DIRTY BIT(21)
#define EPT_CAP_SHADOW_STACK   BIT(23)

/* The capability MSRs; the value of an MSR that the CPU lacks is 0. */
struct vmx_msrs {
    uint64_t basic;
    uint64_t pin, primary, exit, entry;
    uint64_t true_pin, true_primary, true_exit, true_entry; /* only if BASIC bit 55 */
    uint64_t secondary;                                     /* only if primary bit 31 may be 1 */
    uint64_t tertiary;                                      /* only if primary bit 17 may be 1 */
    uint64_t misc;
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint64_t vmcs_enum;
    uint64_t ept_vpid_cap;
    uint64_t vmfunc;
};

enum control_set {
    CONTROL_PIN,
    CONTROL_PRIMARY,
    CONTROL_SECONDARY,
    CONTROL_TERTIARY,
    CONTROL_EXIT,
    CONTROL_ENTRY,
    CONTROL_SETS,
};

enum control_need {
    CONTROL_UNWANTED,
    CONTROL_REQUIRED, /* always 1; a CPU without it is refused */
    CONTROL_OPTIONAL, /* 1 if the CPU supports it */
    CONTROL_TOGGLED,  /* starts as 0, is switched at run time; refused unless both are allowed */
};

/* One row of the table of controls. */
struct control {
    enum control_set set;
    uint64_t mask;
    const char *name; /* as the SDM writes it in quotation marks */
    enum control_need need;
    const char *why; /* the reason for a wanted control, for messages */
};
extern const struct control vmx_control_table[];
extern const unsigned vmx_control_count;

/* The result of the negotiation. */
struct vmx_controls {
    uint64_t set[CONTROL_SETS];    /* initial values for a new VMCS; toggled bits are 0 */
    const struct control *missing; /* the first required control that the CPU lacks, or NULL */
};

/* Returns true if all bits of `mask` are 1 in the negotiated controls of `set`. */
static inline bool vmx_has(const struct vmx_controls *controls, enum control_set set, uint64_t mask)
{
    return (controls->set[set] & mask) == mask;
}

/* The bits that must be 1 and that may be 1 on this CPU. The TRUE MSRs are used if they exist. No
 * bit of a set that does not exist may be 1. */
uint64_t vmx_must_be_1(const struct vmx_msrs *msrs, enum control_set set);
uint64_t vmx_may_be_1(const struct vmx_msrs *msrs, enum control_set set);

/* Computes each set as (wanted | must be 1) & may be 1. Returns -ENODEV if a required or toggled
 * control is missing: an error message lists all that are missing, and out->missing is the
 * first. */
int vmx_negotiate(const struct vmx_msrs *msrs, struct vmx_controls *out) MUST_CHECK;

/* Prints the table: each wanted control as `ok`, `missing (optional)` or `MISSING`, and each
 * unwanted control that is forced on. */
void vmx_controls_log(const struct vmx_msrs *msrs);

/* The name of a set ("pin-based" and so on), and the VMCS field that holds it. */
const char *vmx_control_set_name(enum control_set set);
uint32_t vmx_control_field(enum control_set set);

/* Writes the names of the bits that are set in `value`, separated by ", "; a bit without a name as
 * "bit N". Default1 bits without a meaning are left out. Returns the length of the complete text,
 * which may have been cut. */
unsigned vmx_control_names(enum control_set set, uint64_t value, char *buffer, unsigned size);

/* Returns false if accesses to the field fail because this CPU lacks the control on which it
 * depends. */
bool vmx_field_exists(const struct vmx_msrs *msrs, uint32_t field);

/* The bits of CR0 and CR4 that must be 1 and that may be 1 in VMX operation (SDM 3, A.7 and A.8).
 * With `unrestricted`, CR0.PE and CR0.PG of a guest may be 0. */
uint64_t vmx_cr0_must_be_1(const struct vmx_msrs *msrs, bool unrestricted);
uint64_t vmx_cr0_may_be_1(const struct vmx_msrs *msrs);
uint64_t vmx_cr4_must_be_1(const struct vmx_msrs *msrs);
uint64_t vmx_cr4_may_be_1(const struct vmx_msrs *msrs);

/* The CR4 with which the CPU runs a guest whose own CR4 is `value`. MCE is always set: a machine
 * check in a guest that has cleared it would shut the CPU down (rule N125). */
uint64_t vmx_cr4_in_use(const struct vmx_msrs *msrs, uint64_t value);
