/* SPDX-License-Identifier: MIT */
/* What is known of a CPU by CPUID, with recorded CPUs: model, brand, threads, the kind of a hybrid
 * CPU's core, and the hypervisor below it (rule N90). */
#include "tests/unit/support.h"

#include "arch/x86/cpu_facts.h"
#include "lib/bits.h"
#include "tests/unit/arch/recorded_cpus.h"

#include <string.h>

static struct cpu_facts facts;

static void know(const struct recorded_leaf *cpu)
{
    support_reset();
    recorded = cpu;
    recorded_asked_below = false;
    memset(&facts, 0xff, sizeof(facts));
    cpu_facts_parse(&facts, recorded_ask);
}

static void cores_of_a_hybrid_cpu(void **state)
{
    (void)state;
    know(alder_lake_p);
    assert_string_equal(facts.vendor, "GenuineIntel");
    assert_string_equal(facts.brand, "12th Gen Intel(R) Core(TM) i7-12700K");
    assert_true(facts.vmx && facts.smx && !facts.svm);
    assert_int_equal(facts.physical_bits, 39);
    assert_int_equal(facts.below, HYPERVISOR_NONE);
    assert_false(recorded_asked_below);
    facts.microcode = 0x2e;
    cpu_facts_log(&facts);
    assert_string_equal(support_log(),
                        "cpu: 12th Gen Intel(R) Core(TM) i7-12700K, MAXPHYADDR 39\n"
                        "cpu: GenuineIntel, family 6, model 0x97, stepping 2, microcode 0x2e; "
                        "threads: 2 of the core, 20 of the package; hybrid: performance core\n");
    know(alder_lake_e);
    cpu_facts_log(&facts);
    assert_string_equal(support_log(),
                        "cpu: without a name, MAXPHYADDR 39\n"
                        "cpu: GenuineIntel, family 6, model 0x97, stepping 2, microcode unknown; "
                        "threads: 1 of the core, 20 of the package; hybrid: efficient core\n");
}

static void an_old_cpu(void **state)
{
    (void)state;
    know(penryn);
    cpu_facts_log(&facts);
    assert_string_equal(support_log(),
                        "cpu: Intel(R) Core(TM)2 Duo CPU     T9600  @ 2.80GHz, MAXPHYADDR 36\n"
                        "cpu: GenuineIntel, family 6, model 0x17, stepping 6, microcode "
                        "unknown\n");
}

static void another_vendor(void **state)
{
    (void)state;
    know(epyc);
    assert_true(facts.svm && !facts.vmx);
    assert_int_equal(facts.family, 0x17);
    assert_int_equal(facts.model, 0x31);
    assert_int_equal(facts.threads_of_package, 128);
}

static void hypervisors_by_their_names(void **state)
{
    static const struct {
        const struct recorded_leaf *cpu;
        enum hypervisor below;
        const char *text;
    } rows[] = {
        {in_kvm, HYPERVISOR_KVM, "; below: KVM (\"KVMKVMKVM\")\n"},
        {in_kvm_with_hyper_v, HYPERVISOR_KVM, "; below: KVM (\"KVMKVMKVM\")\n"},
        {in_hyper_v, HYPERVISOR_HYPER_V, "; below: Hyper-V (\"Microsoft Hv\")\n"},
        {in_vmware, HYPERVISOR_VMWARE, "; below: VMware (\"VMwareVMware\")\n"},
        {in_virtualbox, HYPERVISOR_VIRTUALBOX, "; below: VirtualBox (\"VBoxVBoxVBox\")\n"},
        {in_xen, HYPERVISOR_XEN, "; below: Xen (\"XenVMMXenVMM\")\n"},
        {in_xen_with_hyper_v, HYPERVISOR_XEN, "; below: Xen (\"XenVMMXenVMM\")\n"},
        {in_tcg, HYPERVISOR_TCG, "; below: QEMU's emulator TCG (\"TCGTCGTCGTCG\")\n"},
        {in_bhyve, HYPERVISOR_OTHER, "; below: another hypervisor (\"bhyve bhyve \")\n"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        know(rows[i].cpu);
        assert_int_equal(facts.below, rows[i].below);
        cpu_facts_log(&facts);
        assert_non_null(strstr(support_log(), rows[i].text));
    }
}

/* A leaf that does not exist returns the values of another one (SDM 2, CPUID), so a CPU that is not
 * hybrid, or has no topology leaves, is not asked for them. */
static void only_leaves_that_exist(void **state)
{
    static const struct recorded_leaf small[] = {
        INTEL(0x7),
        {0x1, 0, {0x000306a9, 0, 0, 0}},
        {0x7, 0, {0, 0, 0, 1u << 15}},
        {0xb, 0, {1, 2, 0x100, 0}},
        {0x1a, 0, {0x40000001, 0, 0, 0}},
        {0x1f, 0, {1, 2, 0x100, 0}},
        {0x40000000, 0, {0, 0x786f4256, 0x786f4256, 0x786f4256}},
        {0x80000000, 0, {0x80000000, 0, 0, 0}},
        {0x80000001, 0, {0, 0, ~0u, 0}},
        {0x80000002, 0, {0x41414141, 0, 0, 0}},
        {0x80000008, 0, {0x2020, 0, 0, 0}},
        END,
    };
    (void)state;
    know(small);
    assert_int_equal(facts.core_kind, 0);
    assert_int_equal(facts.threads_of_core, 0);
    assert_int_equal(facts.threads_of_package, 0);
    assert_int_equal(facts.below, HYPERVISOR_NONE);
    assert_int_equal(facts.physical_bits, 36);
    assert_true(cpu_mappable_end(recorded_ask) == 1ull << 36);
    assert_false(facts.svm);
    assert_string_equal(facts.brand, "");
}

/* No physical address is mapped where the image and the stacks are. */
static void addresses_end_below_the_image(void **state)
{
    static const struct recorded_leaf wide[] = {
        {0x80000000, 0, {0x80000008, 0, 0, 0}},
        {0x80000008, 0, {0x3934, 0, 0, 0}},
        END,
    };
    (void)state;
    recorded = wide;
    assert_int_equal(cpu_physical_bits(recorded_ask), 52);
    assert_true(cpu_mappable_end(recorded_ask) == 1ull << 46);
    recorded = alder_lake_p;
    assert_true(cpu_mappable_end(recorded_ask) == 1ull << 39);
}

/* Each of 48 bytes is used, and a topology without an end ends. */
static struct cpuid endless(uint32_t leaf, uint32_t subleaf)
{
    if (leaf == 0xb || leaf == 0x1f)
        return (struct cpuid){1, 2 + subleaf, 0x100, 0};
    return (struct cpuid){0xffffffff, 0x41414141, 0x41414141, 0x4141c141};
}

static void any_answers(void **state)
{
    (void)state;
    support_reset();
    cpu_facts_parse(&facts, endless);
    assert_int_equal(strlen(facts.vendor), 12);
    assert_int_equal(strlen(facts.brand), 48);
    assert_int_equal(facts.core_kind, 0xff);
    assert_true(facts.threads_of_core >= 2 && facts.threads_of_core < 20);
    cpu_facts_log(&facts);
    assert_non_null(strstr(support_log(), "hybrid: core of an unknown kind"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_of_a_hybrid_cpu),
        cmocka_unit_test(an_old_cpu),
        cmocka_unit_test(another_vendor),
        cmocka_unit_test(hypervisors_by_their_names),
        cmocka_unit_test(only_leaves_that_exist),
        cmocka_unit_test(addresses_end_below_the_image),
        cmocka_unit_test(any_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
