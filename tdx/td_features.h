/* SPDX-License-Identifier: MIT */
/*
 * Features that a TD has only with the help of its VMM. A TD that has set TD_CTLS.REDUCE_VE does
 * not see them, and their MSRs are #GP rather than #VE, except for those that it has asked for by
 * FEATURE_PARAVIRT_CTRL. Pure.
 */
#pragma once

#include "arch/x86/unprivileged.h"
#include "tdx/td.h"

/* FEATURE_PARAVIRT_CTRL. */
#define TDX_PV_CORE_CAPABILITIES BIT(0)
#define TDX_PV_DCA               BIT(1)
#define TDX_PV_EST               BIT(2)
#define TDX_PV_MCA               BIT(3)
#define TDX_PV_MTRR              BIT(4)
#define TDX_PV_PCONFIG           BIT(5)
#define TDX_PV_RDT_A             BIT(6)
#define TDX_PV_RDT_M             BIT(7)
#define TDX_PV_THERMAL           BIT(8)
#define TDX_PV_TME               BIT(10)
#define TDX_PV_TSC_DEADLINE      BIT(11)
#define TDX_PV_ALL               (BITS(8, 0) | BITS(11, 10))

/* The TD's TD_CTLS, which another vCPU may be changing. */
static inline uint64_t td_controls(const struct td *td)
{
    return __atomic_load_n(&td->td_ctls, __ATOMIC_RELAXED);
}

/* The TDX_PV_ bits of the features that the TD does not have because of REDUCE_VE. */
uint64_t tdx_features_hidden(const struct td *td);

/* Clears the bits of these features in a CPUID answer. */
void tdx_features_hide(const struct td *td, uint32_t leaf, uint32_t subleaf, struct cpuid *answer);

/* The TDX_PV_ bit of the feature to which an MSR belongs, or 0. */
uint64_t tdx_features_of_msr(uint32_t msr);
