/* CPUID, as guest/features.h has it. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/features.h"
#include "guest/vm.h"

static COLD void adjusted_cpuid(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    const struct feature_vcpu own = {
        .index = vcpu->index,
        .count = vcpu->vm->vcpu_count,
        .apic_on = vcpu->lapic.mode != LAPIC_OFF,
        .cr4 = cpu_reg(&vcpu->vmx.regs, REG_CR4),
        .xcr0 = extra_xcr0(),
        .tsc_hz = tsc_khz() * 1000,
        .shared = (uint32_t)vcpu->vm->words.shared,
        .execute_only = (uint32_t)vcpu->vm->words.execute_only,
    };
    struct cpuid r = features_cpuid(&own, (uint32_t)gpr[GPR_RAX], (uint32_t)gpr[GPR_RCX]);
    gpr[GPR_RAX] = r.eax;
    gpr[GPR_RBX] = r.ebx;
    gpr[GPR_RCX] = r.ecx;
    gpr[GPR_RDX] = r.edx;
    vmx_skip_instruction(&vcpu->vmx);
}

/* Leaf 0, by which guests serialise, is the host's as it is. CPUID clears the upper halves. */
void exit_cpuid(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    if (unlikely((uint32_t)gpr[GPR_RAX])) {
        adjusted_cpuid(vcpu);
        return;
    }
    /* RBX is set aside by hand, or the compiler would make a stack frame for it. */
    __asm__ volatile("mov %%rbx, %1\n\tcpuid\n\txchg %%rbx, %1"
                     : "=a"(gpr[GPR_RAX]), "=&r"(gpr[GPR_RBX]), "=c"(gpr[GPR_RCX]),
                       "=d"(gpr[GPR_RDX])
                     : "0"(0), "2"(0));
    vmx_skip(&vcpu->vmx, REASON_CPUID);
}

uint32_t cpuid_signature(void)
{
    return cpuid(1, 0).eax;
}

void cpuid_setup(void)
{
    const struct feature_host host = {.cpuid = cpuid,
                                      .secondary = vmx.controls.word[CONTROL_SECONDARY],
                                      .cr4 = vmx_cr4_may_be_1(&vmx.msrs),
                                      .compaction = extra_compaction_works()};
    features_setup(&host);
}
