/* SPDX-License-Identifier: MIT */
/* CPUID for guests. cpuid_setup() computes all answers by vm/features.h when the VM is created, and
 * an exit takes its answer from that table. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "vm/cpuid_table.h"
#include "vm/exits.h"
#include "vm/features.h"
#include "vm/vm.h"
#include "lib/log.h"
#include "vmx/broken.h"
#include "vmx/vmcs.h"

#define CPUID_MCE  (1u << 7)
#define CPUID_MTRR (1u << 12)
#define CPUID_MCA  (1u << 14)

void cpuid_init(void)
{
    const struct feature_host host = {.cpuid = cpuid,
                                      .xcr0 = extra_xcr0_supported(),
                                      .secondary = vmx.controls.set[CONTROL_SECONDARY],
                                      .cr4 = vmx_cr4_may_be_1(&vmx.msrs),
                                      .broken = broken_on_cpu()};
    features_setup(&host);
}

/* The part of an answer that all vCPUs of a VM have in common. */
static struct cpuid cpuid_of_vm(const void *context, uint32_t leaf, uint32_t subleaf)
{
    const struct vm *vm = context;
    const struct feature_vm common = {.count = (unsigned)vm->words.vcpus,
                                      .tsc_hz = tsc_khz() * 1000,
                                      .shared = (uint32_t)vm->words.shared,
                                      .execute_only = (uint32_t)vm->words.execute_only};
    struct cpuid r = features_cpuid(&common, leaf, subleaf);
    if (leaf == 1 && vm->words.legacy)
        r.edx |= CPUID_MCE | CPUID_MTRR | CPUID_MCA; /* vm/legacy_msr.h */
    return r;
}

void cpuid_setup(struct vm *vm)
{
    cpuid_table_fill(&vm->cpuid, cpuid_of_vm, vm);
    if (vm->cpuid.left_out)
        log_info("# %s: CPUID has %u entries more than the table can hold; they are left out",
                 vm->name, vm->cpuid.left_out);
}

void cpuid_update(struct vcpu *vcpu)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    const struct feature_vcpu *self = &vcpu->cpuid_self;
    vcpu->cpuid_self = (struct feature_vcpu){.index = vcpu->index,
                                             .apic_on = vcpu->lapic.mode != LAPIC_OFF,
                                             .cr4 = cpu_reg(&vcpu->vmx.regs, REG_CR4),
                                             .xcr0 = vcpu->extra.xcr0};
    for (const struct cpuid_entry *e = table->entries; e < &table->entries[table->count]; e++)
        if (e->own)
            vcpu->cpuid[e->own] = features_cpuid_own(self, e->leaf, e->subleaf, e->answer);
}

/* ---- The exit -------------------------------------------------------------------------------- */

/* CPUID clears bits 63:32 of the registers. */
static ALWAYS_INLINE void cpuid_answer(struct vcpu *vcpu, const struct cpuid *r)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    gpr[GPR_RAX] = r->eax;
    gpr[GPR_RBX] = r->ebx;
    gpr[GPR_RCX] = r->ecx;
    gpr[GPR_RDX] = r->edx;
    vmx_skip(&vcpu->vmx, REASON_CPUID);
}

/* The answer of a subleaf after the last one of the leaf whose first entry this is: zeros, except
 * that the topology returns the number that was asked for and the vCPU's ID, as its last level
 * does. */
static ALWAYS_INLINE void cpuid_answer_no_subleaf(struct vcpu *vcpu,
                                                  const struct cpuid_entry *first)
{
    if (first->leaf != CPUID_LEAF_TOPOLOGY) {
        cpuid_answer(vcpu, &cpuid_no_entry.answer);
        return;
    }
    struct cpuid r = vcpu->cpuid[CPUID_OWN_TOPOLOGY + 2];
    r.ecx = (uint8_t)vcpu->vmx.regs.gpr[GPR_RCX];
    cpuid_answer(vcpu, &r);
}

/* Answers for the leaf whose first entry this is. */
static ALWAYS_INLINE void cpuid_answer_leaf(struct vcpu *vcpu, const struct cpuid_entry *entry)
{
    if (entry->subleaves) {
        uint32_t subleaf = (uint32_t)vcpu->vmx.regs.gpr[GPR_RCX];
        if (unlikely(subleaf >= entry->subleaves)) {
            cpuid_answer_no_subleaf(vcpu, entry);
            return;
        }
        entry += subleaf;
    }
    cpuid_answer(vcpu, likely(entry->own) ? &vcpu->cpuid[entry->own] : &entry->answer);
}

static NOINLINE void cpuid_answer_special(struct vcpu *vcpu, const struct cpuid_entry *entry)
{
    cpuid_answer_leaf(vcpu, entry);
}

/* Answers for a leaf that the table does not have. */
static NOINLINE void cpuid_answer_no_leaf(struct vcpu *vcpu, const struct cpuid_table *table,
                                          uint32_t leaf)
{
    cpuid_answer_leaf(vcpu, cpuid_table_instead(table, leaf));
}

/* Leaf 0, by which guests serialize, is the table's first entry and is answered without a
 * search. */
void exit_cpuid(struct vcpu *vcpu)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    uint32_t leaf = (uint32_t)vcpu->vmx.regs.gpr[GPR_RAX];
    if (likely(!leaf)) {
        cpuid_answer(vcpu, &table->entries[0].answer);
        return;
    }
    const struct cpuid_entry *entry = cpuid_table_first(table, leaf);
    IN_REGISTER(entry);
    if (unlikely(entry->leaf != leaf))
        cpuid_answer_no_leaf(vcpu, table, leaf);
    else if (entry->plain)
        cpuid_answer(vcpu, &entry->answer);
    else
        cpuid_answer_special(vcpu, entry);
}

struct cpuid cpuid_offered(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_entry *entry = cpuid_table_first(&vcpu->vm->cpuid, leaf);
    if (entry->leaf != leaf || (entry->subleaves && subleaf >= entry->subleaves))
        return features_cpuid_own(&vcpu->cpuid_self, leaf, subleaf, cpuid_no_entry.answer);
    entry += entry->subleaves ? subleaf : 0;
    return entry->own ? vcpu->cpuid[entry->own] : entry->answer;
}

uint32_t cpuid_signature(void)
{
    return cpuid(1, 0).eax;
}
