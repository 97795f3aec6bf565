/* SPDX-License-Identifier: MIT */
#include "tdx/td_features.h"

/* The CPUID bits of each feature, in registers EAX to EDX. */
static const struct feature_bits {
    uint64_t pv;
    uint32_t leaf;
    uint32_t bits[4];
} feature_bits[] = {
    {TDX_PV_DCA, 1, {0, 0, BIT(18), 0}},          {TDX_PV_EST, 1, {0, 0, BIT(7), 0}},
    {TDX_PV_MCA, 1, {0, 0, 0, BIT(7) | BIT(14)}}, /* MCE and MCA */
    {TDX_PV_MTRR, 1, {0, 0, 0, BIT(12)}},         {TDX_PV_THERMAL, 1, {0, 0, 0, BIT(22)}},
    {TDX_PV_TSC_DEADLINE, 1, {0, 0, BIT(24), 0}}, {TDX_PV_CORE_CAPABILITIES, 7, {0, 0, 0, BIT(30)}},
    {TDX_PV_PCONFIG, 7, {0, 0, 0, BIT(18)}},      {TDX_PV_RDT_A, 7, {0, BIT(15), 0, 0}},
    {TDX_PV_RDT_M, 7, {0, BIT(12), 0, 0}},        {TDX_PV_TME, 7, {0, 0, BIT(13), 0}},
};

/* The MSRs of each feature (SDM 4, table 2-2). */
static const struct feature_msrs {
    uint64_t pv;
    uint32_t first, last;
} feature_msrs[] = {
    {TDX_PV_CORE_CAPABILITIES, 0xcf, 0xcf},
    {TDX_PV_MTRR, 0xfe, 0xfe},      /* IA32_MTRRCAP */
    {TDX_PV_MCA, 0x179, 0x17b},     /* IA32_MCG_CAP, STATUS, CTL */
    {TDX_PV_EST, 0x198, 0x199},     /* IA32_PERF_STATUS, CTL */
    {TDX_PV_THERMAL, 0x19a, 0x19d}, /* clock modulation, thermal control and status */
    {TDX_PV_DCA, 0x1f8, 0x1fa},     /* IA32_PLATFORM_DCA_CAP, … */
    {TDX_PV_MTRR, 0x200, 0x21f},    /* variable ranges */
    {TDX_PV_MTRR, 0x250, 0x250},    /* fixed ranges */
    {TDX_PV_MTRR, 0x258, 0x259},
    {TDX_PV_MTRR, 0x268, 0x26f},
    {TDX_PV_MCA, 0x280, 0x29f},  /* IA32_MCi_CTL2 */
    {TDX_PV_MTRR, 0x2ff, 0x2ff}, /* IA32_MTRR_DEF_TYPE */
    {TDX_PV_MCA, 0x400, 0x47f},  /* banks */
    {TDX_PV_MCA, 0x4d0, 0x4d0},  /* IA32_MCG_EXT_CTL */
    {TDX_PV_TSC_DEADLINE, 0x6e0, 0x6e0},
    {TDX_PV_RDT_A | TDX_PV_RDT_M, 0xc81, 0xd8f},
    {TDX_PV_TME, 0x981, 0x984},
    {TDX_PV_PCONFIG, 0x87, 0x87},
};

uint64_t tdx_features_hidden(const struct td *td)
{
    return td_controls(td) & TD_CTLS_REDUCE_VE
               ? TDX_PV_ALL & ~__atomic_load_n(&td->feature_pv, __ATOMIC_RELAXED)
               : 0;
}

void tdx_features_hide(const struct td *td, uint32_t leaf, uint32_t subleaf, struct cpuid *answer)
{
    uint64_t hidden = tdx_features_hidden(td);
    for (unsigned i = 0; i < ARRAY_SIZE(feature_bits); i++) {
        const struct feature_bits *f = &feature_bits[i];
        if (f->leaf != leaf || !(f->pv & hidden) || (leaf == 7 && subleaf))
            continue;
        answer->eax &= ~f->bits[0];
        answer->ebx &= ~f->bits[1];
        answer->ecx &= ~f->bits[2];
        answer->edx &= ~f->bits[3];
    }
}

uint64_t tdx_features_of_msr(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(feature_msrs); i++)
        if (msr >= feature_msrs[i].first && msr <= feature_msrs[i].last)
            return feature_msrs[i].pv;
    return 0;
}
