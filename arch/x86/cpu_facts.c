/* SPDX-License-Identifier: MIT */
/* Makes facts of CPUID; see the header. Pure. */
#include "arch/x86/cpu_facts.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

#define LEAF_EXTENDED   0x80000000u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_KVM_BESIDE 0x40000100u /* where KVM and Xen are if they offer Hyper-V's leaves, too */
#define LEAF_TOPOLOGY_1 0xbu
#define LEAF_TOPOLOGY_2 0x1fu
#define LEAF_CORE_KIND  0x1au

#define CPUID1_ECX_VMX        BIT(5)
#define CPUID1_ECX_SMX        BIT(6)
#define CPUID1_ECX_HYPERVISOR BIT(31)
#define CPUID7_EDX_HYBRID     BIT(15)
#define EXTENDED1_ECX_SVM     BIT(2)

/* Levels of the topology leaves: ECX bits 15:8 of each subleaf (SDM 3, 9.9.1). A CPU has few. */
#define LEVELS_MAX   8u
#define LEVEL_THREAD 1u

#define PHYSICAL_BITS_DEFAULT 36u
#define DIRECT_MAP_BITS       46u /* less than the space up to the next mapping */

static const struct {
    const char *id, *name;
    enum hypervisor kind;
} hypervisors[] = {
    {"KVMKVMKVM", "KVM", HYPERVISOR_KVM},
    {"Linux KVM Hv", "KVM", HYPERVISOR_KVM}, /* KVM that offers Hyper-V's leaves instead */
    {"TCGTCGTCGTCG", "QEMU's emulator TCG", HYPERVISOR_TCG},
    {"Microsoft Hv", "Hyper-V", HYPERVISOR_HYPER_V},
    {"VMwareVMware", "VMware", HYPERVISOR_VMWARE},
    {"VBoxVBoxVBox", "VirtualBox", HYPERVISOR_VIRTUALBOX},
    {"XenVMMXenVMM", "Xen", HYPERVISOR_XEN},
};

const char *hypervisor_name(enum hypervisor hypervisor)
{
    for (unsigned i = 0; i < ARRAY_SIZE(hypervisors); i++)
        if (hypervisors[i].kind == hypervisor)
            return hypervisors[i].name;
    return hypervisor == HYPERVISOR_NONE ? "none" : "another hypervisor";
}

const char *core_kind_name(uint32_t kind)
{
    switch (kind) {
    case 0:
        return NULL;
    case CORE_KIND_EFFICIENT:
        return "efficient core";
    case CORE_KIND_PERFORMANCE:
        return "performance core";
    default:
        return "core of an unknown kind";
    }
}

static enum hypervisor hypervisor_by_id(const char *id)
{
    for (unsigned i = 0; i < ARRAY_SIZE(hypervisors); i++)
        if (!strcmp(hypervisors[i].id, id))
            return hypervisors[i].kind;
    return HYPERVISOR_OTHER;
}

/* A hypervisor's name is in EBX, ECX and EDX of its first leaf. */
static void read_hypervisor_id(cpuid_ask *ask, uint32_t leaf, char id[13])
{
    struct cpuid r = ask(leaf, 0);
    const uint32_t parts[3] = {r.ebx, r.ecx, r.edx};
    memset(id, 0, 13);
    memcpy(id, parts, sizeof(parts));
}

static void facts_of_hypervisor(struct cpu_facts *facts, cpuid_ask *ask)
{
    char beside[13];
    read_hypervisor_id(ask, LEAF_HYPERVISOR, facts->below_name);
    facts->below = hypervisor_by_id(facts->below_name);
    if (facts->below != HYPERVISOR_HYPER_V)
        return;
    read_hypervisor_id(ask, LEAF_KVM_BESIDE, beside);
    enum hypervisor kind = hypervisor_by_id(beside);
    if (kind != HYPERVISOR_KVM && kind != HYPERVISOR_XEN)
        return;
    memcpy(facts->below_name, beside, sizeof(beside));
    facts->below = kind;
}

/* The number of logical processors at the thread level, and at the last level, which is the
 * package. Leaf 1Fh, if it exists, has all levels that leaf 0Bh has. */
static void facts_of_topology(struct cpu_facts *facts, cpuid_ask *ask, uint32_t last_leaf)
{
    uint32_t leaf = last_leaf >= LEAF_TOPOLOGY_2 && ask(LEAF_TOPOLOGY_2, 0).ebx ? LEAF_TOPOLOGY_2
                                                                                : LEAF_TOPOLOGY_1;
    if (last_leaf < leaf)
        return;
    for (uint32_t level = 0; level < LEVELS_MAX; level++) {
        struct cpuid r = ask(leaf, level);
        unsigned kind = r.ecx >> 8 & 0xff, count = r.ebx & 0xffff;
        if (!kind || !count)
            return;
        if (kind == LEVEL_THREAD)
            facts->threads_of_core = count;
        facts->threads_of_package = count;
    }
}

static void facts_of_brand(struct cpu_facts *facts, cpuid_ask *ask)
{
    char text[49] = "";
    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid part = ask(LEAF_EXTENDED + 2 + i, 0);
        memcpy(text + 16 * i, &part, sizeof(part));
    }
    const char *shown = text;
    while (*shown == ' ')
        shown++;
    memcpy(facts->brand, shown, strlen(shown) + 1);
}

static void facts_of_model(struct cpu_facts *facts, uint32_t signature)
{
    uint32_t family = signature >> 8 & 0xf, model = signature >> 4 & 0xf;
    facts->signature = signature;
    facts->family = family == 15 ? family + (signature >> 20 & 0xff) : family;
    facts->model = family == 6 || family == 15 ? model | (signature >> 12 & 0xf0) : model;
    facts->stepping = signature & 0xf;
}

unsigned cpu_physical_bits(cpuid_ask *ask)
{
    bool exists = ask(LEAF_EXTENDED, 0).eax >= LEAF_EXTENDED + 8;
    return exists ? ask(LEAF_EXTENDED + 8, 0).eax & 0xff : PHYSICAL_BITS_DEFAULT;
}

uint64_t cpu_mappable_end(cpuid_ask *ask)
{
    unsigned bits = cpu_physical_bits(ask);
    return BIT(bits < DIRECT_MAP_BITS ? bits : DIRECT_MAP_BITS);
}

void cpu_facts_parse(struct cpu_facts *facts, cpuid_ask *ask)
{
    struct cpuid zero = ask(0, 0), one = ask(1, 0);
    struct cpuid seven = zero.eax >= 7 ? ask(7, 0) : (struct cpuid){0};
    uint32_t last_extended = ask(LEAF_EXTENDED, 0).eax;
    const uint32_t vendor[3] = {zero.ebx, zero.edx, zero.ecx};

    memset(facts, 0, sizeof(*facts));
    memcpy(facts->vendor, vendor, sizeof(vendor));
    facts_of_model(facts, one.eax);
    facts->vmx = one.ecx & CPUID1_ECX_VMX;
    facts->smx = one.ecx & CPUID1_ECX_SMX;
    facts->svm =
        last_extended >= LEAF_EXTENDED + 1 && ask(LEAF_EXTENDED + 1, 0).ecx & EXTENDED1_ECX_SVM;
    if (last_extended >= LEAF_EXTENDED + 4)
        facts_of_brand(facts, ask);
    facts->physical_bits = cpu_physical_bits(ask);
    if (seven.edx & CPUID7_EDX_HYBRID && zero.eax >= LEAF_CORE_KIND)
        facts->core_kind = ask(LEAF_CORE_KIND, 0).eax >> 24;
    facts_of_topology(facts, ask, zero.eax);
    if (one.ecx & CPUID1_ECX_HYPERVISOR)
        facts_of_hypervisor(facts, ask);
}

void cpu_facts_log(const struct cpu_facts *facts)
{
    char microcode[32] = "unknown", threads[64] = "", kind[48] = "", below[64] = "";
    if (facts->microcode)
        snprintf(microcode, sizeof(microcode), "%#x", facts->microcode);
    if (facts->threads_of_core)
        snprintf(threads, sizeof(threads), "; threads: %u of the core, %u of the package",
                 facts->threads_of_core, facts->threads_of_package);
    if (facts->core_kind)
        snprintf(kind, sizeof(kind), "; hybrid: %s", core_kind_name(facts->core_kind));
    if (facts->below != HYPERVISOR_NONE)
        snprintf(below, sizeof(below), "; below: %s (\"%s\")", hypervisor_name(facts->below),
                 facts->below_name);
    log_info("cpu: %s, MAXPHYADDR %u", facts->brand[0] ? facts->brand : "without a name",
             facts->physical_bits);
    log_info("cpu: %s, family %u, model %#x, stepping %u, microcode %s%s%s%s", facts->vendor,
             facts->family, facts->model, facts->stepping, microcode, threads, kind, below);
}
