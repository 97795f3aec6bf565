/* CPUID as a guest sees it: the host's, less what is not offered. cpuid_setup() asks the host for
 * all of it when the VM is made; an exit takes the answer from there and fills in what varies. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/abi.h"
#include "guest/vm.h"
#include "lib/log.h"
#include "vmx/vmcs.h"

/* What a guest does not get, and why. */
#define LEAF1_ECX_HIDDEN                   \
    (BIT(2)    /* DTES64 */                \
     | BIT(3)  /* MONITOR: exits to #UD */ \
     | BIT(5)  /* VMX: no nesting */       \
     | BIT(6)  /* SMX */                   \
     | BIT(7)  /* EIST */                  \
     | BIT(8)  /* TM2 */                   \
     | BIT(15) /* PDCM */                  \
     | BIT(18) /* DCA */                   \
     | BIT(27) /* OSXSAVE: follows the guest's CR4 */)
#define LEAF1_ECX_HYPERVISOR BIT(31)
#define LEAF1_ECX_OSXSAVE    BIT(27)
#define LEAF1_ECX_APIC       (BIT(21) | BIT(24)) /* x2APIC, TSC deadline: whatever the CPU has */
#define LEAF1_EDX_APIC       BIT(9)
#define LEAF1_EDX_SEVERAL    BIT(28) /* EBX says how many logical processors */
#define LEAF1_EDX_HIDDEN                          \
    (BIT(7)    /* MCE */                          \
     | BIT(9)  /* APIC: follows IA32_APIC_BASE */ \
     | BIT(12) /* MTRR */                         \
     | BIT(14) /* MCA */                          \
     | BIT(21) /* DS */ | BIT(22) /* ACPI */ | LEAF1_EDX_SEVERAL | BIT(29) /* TM */)
#define LEAF4_EAX_CACHE BITS(13, 0)
#define LEAF4_EAX_CORES BITS(31, 26) /* APIC IDs of the package, less 1 */
#define LEAF7_EBX_HIDDEN \
    (BIT(2)    /* SGX */ \
     | BIT(4)  /* HLE */ \
     | BIT(11) /* RTM */ \
     | BIT(25) /* PT */)
#define LEAF7_EBX_INVPCID BIT(10)
#define LEAF7_ECX_HIDDEN                                     \
    (BIT(5)    /* WAITPKG */                                 \
     | BIT(7)  /* CET */                                     \
     | BIT(16) /* LA57: the software walk has four levels */ \
     | BIT(31) /* PKS */)
#define LEAF7_ECX_OSPKE     BIT(4)
#define LEAFB_ECX_THREAD    (1u << 8)
#define LEAFB_ECX_CORE      (2u << 8)
#define LEAF_D1_EAX_XSAVEC  BIT(1)
#define LEAF_D1_EAX_XSAVES  BIT(3)
#define EXT1_EDX_RDTSCP     BIT(27)
#define HYPERVISOR_LEAF_MAX ABI_CPUID_STOLEN

static bool secondary(uint64_t control)
{
    return vmx_has(&vmx.controls, CONTROL_SECONDARY, control);
}

static void adjust_leaf1(const struct vm *vm, struct cpuid *r)
{
    r->ecx =
        (r->ecx & ~(uint32_t)LEAF1_ECX_HIDDEN) | (uint32_t)(LEAF1_ECX_HYPERVISOR | LEAF1_ECX_APIC);
    r->edx &= ~(uint32_t)LEAF1_EDX_HIDDEN;
    if (vm->words.vcpus > 1)
        r->edx |= (uint32_t)LEAF1_EDX_SEVERAL;
    r->ebx &= 0xffff; /* how many logical processors, and the APIC ID */
    r->ebx |= (uint32_t)vm->words.vcpus << 16;
}

/* A VM is one package of cores with one thread and caches of their own. */
static unsigned package_bits(const struct vm *vm)
{
    unsigned bits = 0;
    while (1u << bits < vm->words.vcpus)
        bits++;
    return bits;
}

static struct cpuid topology_leaf(const struct vm *vm, uint32_t subleaf)
{
    if (subleaf == 0)
        return (struct cpuid){.ebx = 1, .ecx = LEAFB_ECX_THREAD};
    if (subleaf == 1)
        return (struct cpuid){
            .eax = package_bits(vm), .ebx = (uint32_t)vm->words.vcpus, .ecx = LEAFB_ECX_CORE};
    return (struct cpuid){0};
}

static void adjust_leaf7(struct cpuid *r)
{
    r->ebx &= ~(uint32_t)LEAF7_EBX_HIDDEN;
    if (!secondary(SECONDARY_INVPCID))
        r->ebx &= ~(uint32_t)LEAF7_EBX_INVPCID;
    r->ecx &= ~(uint32_t)(LEAF7_ECX_HIDDEN | LEAF7_ECX_OSPKE);
    r->edx = 0;
}

/* The TSC is the crystal: that is what the APIC's timer counts (SDM 3, 11.5.4). All zero, not
 * enumerated, for a rate that the register cannot hold. */
static struct cpuid clock_leaf(void)
{
    uint64_t hz = tsc_khz() * 1000;
    return hz >> 32 ? (struct cpuid){0} : (struct cpuid){1, 1, (uint32_t)hz, 0};
}

/* What all vCPUs of a VM are told, whatever they do. */
static struct cpuid shown(const void *context, uint32_t leaf, uint32_t subleaf)
{
    const struct vm *vm = context;
    struct cpuid r = {0};

    if (leaf >> 16 != 0x4000)
        r = cpuid(leaf, subleaf);
    switch (leaf) {
    case 1:
        adjust_leaf1(vm, &r);
        break;
    case 4:
        r.eax &= (uint32_t)LEAF4_EAX_CACHE;
        if (r.eax)
            r.eax |= (uint32_t)field_put(BIT(package_bits(vm)) - 1, LEAF4_EAX_CORES);
        break;
    case 7:
        if (subleaf == 0)
            adjust_leaf7(&r);
        else
            r = (struct cpuid){0};
        break;
    case 5:    /* MONITOR */
    case 6:    /* power */
    case 0xa:  /* performance counters */
    case 0x1f: /* topology: leaf 0xb has it */
    case 0x12: /* SGX */
    case 0x14: /* PT */
        r = (struct cpuid){0};
        break;
    case 0xb:
        r = topology_leaf(vm, subleaf);
        break;
    case 0xd:
        if (subleaf == 1 && !secondary(SECONDARY_XSAVES))
            r.eax &= ~(uint32_t)LEAF_D1_EAX_XSAVES;
        break;
    case 0x15:
        r = clock_leaf();
        break;
    case 0x80000001:
        if (!secondary(SECONDARY_RDTSCP))
            r.edx &= ~(uint32_t)EXT1_EDX_RDTSCP;
        break;
    case ABI_CPUID_LEAF:
        r = (struct cpuid){HYPERVISOR_LEAF_MAX, ABI_CPUID_EBX, ABI_CPUID_ECX, ABI_CPUID_EDX};
        break;
    case ABI_CPUID_STOLEN:
        r = (struct cpuid){.eax = (uint32_t)vm->words.shared,
                           .ebx = (uint32_t)vm->words.execute_only};
        break;
    default:
        break;
    }
    return r;
}

void cpuid_setup(struct vm *vm)
{
    cpuid_table_fill(&vm->cpuid, shown, vm);
    if (vm->cpuid.left_out)
        log_info("# %s: CPUID has %u answers more than there is room for; they are 0", vm->name,
                 vm->cpuid.left_out);
}

/* ---- What varies ----------------------------------------------------------------------------- */

static void fill_leaf1(struct vcpu *vcpu, struct cpuid *r)
{
    if (cpu_reg(&vcpu->vmx.regs, REG_CR4) & CR4_OSXSAVE)
        r->ecx |= (uint32_t)LEAF1_ECX_OSXSAVE;
    if (vcpu->lapic.mode != LAPIC_OFF)
        r->edx |= (uint32_t)LEAF1_EDX_APIC;
    r->ebx |= (uint32_t)vcpu->index << 24;
}

/* How much XSAVE needs for what the guest has switched on. */
static void fill_xsave_leaf(const struct vcpu *vcpu, uint32_t subleaf, struct cpuid *r)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    uint64_t xcr0 = vcpu->extra.xcr0, xss = vcpu->extra.xss;
    if (subleaf == 0)
        r->ebx = cpuid_xsave_size(table, xcr0, false);
    else if (subleaf == 1 && r->eax & (LEAF_D1_EAX_XSAVEC | LEAF_D1_EAX_XSAVES))
        r->ebx = cpuid_xsave_size(table, xcr0 | xss, true);
}

static struct cpuid filled(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, struct cpuid r)
{
    switch (leaf) {
    case 1:
        fill_leaf1(vcpu, &r);
        break;
    case 7:
        if (cpu_reg(&vcpu->vmx.regs, REG_CR4) & CR4_PKE)
            r.ecx |= (uint32_t)LEAF7_ECX_OSPKE;
        break;
    case CPUID_LEAF_TOPOLOGY: /* in subleaves that do not exist, too */
        r.ecx |= subleaf & 0xff;
        r.edx = vcpu->index;
        break;
    case CPUID_LEAF_XSAVE:
        fill_xsave_leaf(vcpu, subleaf, &r);
        break;
    default:
        break;
    }
    return r;
}

void cpuid_update(struct vcpu *vcpu)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    for (const struct cpuid_entry *e = table->entries; e < &table->entries[table->count]; e++)
        if (e->own)
            vcpu->cpuid[e->own] = filled(vcpu, e->leaf, e->subleaf, e->answer);
}

/* CPUID clears the upper halves. */
static ALWAYS_INLINE void answer(struct vcpu *vcpu, const struct cpuid *r)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    gpr[GPR_RAX] = r->eax;
    gpr[GPR_RBX] = r->ebx;
    gpr[GPR_RCX] = r->ecx;
    gpr[GPR_RDX] = r->edx;
    vmx_skip(&vcpu->vmx, REASON_CPUID);
}

/* There is no such leaf, or no such subleaf. */
static COLD void answer_beyond(struct vcpu *vcpu)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint32_t subleaf = (uint32_t)gpr[GPR_RCX];
    uint32_t leaf = cpuid_table_leaf(table, (uint32_t)gpr[GPR_RAX]);
    const struct cpuid_entry *entry = cpuid_table_find(table, leaf, subleaf);
    struct cpuid r = {0};
    if (entry)
        r = entry->own ? vcpu->cpuid[entry->own] : entry->answer;
    else if (leaf == CPUID_LEAF_TOPOLOGY)
        r = filled(vcpu, leaf, subleaf, r);
    answer(vcpu, &r);
}

/* `entry` is the leaf's first, or another leaf's. */
static NOINLINE void answer_special(struct vcpu *vcpu, const struct cpuid_entry *entry)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    if (unlikely(entry->leaf != (uint32_t)gpr[GPR_RAX])) {
        answer_beyond(vcpu);
        return;
    }
    if (entry->subleaves) {
        uint32_t subleaf = (uint32_t)gpr[GPR_RCX];
        if (unlikely(subleaf >= entry->subleaves)) {
            answer_beyond(vcpu);
            return;
        }
        entry += subleaf;
    }
    answer(vcpu, entry->own ? &vcpu->cpuid[entry->own] : &entry->answer);
}

/* Guests serialise by leaf 0, which is the first in the table. */
void exit_cpuid(struct vcpu *vcpu)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    uint32_t leaf = (uint32_t)vcpu->vmx.regs.gpr[GPR_RAX];
    if (!leaf) {
        answer(vcpu, &table->entries[0].answer);
        return;
    }
    const struct cpuid_entry *entry = cpuid_table_first(table, leaf);
    IN_REGISTER(entry);
    if (entry->leaf == leaf && entry->plain)
        answer(vcpu, &entry->answer);
    else
        answer_special(vcpu, entry);
}

uint32_t cpuid_signature(void)
{
    return cpuid(1, 0).eax;
}

uint64_t cpuid_cr4_offered(void)
{
    return vmx_cr4_may_be_1(&vmx.msrs) & ~(CR4_VMXE | CR4_SMXE | CR4_LA57 | CR4_CET | CR4_PKS);
}
