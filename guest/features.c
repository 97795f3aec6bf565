#include "guest/features.h"

#include "guest/abi.h"
#include "lib/assert.h"
#include "vmx/controls.h"
#include "vmx/xcr0.h"

#define EXTENDED     0x80000000u
#define EXTENDED_MAX 0x80000008u
#define HYPERVISOR   0x40000000u

/* What follows from the vCPU's state, beside the table. */
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF1_EDX_APIC    BIT(9)
#define LEAF1_EDX_SEVERAL BIT(28) /* EBX says how many logical processors */
#define LEAF7_ECX_OSPKE   BIT(4)

#define LEAF4_EAX_CACHE  BITS(13, 0)
#define LEAF4_EAX_CORES  BITS(31, 26) /* APIC IDs of the package, less 1 */
#define LEAFB_ECX_THREAD (1u << 8)
#define LEAFB_ECX_CORE   (2u << 8)
#define LEAFD_ECX_ALIGN  BIT(1)

/* The XSAVE area (SDM 1, 13.4): the legacy region and the header, then the components. */
#define XSAVE_HEADER_END 576u
#define COMPONENTS       63u
#define COMPONENTS_ALIGN 64u

#define FEATURES_MAX 160

static struct feature_host host;
static uint32_t basic_max;
static uint64_t xcr0_offered, cr4_offered;
static bool offered[FEATURES_MAX]; /* by their place in the table */

/* ---- What is offered ------------------------------------------------------------------------- */

static uint32_t *word_of(struct cpuid *r, enum cpuid_word word)
{
    uint32_t *const words[] = {&r->eax, &r->ebx, &r->ecx, &r->edx};
    return words[word];
}

/* As the host answers, or nothing where it has no such leaf. */
static struct cpuid of_host(uint32_t leaf, uint32_t subleaf)
{
    uint32_t max = host.cpuid(leaf & EXTENDED, 0).eax;
    return leaf > max ? (struct cpuid){0} : host.cpuid(leaf, subleaf);
}

static bool is_there(const struct feature *feature)
{
    struct cpuid r = of_host(feature->leaf, feature->subleaf);
    if (feature->leaf == 7 && feature->subleaf > of_host(7, 0).eax)
        return false;
    return (feature->ours || *word_of(&r, feature->word) & feature->bit) &&
           (host.secondary & feature->secondary) == feature->secondary &&
           (host.compaction || !feature->compacts) && !(feature->xcr0 & ~xcr0_offered);
}

/* Size and place of a component in the standard format; nothing for the two of the legacy region,
 * and for one that the host counts but does not describe. */
static struct cpuid component(unsigned n)
{
    return n < 2 ? (struct cpuid){0} : of_host(0xd, n);
}

/* All that the table knows and the host describes. */
static uint64_t components_offered(void)
{
    const uint64_t known = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU;
    struct cpuid d = of_host(0xd, 0);
    uint64_t xcr0 = ((uint64_t)d.edx << 32 | d.eax) & known;
    for (unsigned n = 2; n < COMPONENTS; n++)
        if (xcr0 & BIT(n) && !component(n).eax)
            xcr0 &= ~BIT(n);
    if ((xcr0 & XCR0_AVX512) != XCR0_AVX512)
        xcr0 &= ~XCR0_AVX512;
    return xcr0;
}

void features_setup(const struct feature_host *new_host)
{
    host = *new_host;
    basic_max = host.cpuid(0, 0).eax;
    xcr0_offered = components_offered();
    cr4_offered = 0;
    BUG_ON(feature_count > FEATURES_MAX);
    for (unsigned i = 0; i < feature_count; i++) {
        offered[i] = is_there(&feature_table[i]);
        if (offered[i])
            cr4_offered |= feature_table[i].cr4 & host.cr4;
    }
}

bool feature_offered(const struct feature *feature)
{
    return offered[feature - feature_table];
}

uint64_t features_cr4(void)
{
    return cr4_offered;
}

bool features_xcr0_valid(uint64_t value)
{
    uint64_t avx512 = value & XCR0_AVX512;
    if (!(value & XCR0_X87) || value & ~xcr0_offered)
        return false;
    if (value & XCR0_AVX && !(value & XCR0_SSE))
        return false;
    return !avx512 || (avx512 == XCR0_AVX512 && value & XCR0_AVX);
}

const struct feature *features_msr(uint32_t msr)
{
    for (unsigned i = 0; i < feature_count; i++)
        for (unsigned j = 0; j < FEATURE_MSRS && feature_table[i].msrs[j]; j++)
            if (feature_table[i].msrs[j] == msr && feature_offered(&feature_table[i]))
                return &feature_table[i];
    return NULL;
}

/* ---- The leaves ------------------------------------------------------------------------------ */

/* The bits of the table alone. */
static struct cpuid features_of(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    for (unsigned i = 0; i < feature_count; i++) {
        const struct feature *f = &feature_table[i];
        if (f->leaf == leaf && f->subleaf == subleaf && feature_offered(f))
            *word_of(&r, f->word) |= f->bit;
    }
    return r;
}

static struct cpuid leaf1(const struct feature_vcpu *vcpu)
{
    struct cpuid r = features_of(1, 0), ours = of_host(1, 0);
    r.eax = ours.eax;
    r.ebx = (ours.ebx & 0xffff) | vcpu->count << 16 | vcpu->index << 24; /* who it is */
    if (vcpu->cr4 & CR4_OSXSAVE)
        r.ecx |= (uint32_t)LEAF1_ECX_OSXSAVE;
    if (!vcpu->apic_on)
        r.edx &= ~(uint32_t)LEAF1_EDX_APIC;
    if (vcpu->count > 1)
        r.edx |= (uint32_t)LEAF1_EDX_SEVERAL;
    return r;
}

/* A VM is one package of cores with one thread and caches of their own. */
static unsigned package_bits(const struct feature_vcpu *vcpu)
{
    unsigned bits = 0;
    while (1u << bits < vcpu->count)
        bits++;
    return bits;
}

static struct cpuid caches(const struct feature_vcpu *vcpu, uint32_t subleaf)
{
    struct cpuid r = of_host(4, subleaf);
    r.eax &= (uint32_t)LEAF4_EAX_CACHE;
    if (r.eax)
        r.eax |= (uint32_t)field_put(BIT(package_bits(vcpu)) - 1, LEAF4_EAX_CORES);
    return r;
}

static struct cpuid leaf7(const struct feature_vcpu *vcpu, uint32_t subleaf)
{
    struct cpuid r = features_of(7, subleaf);
    if (subleaf)
        return r;
    r.eax = of_host(7, 0).eax ? 1 : 0; /* the last subleaf */
    if (vcpu->cr4 & CR4_PKE)
        r.ecx |= (uint32_t)LEAF7_ECX_OSPKE;
    return r;
}

static struct cpuid topology(const struct feature_vcpu *vcpu, uint32_t subleaf)
{
    if (subleaf > 1) /* guest/cpuid.c says of those, too, who asks */
        return (struct cpuid){0};
    struct cpuid r = {.ecx = subleaf & 0xff, .edx = vcpu->index};
    if (subleaf == 0) {
        r.ebx = 1;
        r.ecx |= LEAFB_ECX_THREAD;
    } else if (subleaf == 1) {
        r.eax = package_bits(vcpu);
        r.ebx = vcpu->count;
        r.ecx |= LEAFB_ECX_CORE;
    }
    return r;
}

/* The area that a set of components takes, worked out from each: what the host says of all of them
 * counts some that are not offered, or not there (docs/EMULATOR-GAPS.md). */
static uint32_t area_size(uint64_t components, bool compacted)
{
    uint32_t end = XSAVE_HEADER_END;
    for (unsigned n = 2; n < COMPONENTS; n++) {
        if (!(components & BIT(n)))
            continue;
        struct cpuid c = component(n);
        uint32_t start = c.ebx;
        if (compacted)
            start = c.ecx & LEAFD_ECX_ALIGN ? (end + COMPONENTS_ALIGN - 1) & ~(COMPONENTS_ALIGN - 1)
                                            : end;
        if (start + c.eax > end)
            end = start + c.eax;
    }
    return end;
}

static struct cpuid xsave_leaf(const struct feature_vcpu *vcpu, uint32_t subleaf)
{
    if (!xcr0_offered)
        return (struct cpuid){0};
    if (subleaf == 0)
        return (struct cpuid){.eax = (uint32_t)xcr0_offered,
                              .ebx = area_size(vcpu->xcr0, false),
                              .ecx = area_size(xcr0_offered, false),
                              .edx = (uint32_t)(xcr0_offered >> 32)};
    if (subleaf == 1) {
        struct cpuid r = features_of(0xd, 1);
        if (r.eax & (BIT(1) | BIT(3))) /* XSAVEC, XSAVES; IA32_XSS is 0 */
            r.ebx = area_size(vcpu->xcr0, true);
        return r;
    }
    if (subleaf >= COMPONENTS || !(xcr0_offered & BIT(subleaf)))
        return (struct cpuid){0};
    struct cpuid c = component(subleaf);
    return (struct cpuid){.eax = c.eax, .ebx = c.ebx, .ecx = c.ecx & (uint32_t)LEAFD_ECX_ALIGN};
}

/* The TSC is the crystal: that is what the APIC's timer counts (SDM 3, 11.5.4). All zero, not
 * enumerated, for a rate that the register cannot hold. */
static struct cpuid clock(const struct feature_vcpu *vcpu)
{
    return vcpu->tsc_hz >> 32 ? (struct cpuid){0} : (struct cpuid){1, 1, (uint32_t)vcpu->tsc_hz, 0};
}

/* Of the linear addresses 48 bits: five-level paging is not offered. */
static struct cpuid addresses(void)
{
    struct cpuid r = of_host(EXTENDED_MAX, 0);
    return (struct cpuid){.eax = (r.eax & 0xff) | (r.eax ? 48u << 8 : 0)};
}

static struct cpuid hypervisor_leaf(const struct feature_vcpu *vcpu, uint32_t leaf)
{
    if (leaf == ABI_CPUID_LEAF)
        return (struct cpuid){ABI_CPUID_STOLEN, ABI_CPUID_EBX, ABI_CPUID_ECX, ABI_CPUID_EDX};
    if (leaf == ABI_CPUID_STOLEN)
        return (struct cpuid){.eax = vcpu->shared, .ebx = vcpu->execute_only};
    return (struct cpuid){0};
}

static struct cpuid extended_leaf(uint32_t leaf)
{
    switch (leaf) {
    case EXTENDED: {
        uint32_t max = host.cpuid(EXTENDED, 0).eax;
        return (struct cpuid){.eax = max < EXTENDED_MAX ? max : EXTENDED_MAX};
    }
    case 0x80000002 ... 0x80000004: /* the name */
    case 0x80000006:                /* the second-level cache */
        return of_host(leaf, 0);
    case EXTENDED_MAX:
        return addresses();
    default:
        return features_of(leaf, 0);
    }
}

static struct cpuid basic_leaf(const struct feature_vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    switch (leaf) {
    case 0:
    case 2: /* caches and TLBs */
        return of_host(leaf, 0);
    case 1:
        return leaf1(vcpu);
    case 4:
        return caches(vcpu, subleaf);
    case 7:
        return leaf7(vcpu, subleaf);
    case 0xb:
        return topology(vcpu, subleaf);
    case 0xd:
        return xsave_leaf(vcpu, subleaf);
    case 0x15:
        return clock(vcpu);
    default:
        return features_of(leaf, 0);
    }
}

/* A leaf above the highest one of its range is the highest basic leaf (SDM 2, CPUID). */
struct cpuid features_cpuid(const struct feature_vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    if (leaf >> 28 == HYPERVISOR >> 28)
        return hypervisor_leaf(vcpu, leaf);
    if (leaf >= EXTENDED && leaf <= extended_leaf(EXTENDED).eax)
        return extended_leaf(leaf);
    return basic_leaf(vcpu, leaf < basic_max ? leaf : basic_max, subleaf);
}
