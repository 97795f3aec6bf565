/* SPDX-License-Identifier: MIT */
/* The report of a machine (rule N93): each line can be told from others and fits, the last one
 * says whether all are there, and the words are those of the numbers. */
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "ept/caps.h"
#include "lib/log.h"
#include "lib/log_sum.h"
#include "main/report.h"
#include "tests/unit/vmx/test_vmx_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct boot_info info;
static struct smbios_names names;
static struct cpu_facts facts;
static uint32_t features_ecx, khz;
static struct acpi_header tables[2];

void acpi_list(void (*found)(hpa_t address, const struct acpi_header *header))
{
    for (unsigned i = 0; i < 2 && tables[i].length; i++)
        found(HPA(0xfff0000 + i), &tables[i]);
}

/* A CPU that answers leaves beyond its last one with garbage, as SDM 2 allows. */
static struct cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0)
        return (struct cpuid){1, 0x756e6547, 0x6c65746e, 0x49656e69};
    if (leaf == 1)
        return (struct cpuid){0x906ea, 0, features_ecx, 0};
    if (leaf == 0x80000000)
        return (struct cpuid){0x80000004, 0, 0, 0};
    if (leaf > 0x80000000 && leaf <= 0x80000004)
        return (struct cpuid){0, 0, 0, 0};
    return (struct cpuid){~0u, ~0u, ~0u, ~0u};
}

static const struct boot_info one_mib = {
    .protocol = "multiboot2",
    .loader = "GRUB 2.06",
    .ranges = {{HPA(0), 0x9f000, BOOT_RAM},
               {HPA(0x9f000), 0x1000, BOOT_RESERVED},
               {HPA(0x100000), 0x100000, BOOT_RAM}},
    .range_count = 3,
};

static int setup(void **state)
{
    (void)state;
    support_reset();
    features_ecx = BIT(5) | BIT(0);
    khz = 3000000;
    names = (struct smbios_names){.vendor = "ACME", .version = "2", .bios_date = "01/02/2026"};
    facts = (struct cpu_facts){.vendor = "GenuineIntel",
                               .brand = "CPU one",
                               .signature = 0x906ea,
                               .family = 6,
                               .model = 0x9e,
                               .stepping = 10,
                               .microcode = 0xde,
                               .physical_bits = 39,
                               .core_kind = CORE_KIND_EFFICIENT,
                               .threads_of_core = 1,
                               .threads_of_package = 12};
    info = one_mib;
    memset(tables, 0, sizeof(tables));
    return 0;
}

static const char *printed(const struct vmx_msrs *msrs, const uint64_t *feature_control)
{
    report_print(&(struct report){.info = &info,
                                  .names = &names,
                                  .cpu = &facts,
                                  .cpuid = fake_cpuid,
                                  .msrs = msrs,
                                  .feature_control = feature_control,
                                  .tsc_khz = khz,
                                  .began = 6000 * 3000000ull,
                                  .now = 6250 * 3000000ull + 1,
                                  .free_pages = 512});
    return support_log();
}

static bool has(const char *log, const char *line)
{
    char whole[LOG_LINE_MAX];
    snprintf(whole, sizeof(whole), "\nreport: %s\n", line);
    return strstr(log, whole);
}

/* Checks what a reader checks: the first line, the count and the sum. */
static unsigned checked(const char *log)
{
    const char prefix[] = "report: ";
    uint32_t hash = LOG_HASH_BEGIN, sum;
    unsigned lines = 0, count;
    assert_memory_equal(log, "report: begin: 1\n", 17);
    for (;; lines++) {
        const char *end = strchr(log, '\n');
        assert_non_null(end);
        assert_true(end - log < LOG_LINE_MAX - 2);
        assert_memory_equal(log, prefix, strlen(prefix));
        log += strlen(prefix);
        if (sscanf(log, "end: %u lines, sum %x\n", &count, &sum) == 2)
            break;
        assert_non_null(strstr(log, ": "));
        for (; log <= end; log++)
            hash = log_hash(hash, *log);
    }
    assert_int_equal(count, lines);
    assert_int_equal(sum, hash);
    return lines;
}

/* Without a clock nobody knows what a tick is. */
static void a_machine_without_clocks(void **state)
{
    (void)state;
    khz = 0;
    const char *log = printed(NULL, NULL);
    (void)checked(log);
    assert_true(has(log, "TSC: 0 kHz"));
    assert_null(strstr(log, "report: time: "));
}

static void a_machine(void **state)
{
    (void)state;
    uint64_t control = 1;
    memcpy(tables[0].signature, "XSDT", 4);
    memcpy(tables[0].oem, "ACME  ", 6);
    memcpy(tables[0].oem_table, "BOARD   ", 8);
    tables[0].length = 44;
    tables[0].revision = 1;
    const char *log = printed(&icelake_u, &control);
    assert_true(checked(log) > 40);
    assert_true(has(log, "loader: multiboot2 by GRUB 2.06, BIOS"));
    assert_true(has(log, "screen: none"));
    assert_true(has(log, "memory: RAM, 1660 KiB in 2 ranges up to 0x200000"));
    assert_true(has(log, "memory: reserved, 4 KiB in 1 range up to 0xa0000"));
    assert_true(has(log, "memory: 2 MiB are free"));
    assert_true(has(log, "ACPI table: XSDT, revision 1, 44 bytes, OEM ACME   BOARD   , at "
                         "0xfff0000"));
    assert_true(has(log, "TSC: 3000000 kHz"));
    assert_true(has(log, "time: the TSC was at 6000 ms when the image began, 250 ms ago"));
    assert_true(has(log, "CPU: CPU one"));
    assert_true(has(log, "CPU vendor: GenuineIntel"));
    assert_true(has(log, "CPU signature: 0x906ea: family 6, model 0x9e, stepping 10, microcode "
                         "0xde"));
    assert_true(has(log, "CPU topology: threads: 1 of a core, 12 of the package; efficient core"));
    assert_true(has(log, "CPU address bits: 39"));
    assert_true(has(log, "machine: ACME 2"));
    assert_true(has(log, "firmware: 01/02/2026"));
    assert_true(has(log, "CPU features: SSE3, VMX"));
    assert_true(has(log, "below us: nothing says that it is a hypervisor"));
    assert_true(has(log, "IA32_FEATURE_CONTROL: 0x1: locked"));
    assert_true(has(log, "IA32_VMX_CR4_FIXED0: 0x2000"));
    assert_true(has(log, "pin-based controls that may be 1: 0x7f: external-interrupt exiting, NMI "
                         "exiting, virtual NMIs, activate VMX-preemption timer"));
    assert_null(strstr(log, "ffffffff ffffffff"));
}

static void words_of_the_capabilities(void **state)
{
    (void)state;
    struct vmx_msrs msrs = {.basic = 5 | 1024ull << 32 | 6ull << 50 | BASIC_TRUE_CONTROLS,
                            .misc = 5 | MISC_HLT_STATE | 4ull << 16 | BIT(30),
                            .ept_vpid_cap = EPT_CAP_1G | EPT_CAP_INVVPID | BIT(50)};
    const char *log = printed(&msrs, NULL);
    (void)checked(log);
    assert_true(has(log, "IA32_VMX_BASIC: 0x98040000000005: revision 0x5, a VMCS of 1024 bytes, "
                         "write-back, TRUE control MSRs"));
    assert_true(has(log, "IA32_VMX_MISC: 0x40040045: the preemption timer counts every 32 TSC "
                         "ticks, 4 CR3 targets, 512 MSRs in a list, HLT state, injection with "
                         "length 0"));
    assert_true(has(log, "IA32_VMX_EPT_VPID_CAP: 0x4000100020000: 1 GiB pages, INVVPID, bit 50"));
    assert_null(strstr(log, "controls that"));
    assert_null(strstr(log, "IA32_FEATURE_CONTROL"));
}

static void no_vmx_and_a_hypervisor(void **state)
{
    (void)state;
    uint64_t control = 0;
    facts.below = HYPERVISOR_KVM;
    facts.microcode = 0;
    strcpy(facts.below_name, "KVMKVMKVM");
    memset(&names, 0, sizeof(names));
    const char *log = printed(NULL, &control);
    (void)checked(log);
    assert_true(has(log, "VMX: none"));
    assert_true(has(log, "below us: KVM (KVMKVMKVM)"));
    assert_true(has(log, "CPU signature: 0x906ea: family 6, model 0x9e, stepping 10"));
    assert_null(strstr(log, "machine:"));
    assert_null(strstr(log, "firmware:"));
    assert_true(has(log, "IA32_FEATURE_CONTROL: 0: not locked, VMX not enabled"));
    assert_null(strstr(log, "IA32_VMX"));
}

/* Long values continue after a comma; nothing is lost, whatever the loader's name is. */
static void long_values(void **state)
{
    (void)state;
    const char *log = printed(&icelake_u, NULL);
    char all[1024], joined[2048] = "";
    (void)vmx_control_names(CONTROL_SECONDARY, vmx_may_be_1(&icelake_u, CONTROL_SECONDARY), all,
                            sizeof(all));
    static const char key[] = "report: secondary controls that may be 1: ";
    for (const char *at = log; (at = strstr(at, key)); at++)
        sprintf(joined + strlen(joined), "%s%.*s", joined[0] ? " " : "",
                (int)strcspn(at + strlen(key), "\n"), at + strlen(key));
    assert_non_null(strstr(joined, ": "));
    assert_string_equal(strstr(joined, ": ") + 2, all);

    support_reset();
    memset(info.loader, 'x', sizeof(info.loader) - 1);
    memcpy(tables[0].signature, "\xff\n%s", 4);
    tables[0].length = 1;
    log = printed(NULL, NULL);
    (void)checked(log);
    assert_non_null(strstr(log, "xxx, BIOS\n"));
    assert_null(strstr(log, "\xff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_machine, setup),
        cmocka_unit_test_setup(a_machine_without_clocks, setup),
        cmocka_unit_test_setup(words_of_the_capabilities, setup),
        cmocka_unit_test_setup(no_vmx_and_a_hypervisor, setup),
        cmocka_unit_test_setup(long_values, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
