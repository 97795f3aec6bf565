/* CPUID as a guest sees it: what guest/features.h offers. cpuid_setup() asks for
 * all of it when the VM is made; an exit takes the answer from there and fills in what varies. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/features.h"
#include "guest/vm.h"
#include "lib/log.h"
#include "vmx/vmcs.h"

#define LEAF1_ECX_OSXSAVE  BIT(27)
#define LEAF1_EDX_APIC     BIT(9)
#define LEAF7_ECX_OSPKE    BIT(4)
#define LEAF_D1_EAX_XSAVEC BIT(1)
#define LEAF_D1_EAX_XSAVES BIT(3)

void cpuid_init(void)
{
    const struct feature_host host = {.cpuid = cpuid,
                                      .secondary = vmx.controls.word[CONTROL_SECONDARY],
                                      .cr4 = vmx_cr4_may_be_1(&vmx.msrs),
                                      .compaction = extra_compaction_works()};
    features_setup(&host);
}

/* What all vCPUs of a VM are told, whatever they do. */
static struct cpuid shown(const void *context, uint32_t leaf, uint32_t subleaf)
{
    const struct vm *vm = context;
    const struct feature_vcpu common = {.count = (unsigned)vm->words.vcpus,
                                        .tsc_hz = tsc_khz() * 1000,
                                        .shared = (uint32_t)vm->words.shared,
                                        .execute_only = (uint32_t)vm->words.execute_only};
    return features_cpuid(&common, leaf, subleaf);
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
