/* SPDX-License-Identifier: MIT */
/*
 * Every field of the VMCS: its name, its encoding and its text for messages (SDM 3, appendix B).
 *
 * The encoding contains the width (bits 14:13) and the section (bits 11:10), so the table does not
 * repeat them. Whether a field exists on this CPU depends on the controls: see vmx_field_exists()
 * in vmx/controls.h. Section numbers in vmx/ are those of the SDM edition in which chapter 25
 * describes the VMCS and chapter 27 VM entries.
 *
 * Pure. Used by everything in vmx/ and by nothing above it.
 */
#pragma once

#include <stdint.h>

/* clang-format off */
#define VMCS_FIELDS(X)                                                                            \
    /* 16 bits: control */                                                                        \
    X(VPID,                           0x0000, "VPID")                                             \
    X(POSTED_INTERRUPT_VECTOR,        0x0002, "posted-interrupt notification vector")             \
    X(EPTP_INDEX,                     0x0004, "EPTP index")                                       \
    X(HLAT_PREFIX_SIZE,               0x0006, "HLAT prefix size")                                 \
    X(LAST_PID_POINTER_INDEX,         0x0008, "last PID-pointer index")                           \
    /* 16 bits: guest state */                                                                    \
    X(GUEST_ES_SELECTOR,              0x0800, "guest ES selector")                                \
    X(GUEST_CS_SELECTOR,              0x0802, "guest CS selector")                                \
    X(GUEST_SS_SELECTOR,              0x0804, "guest SS selector")                                \
    X(GUEST_DS_SELECTOR,              0x0806, "guest DS selector")                                \
    X(GUEST_FS_SELECTOR,              0x0808, "guest FS selector")                                \
    X(GUEST_GS_SELECTOR,              0x080a, "guest GS selector")                                \
    X(GUEST_LDTR_SELECTOR,            0x080c, "guest LDTR selector")                              \
    X(GUEST_TR_SELECTOR,              0x080e, "guest TR selector")                                \
    X(GUEST_INTERRUPT_STATUS,         0x0810, "guest interrupt status")                           \
    X(PML_INDEX,                      0x0812, "PML index")                                        \
    X(GUEST_UINV,                     0x0814, "guest UINV")                                       \
    /* 16 bits: host state */                                                                     \
    X(HOST_ES_SELECTOR,               0x0c00, "host ES selector")                                 \
    X(HOST_CS_SELECTOR,               0x0c02, "host CS selector")                                 \
    X(HOST_SS_SELECTOR,               0x0c04, "host SS selector")                                 \
    X(HOST_DS_SELECTOR,               0x0c06, "host DS selector")                                 \
    X(HOST_FS_SELECTOR,               0x0c08, "host FS selector")                                 \
    X(HOST_GS_SELECTOR,               0x0c0a, "host GS selector")                                 \
    X(HOST_TR_SELECTOR,               0x0c0c, "host TR selector")                                 \
    /* 64 bits: control */                                                                        \
    X(IO_BITMAP_A,                    0x2000, "I/O-bitmap A address")                             \
    X(IO_BITMAP_B,                    0x2002, "I/O-bitmap B address")                             \
    X(MSR_BITMAP,                     0x2004, "MSR-bitmap address")                               \
    X(EXIT_MSR_STORE_ADDRESS,         0x2006, "VM-exit MSR-store address")                        \
    X(EXIT_MSR_LOAD_ADDRESS,          0x2008, "VM-exit MSR-load address")                         \
    X(ENTRY_MSR_LOAD_ADDRESS,         0x200a, "VM-entry MSR-load address")                        \
    X(EXECUTIVE_VMCS_POINTER,         0x200c, "executive-VMCS pointer")                           \
    X(PML_ADDRESS,                    0x200e, "PML address")                                      \
    X(TSC_OFFSET,                     0x2010, "TSC offset")                                       \
    X(VIRTUAL_APIC_ADDRESS,           0x2012, "virtual-APIC address")                             \
    X(APIC_ACCESS_ADDRESS,            0x2014, "APIC-access address")                              \
    X(POSTED_INTERRUPT_DESCRIPTOR,    0x2016, "posted-interrupt descriptor address")              \
    X(VM_FUNCTION_CONTROLS,           0x2018, "VM-function controls")                             \
    X(EPT_POINTER,                    0x201a, "EPT pointer")                                      \
    X(EOI_EXIT_BITMAP_0,              0x201c, "EOI-exit bitmap 0")                                \
    X(EOI_EXIT_BITMAP_1,              0x201e, "EOI-exit bitmap 1")                                \
    X(EOI_EXIT_BITMAP_2,              0x2020, "EOI-exit bitmap 2")                                \
    X(EOI_EXIT_BITMAP_3,              0x2022, "EOI-exit bitmap 3")                                \
    X(EPTP_LIST_ADDRESS,              0x2024, "EPTP-list address")                                \
    X(VMREAD_BITMAP,                  0x2026, "VMREAD-bitmap address")                            \
    X(VMWRITE_BITMAP,                 0x2028, "VMWRITE-bitmap address")                           \
    X(VE_INFORMATION_ADDRESS,         0x202a, "virtualization-exception information address")     \
    X(XSS_EXITING_BITMAP,             0x202c, "XSS-exiting bitmap")                               \
    X(ENCLS_EXITING_BITMAP,           0x202e, "ENCLS-exiting bitmap")                             \
    X(SPP_TABLE_POINTER,              0x2030, "sub-page-permission-table pointer")                \
    X(TSC_MULTIPLIER,                 0x2032, "TSC multiplier")                                   \
    X(TERTIARY_CONTROLS,              0x2034, "tertiary processor-based controls")                \
    X(ENCLV_EXITING_BITMAP,           0x2036, "ENCLV-exiting bitmap")                             \
    X(LOW_PASID_DIRECTORY,            0x2038, "low PASID directory address")                      \
    X(HIGH_PASID_DIRECTORY,           0x203a, "high PASID directory address")                     \
    X(SHARED_EPT_POINTER,             0x203c, "shared EPT pointer")                               \
    X(PCONFIG_EXITING_BITMAP,         0x203e, "PCONFIG-exiting bitmap")                           \
    X(HLAT_POINTER,                   0x2040, "HLAT pointer")                                     \
    X(PID_POINTER_TABLE,              0x2042, "PID-pointer table address")                        \
    X(SECONDARY_EXIT_CONTROLS,        0x2044, "secondary VM-exit controls")                       \
    X(SPEC_CTRL_MASK,                 0x204a, "IA32_SPEC_CTRL mask")                              \
    X(SPEC_CTRL_SHADOW,               0x204c, "IA32_SPEC_CTRL shadow")                            \
    X(INJECTED_EVENT_DATA,            0x2052, "injected-event data")                              \
    /* 64 bits: exit information */                                                               \
    X(GUEST_PHYSICAL_ADDRESS,         0x2400, "guest-physical address")                           \
    X(ORIGINAL_EVENT_DATA,            0x2404, "original-event data")                              \
    /* 64 bits: guest state */                                                                    \
    X(LINK_POINTER,                   0x2800, "VMCS link pointer")                                \
    X(GUEST_DEBUGCTL,                 0x2802, "guest IA32_DEBUGCTL")                              \
    X(GUEST_PAT,                      0x2804, "guest IA32_PAT")                                   \
    X(GUEST_EFER,                     0x2806, "guest IA32_EFER")                                  \
    X(GUEST_PERF_GLOBAL_CTRL,         0x2808, "guest IA32_PERF_GLOBAL_CTRL")                      \
    X(GUEST_PDPTE0,                   0x280a, "guest PDPTE0")                                     \
    X(GUEST_PDPTE1,                   0x280c, "guest PDPTE1")                                     \
    X(GUEST_PDPTE2,                   0x280e, "guest PDPTE2")                                     \
    X(GUEST_PDPTE3,                   0x2810, "guest PDPTE3")                                     \
    X(GUEST_BNDCFGS,                  0x2812, "guest IA32_BNDCFGS")                               \
    X(GUEST_RTIT_CTL,                 0x2814, "guest IA32_RTIT_CTL")                              \
    X(GUEST_LBR_CTL,                  0x2816, "guest IA32_LBR_CTL")                               \
    X(GUEST_PKRS,                     0x2818, "guest IA32_PKRS")                                  \
    X(GUEST_FRED_CONFIG,              0x281a, "guest IA32_FRED_CONFIG")                           \
    X(GUEST_FRED_RSP1,                0x281c, "guest IA32_FRED_RSP1")                             \
    X(GUEST_FRED_RSP2,                0x281e, "guest IA32_FRED_RSP2")                             \
    X(GUEST_FRED_RSP3,                0x2820, "guest IA32_FRED_RSP3")                             \
    X(GUEST_FRED_STKLVLS,             0x2822, "guest IA32_FRED_STKLVLS")                          \
    X(GUEST_FRED_SSP1,                0x2824, "guest IA32_FRED_SSP1")                             \
    X(GUEST_FRED_SSP2,                0x2826, "guest IA32_FRED_SSP2")                             \
    X(GUEST_FRED_SSP3,                0x2828, "guest IA32_FRED_SSP3")                             \
    /* 64 bits: host state */                                                                     \
    X(HOST_PAT,                       0x2c00, "host IA32_PAT")                                    \
    X(HOST_EFER,                      0x2c02, "host IA32_EFER")                                   \
    X(HOST_PERF_GLOBAL_CTRL,          0x2c04, "host IA32_PERF_GLOBAL_CTRL")                       \
    X(HOST_PKRS,                      0x2c06, "host IA32_PKRS")                                   \
    X(HOST_FRED_CONFIG,               0x2c08, "host IA32_FRED_CONFIG")                            \
    X(HOST_FRED_RSP1,                 0x2c0a, "host IA32_FRED_RSP1")                              \
    X(HOST_FRED_RSP2,                 0x2c0c, "host IA32_FRED_RSP2")                              \
    X(HOST_FRED_RSP3,                 0x2c0e, "host IA32_FRED_RSP3")                              \
    X(HOST_FRED_STKLVLS,              0x2c10, "host IA32_FRED_STKLVLS")                           \
    X(HOST_FRED_SSP1,                 0x2c12, "host IA32_FRED_SSP1")                              \
    X(HOST_FRED_SSP2,                 0x2c14, "host IA32_FRED_SSP2")                              \
    X(HOST_FRED_SSP3,                 0x2c16, "host IA32_FRED_SSP3")                              \
    /* 32 bits: control */                                                                        \
    X(PIN_CONTROLS,                   0x4000, "pin-based controls")                               \
    X(PRIMARY_CONTROLS,               0x4002, "primary processor-based controls")                 \
    X(EXCEPTION_BITMAP,               0x4004, "exception bitmap")                                 \
    X(PAGE_FAULT_ERROR_MASK,          0x4006, "page-fault error-code mask")                       \
    X(PAGE_FAULT_ERROR_MATCH,         0x4008, "page-fault error-code match")                      \
    X(CR3_TARGET_COUNT,               0x400a, "CR3-target count")                                 \
    X(EXIT_CONTROLS,                  0x400c, "VM-exit controls")                                 \
    X(EXIT_MSR_STORE_COUNT,           0x400e, "VM-exit MSR-store count")                          \
    X(EXIT_MSR_LOAD_COUNT,            0x4010, "VM-exit MSR-load count")                           \
    X(ENTRY_CONTROLS,                 0x4012, "VM-entry controls")                                \
    X(ENTRY_MSR_LOAD_COUNT,           0x4014, "VM-entry MSR-load count")                          \
    X(ENTRY_INTERRUPTION_INFO,        0x4016, "VM-entry interruption information")                \
    X(ENTRY_ERROR_CODE,               0x4018, "VM-entry exception error code")                    \
    X(ENTRY_INSTRUCTION_LENGTH,       0x401a, "VM-entry instruction length")                      \
    X(TPR_THRESHOLD,                  0x401c, "TPR threshold")                                    \
    X(SECONDARY_CONTROLS,             0x401e, "secondary processor-based controls")               \
    X(PLE_GAP,                        0x4020, "PLE_Gap")                                          \
    X(PLE_WINDOW,                     0x4022, "PLE_Window")                                       \
    X(INSTRUCTION_TIMEOUT,            0x4024, "instruction-timeout control")                      \
    /* 32 bits: exit information */                                                               \
    X(INSTRUCTION_ERROR,              0x4400, "VM-instruction error")                             \
    X(EXIT_REASON,                    0x4402, "exit reason")                                      \
    X(EXIT_INTERRUPTION_INFO,         0x4404, "VM-exit interruption information")                 \
    X(EXIT_INTERRUPTION_ERROR,        0x4406, "VM-exit interruption error code")                  \
    X(IDT_VECTORING_INFO,             0x4408, "IDT-vectoring information")                        \
    X(IDT_VECTORING_ERROR,            0x440a, "IDT-vectoring error code")                         \
    X(EXIT_INSTRUCTION_LENGTH,        0x440c, "VM-exit instruction length")                       \
    X(EXIT_INSTRUCTION_INFO,          0x440e, "VM-exit instruction information")                  \
    /* 32 bits: guest state */                                                                    \
    X(GUEST_ES_LIMIT,                 0x4800, "guest ES limit")                                   \
    X(GUEST_CS_LIMIT,                 0x4802, "guest CS limit")                                   \
    X(GUEST_SS_LIMIT,                 0x4804, "guest SS limit")                                   \
    X(GUEST_DS_LIMIT,                 0x4806, "guest DS limit")                                   \
    X(GUEST_FS_LIMIT,                 0x4808, "guest FS limit")                                   \
    X(GUEST_GS_LIMIT,                 0x480a, "guest GS limit")                                   \
    X(GUEST_LDTR_LIMIT,               0x480c, "guest LDTR limit")                                 \
    X(GUEST_TR_LIMIT,                 0x480e, "guest TR limit")                                   \
    X(GUEST_GDTR_LIMIT,               0x4810, "guest GDTR limit")                                 \
    X(GUEST_IDTR_LIMIT,               0x4812, "guest IDTR limit")                                 \
    X(GUEST_ES_ACCESS_RIGHTS,         0x4814, "guest ES access rights")                           \
    X(GUEST_CS_ACCESS_RIGHTS,         0x4816, "guest CS access rights")                           \
    X(GUEST_SS_ACCESS_RIGHTS,         0x4818, "guest SS access rights")                           \
    X(GUEST_DS_ACCESS_RIGHTS,         0x481a, "guest DS access rights")                           \
    X(GUEST_FS_ACCESS_RIGHTS,         0x481c, "guest FS access rights")                           \
    X(GUEST_GS_ACCESS_RIGHTS,         0x481e, "guest GS access rights")                           \
    X(GUEST_LDTR_ACCESS_RIGHTS,       0x4820, "guest LDTR access rights")                         \
    X(GUEST_TR_ACCESS_RIGHTS,         0x4822, "guest TR access rights")                           \
    X(GUEST_INTERRUPTIBILITY,         0x4824, "guest interruptibility state")                     \
    X(GUEST_ACTIVITY_STATE,           0x4826, "guest activity state")                             \
    X(GUEST_SMBASE,                   0x4828, "guest SMBASE")                                     \
    X(GUEST_SYSENTER_CS,              0x482a, "guest IA32_SYSENTER_CS")                           \
    X(PREEMPTION_TIMER_VALUE,         0x482e, "VMX-preemption timer value")                       \
    /* 32 bits: host state */                                                                     \
    X(HOST_SYSENTER_CS,               0x4c00, "host IA32_SYSENTER_CS")                            \
    /* natural width: control */                                                                  \
    X(CR0_GUEST_HOST_MASK,            0x6000, "CR0 guest/host mask")                              \
    X(CR4_GUEST_HOST_MASK,            0x6002, "CR4 guest/host mask")                              \
    X(CR0_READ_SHADOW,                0x6004, "CR0 read shadow")                                  \
    X(CR4_READ_SHADOW,                0x6006, "CR4 read shadow")                                  \
    X(CR3_TARGET_0,                   0x6008, "CR3-target value 0")                               \
    X(CR3_TARGET_1,                   0x600a, "CR3-target value 1")                               \
    X(CR3_TARGET_2,                   0x600c, "CR3-target value 2")                               \
    X(CR3_TARGET_3,                   0x600e, "CR3-target value 3")                               \
    /* natural width: exit information */                                                         \
    X(EXIT_QUALIFICATION,             0x6400, "exit qualification")                               \
    X(IO_RCX,                         0x6402, "I/O RCX")                                          \
    X(IO_RSI,                         0x6404, "I/O RSI")                                          \
    X(IO_RDI,                         0x6406, "I/O RDI")                                          \
    X(IO_RIP,                         0x6408, "I/O RIP")                                          \
    X(GUEST_LINEAR_ADDRESS,           0x640a, "guest-linear address")                             \
    /* natural width: guest state */                                                              \
    X(GUEST_CR0,                      0x6800, "guest CR0")                                        \
    X(GUEST_CR3,                      0x6802, "guest CR3")                                        \
    X(GUEST_CR4,                      0x6804, "guest CR4")                                        \
    X(GUEST_ES_BASE,                  0x6806, "guest ES base")                                    \
    X(GUEST_CS_BASE,                  0x6808, "guest CS base")                                    \
    X(GUEST_SS_BASE,                  0x680a, "guest SS base")                                    \
    X(GUEST_DS_BASE,                  0x680c, "guest DS base")                                    \
    X(GUEST_FS_BASE,                  0x680e, "guest FS base")                                    \
    X(GUEST_GS_BASE,                  0x6810, "guest GS base")                                    \
    X(GUEST_LDTR_BASE,                0x6812, "guest LDTR base")                                  \
    X(GUEST_TR_BASE,                  0x6814, "guest TR base")                                    \
    X(GUEST_GDTR_BASE,                0x6816, "guest GDTR base")                                  \
    X(GUEST_IDTR_BASE,                0x6818, "guest IDTR base")                                  \
    X(GUEST_DR7,                      0x681a, "guest DR7")                                        \
    X(GUEST_RSP,                      0x681c, "guest RSP")                                        \
    X(GUEST_RIP,                      0x681e, "guest RIP")                                        \
    X(GUEST_RFLAGS,                   0x6820, "guest RFLAGS")                                     \
    X(GUEST_PENDING_DEBUG,            0x6822, "guest pending debug exceptions")                   \
    X(GUEST_SYSENTER_ESP,             0x6824, "guest IA32_SYSENTER_ESP")                          \
    X(GUEST_SYSENTER_EIP,             0x6826, "guest IA32_SYSENTER_EIP")                          \
    X(GUEST_S_CET,                    0x6828, "guest IA32_S_CET")                                 \
    X(GUEST_SSP,                      0x682a, "guest SSP")                                        \
    X(GUEST_INTERRUPT_SSP_TABLE,      0x682c, "guest IA32_INTERRUPT_SSP_TABLE_ADDR")              \
    /* natural width: host state */                                                               \
    X(HOST_CR0,                       0x6c00, "host CR0")                                         \
    X(HOST_CR3,                       0x6c02, "host CR3")                                         \
    X(HOST_CR4,                       0x6c04, "host CR4")                                         \
    X(HOST_FS_BASE,                   0x6c06, "host FS base")                                     \
    X(HOST_GS_BASE,                   0x6c08, "host GS base")                                     \
    X(HOST_TR_BASE,                   0x6c0a, "host TR base")                                     \
    X(HOST_GDTR_BASE,                 0x6c0c, "host GDTR base")                                   \
    X(HOST_IDTR_BASE,                 0x6c0e, "host IDTR base")                                   \
    X(HOST_SYSENTER_ESP,              0x6c10, "host IA32_SYSENTER_ESP")                           \
    X(HOST_SYSENTER_EIP,              0x6c12, "host IA32_SYSENTER_EIP")                           \
    X(HOST_RSP,                       0x6c14, "host RSP")                                         \
    X(HOST_RIP,                       0x6c16, "host RIP")                                         \
    X(HOST_S_CET,                     0x6c18, "host IA32_S_CET")                                  \
    X(HOST_SSP,                       0x6c1a, "host SSP")                                         \
    X(HOST_INTERRUPT_SSP_TABLE,       0x6c1c, "host IA32_INTERRUPT_SSP_TABLE_ADDR")
/* clang-format on */

enum vmcs_encoding {
#define X(name, encoding, text) VMCS_##name = (encoding),
    VMCS_FIELDS(X)
#undef X
};

/* Bits 14:13 of the encoding. */
enum vmcs_width {
    VMCS_WIDTH_16,
    VMCS_WIDTH_64,
    VMCS_WIDTH_32,
    VMCS_WIDTH_NATURAL,
};

/* Bits 11:10 of the encoding. */
enum vmcs_section {
    VMCS_CONTROL,
    VMCS_EXIT_INFO, /* read-only, unless IA32_VMX_MISC bit 29 allows writes */
    VMCS_GUEST_STATE,
    VMCS_HOST_STATE,
};

static inline enum vmcs_width vmcs_field_width(uint32_t encoding)
{
    return (enum vmcs_width)(encoding >> 13 & 3);
}

static inline enum vmcs_section vmcs_field_section(uint32_t encoding)
{
    return (enum vmcs_section)(encoding >> 10 & 3);
}

/* The width of the field in bits: 16, 32 or 64. */
static inline unsigned vmcs_field_bits(uint32_t encoding)
{
    enum vmcs_width width = vmcs_field_width(encoding);
    return width == VMCS_WIDTH_16 ? 16 : width == VMCS_WIDTH_32 ? 32 : 64;
}

/* All encodings, in the order of the table. */
extern const uint16_t vmcs_fields[];
extern const unsigned vmcs_field_count;

/* The text of a field ("guest RIP"); "unknown VMCS field" for an encoding that is not in the
 * table. */
const char *vmcs_field_name(uint32_t encoding);
