/* SPDX-License-Identifier: MIT */
/*
 * Exits of CPUID (vm/cpuid.c): for any values of EAX and ECX, in any state of the vCPU, the short
 * ways give the answer that the rules of the table give, in all four registers and with the upper
 * halves cleared.
 */
#include "tests/unit/vm/cpuid_oracle.h"
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/cpuid.c"

#include <string.h>

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static uint64_t cr4;
static unsigned skipped;

uint64_t tsc_khz(void)
{
    return 2000000;
}

uint64_t extra_xcr0_supported(void)
{
    return 0x2e7;
}

uint32_t broken_on_cpu(void)
{
    return 0;
}

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    (void)cpu;
    assert_int_equal(reg, REG_CR4);
    return cr4;
}

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    skipped++;
}

static uint64_t random_state = 88172645463325252ull;
static uint64_t next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static uint32_t highest_basic;

/* A CPU with everything, which says something else of each leaf and subleaf. */
static struct cpuid host(uint32_t leaf, uint32_t subleaf)
{
    uint32_t mix = leaf * 0x9e3779b1u ^ subleaf * 0x85ebca6bu;
    if (leaf == 0)
        return (struct cpuid){highest_basic, 1, 2, 3};
    if (leaf == 0x80000000)
        return (struct cpuid){0x80000008, 0, 0, 0};
    if (leaf == 1 || leaf == 7 || leaf == 0xd)
        return (struct cpuid){~0u, ~0u, ~0u, ~0u};
    return (struct cpuid){mix, mix + 1, mix + 2, mix + 3};
}

static void ask(uint32_t leaf, uint32_t subleaf)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    const struct feature_vcpu self = {
        .index = vcpu->index,
        .apic_on = vcpu->lapic.mode != LAPIC_OFF,
        .cr4 = cr4,
        .xcr0 = vcpu->extra.xcr0,
    };
    struct cpuid right = oracle_ask(&vm.cpuid, &self, leaf, subleaf);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        gpr[i] = next();
    gpr[GPR_RAX] = (next() << 32) | leaf;
    gpr[GPR_RCX] = (next() << 32) | subleaf;
    uint64_t rsi = gpr[GPR_RSI];
    skipped = 0;
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_TF; /* so that what completes it is called */
    exit_cpuid(vcpu);
    assert_int_equal(skipped, 1);
    if (gpr[GPR_RAX] != right.eax || gpr[GPR_RBX] != right.ebx || gpr[GPR_RCX] != right.ecx ||
        gpr[GPR_RDX] != right.edx)
        fail_msg("leaf %#x, subleaf %#x: %#lx %#lx %#lx %#lx", leaf, subleaf, gpr[GPR_RAX],
                 gpr[GPR_RBX], gpr[GPR_RCX], gpr[GPR_RDX]);
    assert_int_equal(gpr[GPR_RSI], rsi);
}

static void each_leaf(void)
{
    static const uint32_t bases[] = {0, 0x40000000, 0x80000000, 0x20000000, 0xffffff00};
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
        for (uint32_t leaf = bases[i]; leaf - bases[i] < 0x100; leaf++)
            for (uint32_t subleaf = 0; subleaf < 70; subleaf = subleaf < 20 ? subleaf + 1 : 70)
                ask(leaf, subleaf);
    for (unsigned i = 0; i < support_rounds(5000); i++)
        ask((uint32_t)next(), (uint32_t)next() >> (next() % 32));
    ask(4, ~0u);
    ask(0xd, ~0u);
}

/* A VM's third vCPU in several states. */
static void each_state(void)
{
    const struct feature_host features = {
        .cpuid = host, .xcr0 = 0x2e7, .secondary = ~0ull, .cr4 = ~0ull};
    features_setup(&features);
    vm.words.vcpus = 3;
    cpuid_setup(&vm);
    vcpu->vm = &vm;
    for (unsigned round = 0; round < 12; round += support_step()) {
        vcpu->index = (uint8_t)(round % 3);
        vcpu->lapic.mode = round & 1 ? LAPIC_XAPIC : LAPIC_OFF;
        vcpu->extra.xcr0 = round & 2 ? 7 : 1;
        cr4 = round & 4 ? CR4_OSXSAVE | CR4_PKE : 0;
        vcpu->vmx.regs.known = 0;
        cpuid_update(vcpu);
        each_leaf();
    }
}

/* The highest basic leaf, which answers for all leaves above it, is of each kind: it has an answer
 * of each vCPU's own or not, subleaves or not. */
static void short_ways_say_the_same(void **state)
{
    static const uint32_t highest[] = {0x20, 0x16, 0xd, 0xb, 7, 4, 1, 0, 0x3f, 0x40, 0x10000};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(highest); i++) {
        support_reset();
        highest_basic = highest[i];
        each_state();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_ways_say_the_same),
    };
    return cmocka_run_group_tests_name("exits of CPUID", tests, NULL, NULL);
}
