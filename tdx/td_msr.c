/* SPDX-License-Identifier: MIT */
#include "tdx/td_msr.h"

#include "arch/x86/reg_bits.h"
#include "tdx/td_features.h"

#define MSR_XAPIC_DISABLE_STATUS 0xbdu
#define MSR_ARCH_CAPABILITIES    0x10au
#define MSR_DEBUGCTL             0x1d9u
#define MSR_PERF_CAPABILITIES    0x345u
#define MSR_VMX_FIRST            0x480u
#define MSR_VMX_LAST             0x492u
#define MSR_X2APIC_FIRST         0x800u
#define MSR_X2APIC_LAST          0x8ffu

#define MISC_ENABLE_FAST_STRINGS BIT(0)
#define MISC_ENABLE_NO_BTS       BIT(11)
#define MISC_ENABLE_NO_PEBS      BIT(12)
#define XAPIC_DISABLED           BIT(0) /* the APIC cannot leave x2APIC mode */

#define DEBUGCTL_DEFINED (BITS(1, 0) | BITS(15, 6))
#define DEBUGCTL_TR      BIT(6)
#define DEBUGCTL_BTS     BIT(7)

/* The MSRs that a bitmap covers: all others are #VE. */
#define BITMAP_MSRS 0x2000u
#define HIGH_FIRST  0xc0000000u

/* All MSRs that are not #VE in both directions, in ascending order. */
static const struct msr_row {
    uint32_t first, last;
    enum tdx_access read, write;
} rows[] = {
    {0x10, 0x10, TDX_DIRECT, TDX_VE},         /* IA32_TIME_STAMP_COUNTER */
    {0x48, 0x49, TDX_DIRECT, TDX_DIRECT},     /* IA32_SPEC_CTRL, IA32_PRED_CMD */
    {0x87, 0x87, TDX_GP, TDX_GP},             /* IA32_MKTME_KEYID_PARTITIONING */
    {0x8c, 0x8f, TDX_GP, TDX_GP},             /* IA32_SGXLEPUBKEYHASHn */
    {0x98, 0x9b, TDX_GP, TDX_GP},             /* WBINVDP to IA32_SMM_MONITOR_CTL */
    {0x9e, 0x9e, TDX_GP, TDX_GP},             /* IA32_SMBASE */
    {0xbc, 0xbc, TDX_DIRECT, TDX_VE},         /* IA32_MISC_PACKAGE_CTLS */
    {0xbd, 0xbd, TDX_DIRECT, TDX_GP},         /* IA32_XAPIC_DISABLE_STATUS */
    {0xc1, 0xc8, TDX_GP, TDX_GP},             /* IA32_PMCn */
    {0xe1, 0xe1, TDX_GP, TDX_GP},             /* IA32_UMWAIT_CONTROL */
    {0x10a, 0x10a, TDX_DIRECT, TDX_GP},       /* IA32_ARCH_CAPABILITIES */
    {0x10b, 0x10b, TDX_DIRECT, TDX_DIRECT},   /* IA32_FLUSH_CMD */
    {0x122, 0x122, TDX_GP, TDX_GP},           /* IA32_TSX_CTRL */
    {0x174, 0x176, TDX_DIRECT, TDX_DIRECT},   /* IA32_SYSENTER_* */
    {0x186, 0x18d, TDX_GP, TDX_GP},           /* IA32_PERFEVTSELn */
    {0x195, 0x195, TDX_GP, TDX_GP},           /* IA32_OVERCLOCKING_STATUS */
    {0x1a0, 0x1a0, TDX_DIRECT, TDX_VE},       /* IA32_MISC_ENABLE */
    {0x1a6, 0x1a7, TDX_GP, TDX_GP},           /* MSR_OFFCORE_RSPn */
    {0x1c4, 0x1c5, TDX_GP, TDX_GP},           /* IA32_XFD, IA32_XFD_ERR */
    {0x1d9, 0x1d9, TDX_DIRECT, TDX_DIRECT},   /* IA32_DEBUGCTL */
    {0x1f8, 0x1fa, TDX_GP, TDX_GP},           /* IA32_*DCA_CAP */
    {0x276, 0x276, TDX_GP, TDX_GP},           /* SLAM_ENABLE */
    {0x277, 0x277, TDX_DIRECT, TDX_DIRECT},   /* IA32_PAT */
    {0x309, 0x310, TDX_GP, TDX_GP},           /* IA32_FIXED_CTRn */
    {0x329, 0x329, TDX_GP, TDX_GP},           /* IA32_PERF_METRICS */
    {0x345, 0x345, TDX_DIRECT, TDX_GP},       /* IA32_PERF_CAPABILITIES */
    {0x38d, 0x392, TDX_GP, TDX_GP},           /* IA32_FIXED_CTR_CTRL to IA32_PERF_GLOBAL_INUSE */
    {0x3f1, 0x3f2, TDX_GP, TDX_GP},           /* IA32_PEBS_ENABLE, MSR_PEBS_DATA_CFG */
    {0x3f6, 0x3f7, TDX_GP, TDX_GP},           /* MSR_PEBS_LD_LAT, MSR_PEBS_FRONTEND */
    {0x480, 0x480, TDX_DIRECT, TDX_GP},       /* IA32_VMX_BASIC */
    {0x481, 0x484, TDX_VE, TDX_GP},           /* controls, superseded by the TRUE ones */
    {0x485, 0x489, TDX_DIRECT, TDX_GP},       /* IA32_VMX_MISC to IA32_VMX_CR4_FIXED1 */
    {0x48a, 0x48a, TDX_VE, TDX_GP},           /* IA32_VMX_VMCS_ENUM */
    {0x48b, 0x492, TDX_DIRECT, TDX_GP},       /* the other VMX capabilities */
    {0x4c1, 0x4c8, TDX_GP, TDX_GP},           /* IA32_A_PMCn */
    {0x500, 0x500, TDX_GP, TDX_GP},           /* IA32_SGX_SVN_STATUS */
    {0x560, 0x561, TDX_GP, TDX_GP},           /* IA32_RTIT_OUTPUT_* */
    {0x570, 0x572, TDX_GP, TDX_GP},           /* IA32_RTIT_CTL, STATUS, CR3_MATCH */
    {0x580, 0x587, TDX_GP, TDX_GP},           /* IA32_RTIT_ADDRn */
    {0x600, 0x600, TDX_DIRECT, TDX_DIRECT},   /* IA32_DS_AREA */
    {0x6a0, 0x6a0, TDX_GP, TDX_GP},           /* IA32_U_CET */
    {0x6a2, 0x6a2, TDX_GP, TDX_GP},           /* IA32_S_CET */
    {0x6a4, 0x6a8, TDX_GP, TDX_GP},           /* IA32_PLn_SSP, IA32_INTERRUPT_SSP_TABLE_ADDR */
    {0x6e1, 0x6e1, TDX_GP, TDX_GP},           /* IA32_PKRS */
    {0x800, 0x801, TDX_GP, TDX_GP},           /* x2APIC: reserved */
    {0x804, 0x807, TDX_GP, TDX_GP},           /* x2APIC: reserved */
    {0x808, 0x80c, TDX_DIRECT, TDX_DIRECT},   /* x2APIC: TPR, PPR, EOI, and reserved ones */
    {0x80e, 0x80e, TDX_DIRECT, TDX_DIRECT},   /* x2APIC: reserved */
    {0x810, 0x827, TDX_DIRECT, TDX_DIRECT},   /* x2APIC: ISR, TMR, IRR */
    {0x829, 0x82e, TDX_GP, TDX_GP},           /* x2APIC: reserved */
    {0x831, 0x831, TDX_GP, TDX_GP},           /* x2APIC: reserved */
    {0x83f, 0x83f, TDX_DIRECT, TDX_DIRECT},   /* x2APIC: self IPI */
    {0x840, 0x8ff, TDX_GP, TDX_GP},           /* x2APIC: reserved */
    {0x981, 0x984, TDX_GP, TDX_GP},           /* IA32_TME_* */
    {0x985, 0x98a, TDX_GP, TDX_GP},           /* IA32_UINTR_* */
    {0xc80, 0xc80, TDX_DIRECT, TDX_VE},       /* IA32_DEBUG_INTERFACE */
    {0xd90, 0xd90, TDX_GP, TDX_GP},           /* IA32_BNDCFGS */
    {0xd93, 0xd93, TDX_GP, TDX_GP},           /* IA32_PASID */
    {0xda0, 0xda0, TDX_DIRECT, TDX_DIRECT},   /* IA32_XSS */
    {0x1200, 0x12ff, TDX_GP, TDX_GP},         /* IA32_LBR_n_INFO */
    {0x14ce, 0x14cf, TDX_GP, TDX_GP},         /* IA32_LBR_CTL, IA32_LBR_DEPTH */
    {0x1500, 0x16ff, TDX_GP, TDX_GP},         /* IA32_LBR_n_FROM_IP, IA32_LBR_n_TO_IP */
    {0x1b01, 0x1b01, TDX_DIRECT, TDX_DIRECT}, /* IA32_UARCH_MISC_CTL */
    {MSR_EFER, MSR_LSTAR, TDX_DIRECT, TDX_DIRECT},
    {MSR_FMASK, MSR_FMASK, TDX_DIRECT, TDX_DIRECT},
    {MSR_FS_BASE, MSR_TSC_AUX, TDX_DIRECT, TDX_DIRECT},
};

enum tdx_access tdx_msr_access(const struct td *td, uint32_t msr, bool write)
{
    if (msr >= BITMAP_MSRS && (msr < HIGH_FIRST || msr >= HIGH_FIRST + BITMAP_MSRS))
        return TDX_VE;
    if (tdx_features_of_msr(msr) & tdx_features_hidden(td))
        return TDX_GP;
    for (unsigned i = 0; i < ARRAY_SIZE(rows) && rows[i].first <= msr; i++)
        if (msr <= rows[i].last)
            return write ? rows[i].write : rows[i].read;
    return TDX_VE;
}

/* To a TD these are the capabilities of the L2 VMs that it may have. There are none. */
static bool read_vmx_capability(uint32_t msr, uint64_t *value)
{
    if (msr < MSR_VMX_FIRST || msr > MSR_VMX_LAST)
        return false;
    *value = 0;
    return true;
}

bool tdx_msr_read(uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_XAPIC_DISABLE_STATUS:
        *value = XAPIC_DISABLED;
        return true;
    case MSR_ARCH_CAPABILITIES: /* nothing is claimed of the CPU below */
    case MSR_DEBUGCTL:
    case MSR_PERF_CAPABILITIES:
    case MSR_XSS: /* no supervisor component is offered */
        *value = 0;
        return true;
    case MSR_MISC_ENABLE:
        *value = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_NO_BTS | MISC_ENABLE_NO_PEBS;
        return true;
    default:
        return read_vmx_capability(msr, value);
    }
}

enum tdx_access tdx_msr_write(const struct td *td, uint32_t msr, uint64_t old, uint64_t value)
{
    switch (msr) {
    case MSR_EFER: /* LMA is read-only and ignored; a change of anything but SCE is #VE */
        return (old ^ value) & ~(EFER_LMA | EFER_SCE) ? TDX_VE : TDX_DIRECT;
    case MSR_XSS:
        return value & ~td->xfam ? TDX_GP : TDX_DIRECT;
    case MSR_DEBUGCTL:
        if (value & ~DEBUGCTL_DEFINED)
            return TDX_GP;
        return (value & (DEBUGCTL_TR | DEBUGCTL_BTS)) == DEBUGCTL_TR ? TDX_VE : TDX_DIRECT;
    default:
        return TDX_DIRECT;
    }
}
