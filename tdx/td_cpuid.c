/* SPDX-License-Identifier: MIT */
#include "tdx/td_cpuid.h"

#include "tdx/td_features.h"

#define RESERVED_FIRST 0x40000000u /* for hypervisors */
#define RESERVED_LAST  0x4fffffffu
#define EXTENDED_FIRST 0x80000000u
#define ANY            (~0u) /* the subleaf is ignored */

#define LEAF_CACHES_OLD   0x2u
#define LEAF_THERMAL      0x6u
#define LEAF_TOPOLOGY     0xbu
#define LEAF_TSC          0x15u
#define LEAF_TOPOLOGY_V2  0x1fu
#define LEAF_BRAND_FIRST  0x80000002u
#define LEAF_CACHES_EXT   0x80000006u
#define LEAF_EXT_FEATURES 0x80000001u

#define CACHES_USE_LEAF_4 0x00feff01u /* leaf 2: TLBs by leaf 18h, caches by leaf 4 */
#define THERMAL_ARAT      BIT(2)
#define EXT_EDX_SYSCALL   BIT(11)

/* ---- What the module answers ----------------------------------------------------------------- */

/* One leaf, or some of its subleaves. Bits of `native` are those that the VMM offers; bits of `one`
 * are 1; all others are 0. A row without masks is a leaf of zeros: its feature does not exist in a
 * TD, or not in this one, which has neither PERFMON nor any supervisor state. */
static const struct cpuid_row {
    uint32_t leaf, first, last; /* the subleaves */
    struct cpuid native, one;
} rows[] = {
    {0x0, ANY, ANY, {0, ~0u, ~0u, ~0u}, {TDX_CPUID_MAX, 0, 0, 0}},
    /* Always: hypervisor, PDCM (its only MSR reads 0), APIC; MCE, MTRR and MCA by the VMM. */
    {0x1, ANY, ANY, {0x0fff3fff, 0xffffff00, 0x7ffeff9f, 0xbfedfbff}, {0, 0, 0x80008000, 0x5280}},
    {0x3, ANY, ANY, {0}, {0}},
    {0x4, 0, 2, {0xffffc3ff, ~0u, ~0u, 0xfffffffb}, {0}},
    {0x4, 3, 3, {0xffffc3ff, ~0u, ~0u, 0x7}, {0}},
    {0x4, 4, 4, {0}, {0}},
    {0x5, ANY, ANY, {0}, {0}},
    /* Always: IA32_ARCH_CAPABILITIES. */
    {0x7, 0, 0, {0, 0xffbfbff9, 0x9bc17fff, 0xdfdd453c}, {2, 0, 0, 0x20000000}},
    {0x7, 1, 1, {0x1d30, 0, 0, 0}, {0}},
    {0x7, 2, 2, {0, 0, 0, 0x3f}, {0}},
    {0x8, ANY, ANY, {0}, {0}},
    {0xa, ANY, ANY, {0}, {0}},
    {0xd, 0, 0, {0x602e7, ~0u, ~0u, 0}, {0}},
    {0xd, 1, 1, {0x1f, ~0u, 0xd900, 0}, {0}},
    {0xd, 2, 18, {~0u, ~0u, ~0u, 0}, {0}},
    {0xe, ANY, ANY, {0}, {0}},
    {0x11, ANY, ANY, {0}, {0}},
    {0x12, ANY, ANY, {0}, {0}},
    {0x13, ANY, ANY, {0}, {0}},
    {0x14, 0, 1, {0}, {0}},
    {LEAF_TSC, ANY, ANY, {0}, {1, 0, TDX_CRYSTAL_HZ, 0}},
    {0x19, ANY, ANY, {0}, {0}},
    {0x1c, ANY, ANY, {0}, {0}},
    {0x1d, 0, 1, {0}, {0}},
    {0x1e, ANY, ANY, {0}, {0}},
    {0x20, ANY, ANY, {0}, {0}},
    {TDX_CPUID_LEAF, 0, 0, {0}, {0, 0x65746e49, 0x20202020, 0x5844546c}}, /* "IntelTDX    " */
    {0x22, ANY, ANY, {0}, {0}},
    {0x23, 0, 3, {0}, {0}},
    {EXTENDED_FIRST, ANY, ANY, {0}, {TDX_CPUID_EXTENDED, 0, 0, 0}},
    {LEAF_EXT_FEATURES, ANY, ANY, {0, 0, 0x121, 0x2c100800}, {0}},
    {0x80000007, ANY, ANY, {0, 0, 0, 0x100}, {0}},
    {TDX_CPUID_EXTENDED, ANY, ANY, {0xffff, 0x200, 0, 0}, {0}},
};

static const struct cpuid_row *td_cpuid_row(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct cpuid_row *row = &rows[i];
        if (row->leaf == leaf &&
            (row->first == ANY || (subleaf >= row->first && subleaf <= row->last)))
            return row;
    }
    return NULL;
}

/* Whether the TD has asked by TD_CTLS that the module answers a leaf that is #VE otherwise. With
 * REDUCE_VE, these are all except for the hypervisor's range. */
static bool was_reduced(uint64_t td_ctls, uint32_t leaf)
{
    if (leaf >= RESERVED_FIRST && leaf <= RESERVED_LAST)
        return false;
    if (td_ctls & TD_CTLS_REDUCE_VE)
        return true;
    if (leaf == LEAF_TOPOLOGY || leaf == LEAF_TOPOLOGY_V2)
        return td_ctls & TD_CTLS_ENUM_TOPOLOGY;
    return leaf == LEAF_CACHES_OLD && td_ctls & TD_CTLS_VIRT_CPUID2;
}

/* ---- The interface --------------------------------------------------------------------------- */

uint32_t tdx_cpuid_leaf(uint32_t leaf)
{
    bool basic = leaf < RESERVED_FIRST || (leaf > RESERVED_LAST && leaf < EXTENDED_FIRST);
    if (basic ? leaf > TDX_CPUID_MAX : leaf > TDX_CPUID_EXTENDED)
        return TDX_CPUID_MAX;
    return leaf;
}

enum tdx_access tdx_cpuid_access(const struct td_vcpu *vcpu, unsigned cpl, uint32_t leaf,
                                 uint32_t subleaf)
{
    if (!td_cpuid_row(leaf, subleaf) && !was_reduced(td_controls(vcpu->td), leaf))
        return TDX_VE;
    return (cpl ? vcpu->cpuid_ve_user : vcpu->cpuid_ve_supervisor) ? TDX_VE : TDX_DIRECT;
}

/* A leaf that is direct because of TD_CTLS. Leaves that are reserved, and those whose feature the
 * TD does not have, are zeros. */
static struct cpuid reduced_answer(uint32_t leaf, const struct cpuid *offered)
{
    switch (leaf) {
    case LEAF_CACHES_OLD:
        return (struct cpuid){CACHES_USE_LEAF_4, 0, 0, 0};
    case LEAF_THERMAL:
        return (struct cpuid){THERMAL_ARAT, 0, 0, 0};
    case LEAF_TOPOLOGY:
    case LEAF_TOPOLOGY_V2:
    case LEAF_BRAND_FIRST ... LEAF_BRAND_FIRST + 2:
    case LEAF_CACHES_EXT:
        return *offered;
    default:
        return (struct cpuid){0};
    }
}

struct cpuid tdx_cpuid_answer(const struct td *td, uint32_t leaf, uint32_t subleaf,
                              const struct cpuid *offered, bool code64)
{
    const struct cpuid_row *row = td_cpuid_row(leaf, subleaf);
    if (!row)
        return reduced_answer(leaf, offered);
    const struct cpuid *native = &row->native, *one = &row->one;
    struct cpuid r = {
        (offered->eax & native->eax) | one->eax, (offered->ebx & native->ebx) | one->ebx,
        (offered->ecx & native->ecx) | one->ecx, (offered->edx & native->edx) | one->edx};
    tdx_features_hide(td, leaf, subleaf, &r);
    if (leaf == LEAF_TSC)
        r.ebx = td->tsc_frequency;
    if (leaf == LEAF_EXT_FEATURES && !code64)
        r.edx &= ~(uint32_t)EXT_EDX_SYSCALL;
    return r;
}
