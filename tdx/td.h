/* SPDX-License-Identifier: MIT */
/*
 * The state of a TD (a VM that is a guest of Intel TDX) and of its vCPUs, as far as the module
 * keeps it: attributes, controls, and the information about the last virtualization exception.
 * Intel TDX Module 1.5 base architecture and ABI specifications (348549, 348551).
 *
 * tdx/ computes what the module answers; it knows neither VMCS nor VM. vm/td.h is the glue. A VM
 * that is no TD has no such state.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"
#include "vmx/ve_area.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ATTRIBUTES of a TD. */
#define TD_ATTR_DEBUG           BIT(0)
#define TD_ATTR_SEPT_VE_DISABLE BIT(28)

/* CONFIG_FLAGS. */
#define TD_CONFIG_GPAW                BIT(0)
#define TD_CONFIG_FLEXIBLE_PENDING_VE BIT(1)

/* TD_CTLS. */
#define TD_CTLS_PENDING_VE_DISABLE BIT(0)
#define TD_CTLS_ENUM_TOPOLOGY      BIT(1)
#define TD_CTLS_VIRT_CPUID2        BIT(2)
#define TD_CTLS_REDUCE_VE          BIT(3)
#define TD_CTLS_LOCK               BIT(63)

#define TD_GPA_WIDTH 40u /* of every TD here; its shared bit is the highest, bit 39 */

/* Changed by the calls of any of the TD's vCPUs, so `td_ctls`, `notify_enables` and `notify` are
 * accessed atomically. All other fields are constant once the TD has been created. */
struct td {
    uint8_t gpa_width;       /* the number of GPA bits, with the shared bit, which is the highest */
    uint16_t vcpus;          /* TDCS.NUM_VCPUS, which is also MAX_VCPUS here */
    uint64_t attributes;     /* TD_ATTR_ bits */
    uint64_t xfam;           /* the components of XCR0 and IA32_XSS that the TD may enable */
    uint64_t config_flags;   /* TD_CONFIG_ bits */
    uint64_t td_ctls;        /* TD_CTLS_ bits */
    uint64_t notify_enables; /* NOTIFY_ENABLES: reported zero-step attacks, of which none exist */
    uint64_t feature_pv;     /* FEATURE_PARAVIRT_CTRL; changed like `td_ctls` */
    uint16_t tsc_frequency;  /* of the TD's TSC, in units of 25 MHz */
    uint16_t notify;         /* SetupEventNotifyInterrupt: vCPU << 8 | vector; 0: nobody */

    bool finalised;                     /* no page can be added to the initial image any more */
    uint32_t pages_added;               /* of the initial image */
    struct td_measurement *measurement; /* MRTD and RTMRs (tdx/measure.h) */
    struct external *external;          /* its private memory (mmu/external.h) */
};

static inline uint64_t td_shared_bit(const struct td *td)
{
    return BIT(td->gpa_width - 1u);
}

/* The state of one vCPU of a TD, in a page of its own that the guest cannot map: the CPU writes
 * `ve` if it delivers #VE itself. The pCPU that runs the vCPU owns it. */
struct td_vcpu {
    struct ve_area ve;       /* VE_INFO, valid while ve.busy is not 0; see tdx/ve.h */
    uint32_t ve_length;      /* of the instruction; 0 for an EPT violation */
    uint32_t ve_instruction; /* VMX exit-instruction information; 0 for an EPT violation */
    struct td *td;
    uint32_t index;           /* VCPU_INDEX */
    bool cpuid_ve_user;       /* CPUIDVE.SET: CPUID is #VE in user mode */
    bool cpuid_ve_supervisor; /* … and in supervisor mode */
    bool ve_by_cpu;           /* the CPU delivers #VE of EPT violations itself */
    uint64_t ctls;            /* TDVPS.VCPU_CTLS */
};
