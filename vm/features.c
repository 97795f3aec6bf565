/* SPDX-License-Identifier: MIT */
#include "vm/features.h"

#include "arch/x86/reg_bits.h"
#include "guest/abi.h"
#include "vm/cpuid_table.h"
#include "lib/assert.h"
#include "vmx/controls.h"
#include "vmx/xcr0.h"

#define EXTENDED_MAX 0x80000008u

/* Bits and fields that follow from the state of the vCPU or VM, not from the table. */
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF1_EDX_APIC    BIT(9)
#define LEAF1_EDX_SEVERAL BIT(28) /* HTT: EBX has the number of logical processors */
#define LEAF7_ECX_OSPKE   BIT(4)

#define LEAF4_EAX_TYPE      BITS(4, 0)
#define LEAF4_EAX_CACHE     BITS(13, 0)
#define LEAF4_EAX_CORES     BITS(31, 26) /* number of APIC IDs in the package, less 1 */
#define LEAFB_ECX_THREAD    (1u << 8)
#define LEAFB_ECX_CORE      (2u << 8)
#define LEAFD_ECX_ALIGN     BIT(1)
#define LEAFD_EAX_COMPACTED (BIT(1) | BIT(3)) /* of subleaf 1: XSAVEC, XSAVES */

#define KVM_EBX 0x4b4d564bu /* "KVMK" */
#define KVM_ECX 0x564b4d56u /* "VMKV" */
#define KVM_EDX 0x0000004du /* "M" */

/* The XSAVE area (SDM 1, 13.4): the legacy region and the header, then the components. */
#define XSAVE_HEADER_END 576u
#define COMPONENTS       63u
#define COMPONENTS_ALIGN 64u
#define COMPONENT_FIRST  2u /* x87 and SSE are in the legacy region */

#define FEATURES_MAX 160

static struct feature_host host;
static uint64_t xcr0_offered, cr4_offered;
static struct cpuid components[COMPONENTS]; /* subleaves of leaf 0xd for offered components */
static bool offered[FEATURES_MAX];          /* by index in feature_table */

/* ---- What is offered ------------------------------------------------------------------------- */

static uint32_t *cpuid_register_of(struct cpuid *r, enum cpuid_register reg)
{
    uint32_t *const registers[] = {&r->eax, &r->ebx, &r->ecx, &r->edx};
    return registers[reg];
}

/* The host's answer, or zeros if the host has no such leaf. */
static struct cpuid host_cpuid(uint32_t leaf, uint32_t subleaf)
{
    uint32_t max = host.cpuid(leaf & CPUID_LEAF_EXTENDED, 0).eax;
    return leaf > max ? (struct cpuid){0} : host.cpuid(leaf, subleaf);
}

static bool feature_is_available(const struct feature *feature)
{
    struct cpuid r = host_cpuid(feature->leaf, feature->subleaf);
    if (feature->leaf == 7 && feature->subleaf > host_cpuid(7, 0).eax)
        return false;
    return (feature->ours || *cpuid_register_of(&r, feature->reg) & feature->bit) &&
           (host.secondary & feature->secondary) == feature->secondary &&
           !(host.broken & feature->broken) && !(feature->xcr0 & ~xcr0_offered);
}

/* The state components that the table knows and the host describes. Some hosts have a bit for a
 * component that they do not describe (docs/EMULATOR-GAPS.md). */
static uint64_t components_offered(void)
{
    const uint64_t known = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU;
    uint64_t xcr0 = host.xcr0 & known;
    for (unsigned n = COMPONENT_FIRST; n < COMPONENTS; n++)
        if (xcr0 & BIT(n) && !host_cpuid(CPUID_LEAF_XSAVE, n).eax)
            xcr0 &= ~BIT(n);
    return xcr0_is_valid(xcr0, xcr0) ? xcr0 : xcr0 & ~XCR0_AVX512;
}

/* Records the size and offset of each component, so that no exit executes CPUID in the host. */
static void record_components(void)
{
    for (unsigned n = COMPONENT_FIRST; n < COMPONENTS; n++) {
        struct cpuid c = {0};
        if (xcr0_offered & BIT(n))
            c = host_cpuid(CPUID_LEAF_XSAVE, n);
        components[n] = (struct cpuid){c.eax, c.ebx, c.ecx & (uint32_t)LEAFD_ECX_ALIGN, 0};
    }
}

void features_setup(const struct feature_host *new_host)
{
    host = *new_host;
    xcr0_offered = components_offered();
    record_components();
    cr4_offered = 0;
    BUG_ON(feature_count > FEATURES_MAX);
    for (unsigned i = 0; i < feature_count; i++) {
        offered[i] = feature_is_available(&feature_table[i]);
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

uint64_t features_xcr0(void)
{
    return xcr0_offered;
}

bool features_xcr0_valid(uint64_t value)
{
    return xcr0_is_valid(value, xcr0_offered);
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

/* The bits of a leaf that come from the table. */
static struct cpuid features_of(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    for (unsigned i = 0; i < feature_count; i++) {
        const struct feature *f = &feature_table[i];
        if (f->leaf == leaf && f->subleaf == subleaf && feature_offered(f))
            *cpuid_register_of(&r, f->reg) |= f->bit;
    }
    return r;
}

static struct cpuid cpuid_leaf1(const struct feature_vm *vm)
{
    struct cpuid r = features_of(1, 0), ours = host_cpuid(1, 0);
    r.eax = ours.eax;
    r.ebx = (ours.ebx & 0xffff) | vm->count << 16;
    if (vm->count > 1)
        r.edx |= (uint32_t)LEAF1_EDX_SEVERAL;
    return r;
}

/* A VM is one package of cores, each of which has one thread and its own caches. Returns the number
 * of APIC ID bits that tell the cores apart. */
static unsigned package_bits(const struct feature_vm *vm)
{
    unsigned bits = 0;
    while (1u << bits < vm->count)
        bits++;
    return bits;
}

static struct cpuid cpuid_caches(const struct feature_vm *vm, uint32_t subleaf)
{
    struct cpuid r = host_cpuid(4, subleaf);
    if (!(r.eax & LEAF4_EAX_TYPE))
        return (struct cpuid){0};
    r.eax &= (uint32_t)LEAF4_EAX_CACHE;
    r.eax |= (uint32_t)field_put(BIT(package_bits(vm)) - 1, LEAF4_EAX_CORES);
    return r;
}

static struct cpuid cpuid_leaf7(uint32_t subleaf)
{
    struct cpuid r = features_of(7, subleaf);
    if (subleaf == 0)
        r.eax = host_cpuid(7, 0).eax ? 1 : 0; /* the last subleaf */
    return r;
}

static struct cpuid cpuid_topology(const struct feature_vm *vm, uint32_t subleaf)
{
    switch (subleaf) {
    case 0:
        return (struct cpuid){.ebx = 1, .ecx = LEAFB_ECX_THREAD};
    case 1:
        return (struct cpuid){.eax = package_bits(vm), .ebx = vm->count, .ecx = LEAFB_ECX_CORE};
    default:
        return (struct cpuid){0};
    }
}

static uint32_t component_aligned(uint32_t end, const struct cpuid *component)
{
    bool aligns = component->ecx & LEAFD_ECX_ALIGN;
    return aligns ? (end + COMPONENTS_ALIGN - 1) & ~(COMPONENTS_ALIGN - 1) : end;
}

/* The size in bytes of XSAVE's area for a set of components; with `compacted`, that of XSAVEC and
 * XSAVES (SDM 1, 13.4.2 and 13.4.3). The size is computed from the single components, because the
 * host's totals count some that are not offered or do not exist (docs/EMULATOR-GAPS.md). */
static uint32_t area_size(uint64_t set, bool compacted)
{
    uint32_t end = XSAVE_HEADER_END;
    for (unsigned n = COMPONENT_FIRST; n < COMPONENTS; n++) {
        if (!(set & BIT(n)))
            continue;
        const struct cpuid *c = &components[n];
        uint32_t start = compacted ? component_aligned(end, c) : c->ebx;
        if (start + c->eax > end)
            end = start + c->eax;
    }
    return end;
}

static struct cpuid xsave_leaf(uint32_t subleaf)
{
    if (!xcr0_offered || subleaf >= COMPONENTS)
        return (struct cpuid){0};
    if (subleaf == 0)
        return (struct cpuid){.eax = (uint32_t)xcr0_offered,
                              .ecx = area_size(xcr0_offered, false),
                              .edx = (uint32_t)(xcr0_offered >> 32)};
    return subleaf == 1 ? features_of(CPUID_LEAF_XSAVE, 1) : components[subleaf];
}

/* The TSC is presented as the core crystal clock, which the APIC's timer counts (SDM 3, 11.5.4). A
 * rate that the register cannot hold is not enumerated: all registers are zero. */
static struct cpuid cpuid_tsc_clock(const struct feature_vm *vm)
{
    return vm->tsc_hz >> 32 ? (struct cpuid){0} : (struct cpuid){1, 1, (uint32_t)vm->tsc_hz, 0};
}

/* The frequencies in MHz; that of a bus is not enumerated. */
static struct cpuid cpuid_frequencies(const struct feature_vm *vm)
{
    uint64_t mhz = vm->tsc_hz / 1000000;
    return mhz >> 16 ? (struct cpuid){0} : (struct cpuid){(uint32_t)mhz, (uint32_t)mhz, 0, 0};
}

/* Linear addresses have 48 bits, because five-level paging is not offered. */
static struct cpuid cpuid_address_sizes(void)
{
    struct cpuid r = host_cpuid(EXTENDED_MAX, 0);
    return (struct cpuid){.eax = (r.eax & 0xff) | (r.eax ? 48u << 8 : 0)};
}

static struct cpuid hypervisor_leaf(const struct feature_vm *vm, uint32_t leaf)
{
    if (leaf == ABI_CPUID_LEAF)
        return (struct cpuid){ABI_CPUID_STOLEN, ABI_CPUID_EBX, ABI_CPUID_ECX, ABI_CPUID_EDX};
    if (leaf == ABI_CPUID_STOLEN)
        return (struct cpuid){.eax = vm->shared, .ebx = vm->execute_only};
    /* Linux looks for hypervisors that it knows in steps of 0x100 leaves. With this one it uses
     * x2APIC mode without interrupt remapping, and of a KVM without features nothing else. */
    if (leaf == CPUID_LEAF_KVM)
        return (struct cpuid){CPUID_LEAF_KVM + 1, KVM_EBX, KVM_ECX, KVM_EDX};
    return (struct cpuid){0};
}

static struct cpuid extended_leaf(uint32_t leaf)
{
    switch (leaf) {
    case CPUID_LEAF_EXTENDED: {
        uint32_t max = host.cpuid(leaf, 0).eax;
        return (struct cpuid){.eax = max < EXTENDED_MAX ? max : EXTENDED_MAX};
    }
    case 0x80000002 ... 0x80000004: /* the brand string */
    case 0x80000006:                /* the second-level cache */
        return host_cpuid(leaf, 0);
    case EXTENDED_MAX:
        return cpuid_address_sizes();
    default:
        return features_of(leaf, 0);
    }
}

static struct cpuid basic_leaf(const struct feature_vm *vm, uint32_t leaf, uint32_t subleaf)
{
    switch (leaf) {
    case 0:
    case 2: /* caches and TLBs */
        return host_cpuid(leaf, 0);
    case 1:
        return cpuid_leaf1(vm);
    case 4:
        return cpuid_caches(vm, subleaf);
    case 7:
        return cpuid_leaf7(subleaf);
    case CPUID_LEAF_TOPOLOGY:
        return cpuid_topology(vm, subleaf);
    case CPUID_LEAF_XSAVE:
        return xsave_leaf(subleaf);
    case 0x15:
        return cpuid_tsc_clock(vm);
    case 0x16:
        return cpuid_frequencies(vm);
    default:
        return features_of(leaf, 0);
    }
}

struct cpuid features_cpuid(const struct feature_vm *vm, uint32_t leaf, uint32_t subleaf)
{
    if (leaf >> 28 == CPUID_LEAF_HYPERVISOR >> 28)
        return hypervisor_leaf(vm, leaf);
    return leaf & CPUID_LEAF_EXTENDED ? extended_leaf(leaf) : basic_leaf(vm, leaf, subleaf);
}

/* ---- What a vCPU is told for itself ---------------------------------------------------------- */

static void own_leaf1(const struct feature_vcpu *vcpu, struct cpuid *r)
{
    r->ebx |= vcpu->index << 24;
    if (vcpu->cr4 & CR4_OSXSAVE)
        r->ecx |= (uint32_t)LEAF1_ECX_OSXSAVE;
    if (!vcpu->apic_on)
        r->edx &= ~(uint32_t)LEAF1_EDX_APIC;
}

/* The size of XSAVE's area for the components that the guest has enabled. IA32_XSS is 0. */
static void own_xsave_leaf(const struct feature_vcpu *vcpu, uint32_t subleaf, struct cpuid *r)
{
    if (subleaf == 0 && r->eax)
        r->ebx = area_size(vcpu->xcr0, false);
    else if (subleaf == 1 && r->eax & LEAFD_EAX_COMPACTED)
        r->ebx = area_size(vcpu->xcr0, true);
}

struct cpuid features_cpuid_own(const struct feature_vcpu *vcpu, uint32_t leaf, uint32_t subleaf,
                                struct cpuid r)
{
    switch (leaf) {
    case 1:
        own_leaf1(vcpu, &r);
        break;
    case 7:
        if (subleaf == 0 && vcpu->cr4 & CR4_PKE)
            r.ecx |= (uint32_t)LEAF7_ECX_OSPKE;
        break;
    case CPUID_LEAF_TOPOLOGY: /* in subleaves that do not exist, too */
        r.ecx |= subleaf & 0xff;
        r.edx = vcpu->index;
        break;
    case CPUID_LEAF_XSAVE:
        own_xsave_leaf(vcpu, subleaf, &r);
        break;
    default:
        break;
    }
    return r;
}
