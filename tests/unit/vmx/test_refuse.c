/* SPDX-License-Identifier: MIT */
/* Dead ends of a machine (rule N87): each is named with the register, the bit and its value, and
 * with what to do about it, in lines that no console cuts. */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "tests/unit/arch/recorded_cpus.h"
#include "vmx/refuse.h"

#include <string.h>

static struct cpu_facts know(const struct recorded_leaf *cpu)
{
    struct cpu_facts facts;
    recorded = cpu;
    support_reset();
    cpu_facts_parse(&facts, recorded_ask);
    return facts;
}

static void said(const char *what)
{
    if (!strstr(support_log(), what))
        fail_msg("not said: %s\nbut: %s", what, support_log());
}

/* With the prefix and the newline, each line fits. */
static void nothing_is_cut(void)
{
    for (const char *line = support_log(); *line; line = strchr(line, '\n') + 1)
        assert_true((size_t)(strchr(line, '\n') - line) + strlen("error: ") <= LOG_LINE_MAX - 2);
}

/* ---- No VMX ---------------------------------------------------------------------------------- */

static void hidden_by_a_hypervisor(void **state)
{
    static const struct {
        const struct recorded_leaf *cpu;
        const char *name, *what;
    } rows[] = {
        {in_kvm, "calls itself \"KVMKVMKVM\": KVM.", "`modprobe kvm_intel nested=1`"},
        {in_kvm, "", "VirtualBox with its KVM interface"},
        {in_kvm_with_hyper_v, "calls itself \"KVMKVMKVM\": KVM.", "`-cpu host`"},
        {in_hyper_v, "\"Microsoft Hv\": Hyper-V.", "-ExposeVirtualizationExtensions $true"},
        {in_vmware, "\"VMwareVMware\": VMware.", "\"Virtualize Intel VT-x/EPT or AMD-V/RVI\""},
        {in_virtualbox, "\"VBoxVBoxVBox\": VirtualBox.", "--nested-hw-virt on"},
        {in_xen, "\"XenVMMXenVMM\": Xen.", "nestedhvm=1"},
        {in_tcg, "\"TCGTCGTCGTCG\": QEMU's emulator TCG.", "TCG has no VMX at all:"},
        {in_bhyve, "\"bhyve bhyve \": another hypervisor.", "look for nested virtualization"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cpu_facts cpu = know(rows[i].cpu);
        assert_false(vmx_exists(&cpu));
        said("this CPU has no VMX: CPUID.1:ECX bit 5 is 0\n");
        said("(CPUID.1:ECX bit 31 is 1)");
        said(rows[i].name);
        said(rows[i].what);
        nothing_is_cut();
    }
}

static void the_cpu_has_none(void **state)
{
    (void)state;
    struct cpu_facts cpu = know(epyc);
    assert_false(vmx_exists(&cpu));
    assert_string_equal(support_log(),
                        "this CPU has no VMX: CPUID.1:ECX bit 5 is 0\n"
                        "it is of AuthenticAMD and has SVM, AMD's virtualization "
                        "(CPUID.80000001H:ECX bit 2 is 1), which is not supported; use an Intel "
                        "CPU with VT-x, or Bochs: `make run MACHINE=bochs`\n");
    cpu = know(penryn);
    cpu.vmx = false;
    assert_false(vmx_exists(&cpu));
    said("no hypervisor hides it (CPUID.1:ECX bit 31 is 0): use an Intel CPU with VT-x");
    nothing_is_cut();
    cpu = know(alder_lake_p);
    assert_true(vmx_exists(&cpu));
    assert_string_equal(support_log(), "");
}

/* ---- IA32_FEATURE_CONTROL -------------------------------------------------------------------- */

#define LOCK    1u
#define INSIDE  2u
#define OUTSIDE 4u
#define MORE    0x60000u /* what belongs to others stays as it is */

static void feature_control_by_each_value(void **state)
{
    (void)state;
    struct cpu_facts cpu = know(alder_lake_p);
    for (uint64_t value = 0; value < 8; value++)
        for (unsigned measured = 0; measured < 2; measured++) {
            uint64_t control = value | MORE, needed = measured ? INSIDE : OUTSIDE;
            bool locked = value & LOCK, on = value & needed;
            support_reset();
            enum exit_code code = vmx_feature_control(&cpu, "", 3, measured, &control);
            assert_int_equal(code, locked && !on ? EXIT_VMX_LOCKED_OFF : EXIT_OK);
            assert_int_equal(control, locked ? value | MORE : value | MORE | LOCK | needed);
            assert_int_equal(!support_log()[0], locked && on);
            nothing_is_cut();
        }
}

static void locked_off(void **state)
{
    (void)state;
    struct cpu_facts cpu = know(alder_lake_p);
    uint64_t control = 1;
    assert_int_equal(vmx_feature_control(&cpu, "", 0, false, &control), EXIT_VMX_LOCKED_OFF);
    said("the firmware has locked VMX off: IA32_FEATURE_CONTROL = 0x1 on CPU 0, bit 0 (lock) is 1 "
         "and bit 2 (VMX outside SMX) is 0\n"
         "enable virtualization in the firmware's setup, save, and switch the machine off and on");
    static const char *const vendors[] = {"ASUS", "MSI",    "Gigabyte", "Dell",       "HP",
                                          "Acer", "Lenovo", "ASRock",   "Supermicro", "NUC"};
    for (unsigned i = 0; i < ARRAY_SIZE(vendors); i++)
        said(vendors[i]);
    assert_null(strstr(support_log(), "Trusted Execution"));

    cpu = know(alder_lake_p);
    control = 3;
    assert_int_equal(vmx_feature_control(&cpu, "", 0, false, &control), EXIT_VMX_LOCKED_OFF);
    said("VMX is allowed inside SMX only (bit 1 is 1): switch off \"Trusted Execution\"");
    said("ASUS");

    cpu = know(in_vmware);
    control = 1;
    assert_int_equal(vmx_feature_control(&cpu, "", 0, false, &control), EXIT_VMX_LOCKED_OFF);
    said("the firmware is that of a VM below VMware;");
    assert_null(strstr(support_log(), "ASUS"));

    cpu = know(alder_lake_p);
    control = 5;
    assert_int_equal(vmx_feature_control(&cpu, "", 0, true, &control), EXIT_VMX_LOCKED_OFF);
    said("IA32_FEATURE_CONTROL = 0x5 on CPU 0, bit 0 (lock) is 1 and bit 1 (VMX inside SMX) is 0\n"
         "Intel TXT has started this machine (SENTER was executed)");
    assert_null(strstr(support_log(), "ASUS"));
}

/* Where the maker is known, its entry alone is named. */
static void entry_of_the_maker(void **state)
{
    static const struct {
        const char *maker, *line;
    } rows[] = {
        {"ASUSTeK COMPUTER INC.", "  ASUS: Advanced, CPU Configuration, \"Intel (VMX) "},
        {"Micro-Star International Co., Ltd.", "  MSI: OC, CPU Features, "},
        {"Gigabyte Technology Co., Ltd.", "  Gigabyte: "},
        {"Dell Inc.", "  Dell: Virtualization Support, "},
        {"HP", "  HP: "},
        {"Hewlett-Packard", "  HP: "},
        {"LENOVO", "  Lenovo: Security, Virtualization, "},
        {"Supermicro", "  Supermicro: "},
        {"Intel(R) Client Systems", "  Intel NUC: "},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cpu_facts cpu = know(alder_lake_p);
        uint64_t control = 1;
        assert_int_equal(vmx_feature_control(&cpu, rows[i].maker, 0, false, &control),
                         EXIT_VMX_LOCKED_OFF);
        const char *entry = strstr(support_log(), "the entry is called:\n");
        assert_non_null(entry);
        entry = strchr(entry, '\n') + 1;
        assert_memory_equal(entry, rows[i].line, strlen(rows[i].line));
        assert_string_equal(strchr(entry, '\n'), "\n");
    }
}

/* SENTER.DONE without SEXIT.DONE; a machine without TXT reads as ones. */
static void smx_operation(void **state)
{
    (void)state;
    assert_true(txt_is_measured(1));
    assert_true(txt_is_measured(0xfffc | 1));
    assert_false(txt_is_measured(0));
    assert_false(txt_is_measured(2));
    assert_false(txt_is_measured(3));
    assert_false(txt_is_measured(~0ull));
}

/* ---- A control is missing -------------------------------------------------------------------- */

static void missing_controls(void **state)
{
    static const struct recorded_leaf *const below[] = {in_kvm,        in_hyper_v, in_vmware,
                                                        in_virtualbox, in_xen,     in_bhyve};
    (void)state;
    struct cpu_facts cpu = know(penryn);
    vmx_explain_missing(&cpu);
    assert_string_equal(support_log(),
                        "Intel's CPUs have EPT and unrestricted guest since 2010 (Core, Westmere) "
                        "and 2013 (Atom, Silvermont); no setting adds them to family 6, model "
                        "0x17\n");
    for (unsigned i = 0; i < ARRAY_SIZE(below); i++) {
        cpu = know(below[i]);
        vmx_explain_missing(&cpu);
        said("is below and may hide them: ");
        said(hypervisor_name(cpu.below));
        nothing_is_cut();
    }
}

static void a_timer_that_counts_wrongly(void **state)
{
    (void)state;
    struct cpu_facts cpu = know(penryn);
    vmx_name_errata(&cpu);
    assert_string_equal(support_log(), "");
    cpu.signature = 0x20655;
    vmx_name_errata(&cpu);
    assert_string_equal(
        support_log(),
        "this CPU (signature 0x20655) may count the VMX-preemption timer at another rate than "
        "IA32_VMX_MISC says (erratum: AAU65); timers of guests and time slices may be late\n");
    nothing_is_cut();
    support_reset();
    cpu.below = HYPERVISOR_KVM; /* which counts by itself */
    vmx_name_errata(&cpu);
    assert_string_equal(support_log(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hidden_by_a_hypervisor),
        cmocka_unit_test(the_cpu_has_none),
        cmocka_unit_test(feature_control_by_each_value),
        cmocka_unit_test(locked_off),
        cmocka_unit_test(entry_of_the_maker),
        cmocka_unit_test(smx_operation),
        cmocka_unit_test(missing_controls),
        cmocka_unit_test(a_timer_that_counts_wrongly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
