/* SPDX-License-Identifier: MIT */
/* What is switched off in a CPU at its start (arch/x86/leftovers.c): what the CPU has, and what was
 * on, and nothing else is written. */
#include "tests/unit/support.h"

#include "arch/x86/guarded.h"
#include "arch/x86/unprivileged.h"
#include "lib/bits.h"

#include <string.h>

/* ---- The CPU --------------------------------------------------------------------------------- */

#define LIMIT BIT(22)

static struct {
    uint32_t vendor, leaves, leaf7_ebx, leafa_eax;
    bool no_misc, no_global, no_refusals, no_write; /* RDMSR of one faults; WRMSR of all */
    bool ignores;                                   /* WRMSR has no effect */
    uint64_t misc, rtit, global;
    uint64_t memory_control, features; /* MSRs 33h and 140h */
    unsigned writes;
} chip;

static struct cpuid cpu_cpuid(uint32_t leaf, uint32_t subleaf)
{
    uint32_t last = chip.misc & LIMIT ? 3 : chip.leaves;
    assert_int_equal(subleaf, 0);
    assert_true(leaf <= last); /* else the answer is that of another leaf */
    switch (leaf) {
    case 0:
        return (struct cpuid){.eax = last, .ebx = chip.vendor};
    case 7:
        return (struct cpuid){.ebx = chip.leaf7_ebx};
    case 0xa:
        return (struct cpuid){.eax = chip.leafa_eax};
    default:
        fail_msg("CPUID leaf %#x", leaf);
        return (struct cpuid){0};
    }
}

static uint64_t *cpu_msr(uint32_t msr)
{
    switch (msr) {
    case 0x33:
        return chip.no_refusals ? NULL : &chip.memory_control;
    case 0x140:
        return chip.no_refusals ? NULL : &chip.features;
    case 0x1a0:
        assert_int_equal(chip.vendor, 0x756e6547);
        return chip.no_misc ? NULL : &chip.misc;
    case 0x38f:
        return chip.no_global ? NULL : &chip.global;
    case 0x570:
        assert_true(chip.leaf7_ebx & BIT(25));
        return &chip.rtit;
    default:
        fail_msg("MSR %#x", msr);
        return NULL;
    }
}

static bool cpu_rdmsr(uint32_t msr, uint64_t *value)
{
    uint64_t *there = cpu_msr(msr);
    *value = there ? *there : 0;
    return there;
}

static bool cpu_wrmsr(uint32_t msr, uint64_t value)
{
    uint64_t *there = cpu_msr(msr);
    chip.writes++;
    if (!there || chip.no_write)
        return false;
    if (!chip.ignores)
        *there = value;
    return true;
}

#define cpuid(leaf, subleaf) cpu_cpuid(leaf, subleaf)
#define rdmsr_safe           cpu_rdmsr
#define wrmsr_safe           cpu_wrmsr
#include "arch/x86/leftovers.c"

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&chip, 0, sizeof(chip));
    chip.vendor = 0x756e6547;
    chip.leaves = 0x1f;
    chip.leaf7_ebx = BIT(25);
    chip.leafa_eax = 0x07300404;
    chip.misc = 0x850089;
    chip.rtit = 0x2500;
    chip.global = 0x70000000f;
    return 0;
}

/* ---------------------------------------------------------------------------------------------- */

/* The counters' MSR has bits set by a reset, so it is written in any case. */
static void nothing_was_on(void **state)
{
    (void)state;
    leftovers_end(3);
    assert_int_equal(chip.writes, 1);
    assert_int_equal(chip.misc, 0x850089);
    assert_int_equal(chip.rtit, 0x2500);
    assert_int_equal(chip.global, 0);
    assert_string_equal(support_log(), "");
}

static void all_was_on(void **state)
{
    (void)state;
    chip.misc |= LIMIT;
    chip.rtit |= 1;
    leftovers_end(3);
    assert_int_equal(chip.writes, 3);
    assert_int_equal(chip.misc, 0x850089);
    assert_int_equal(chip.rtit, 0x2500);
    assert_int_equal(chip.global, 0);
    assert_string_equal(
        support_log(),
        "CPU 3: the firmware has limited CPUID to leaf 0x3 (\"Limit CPUID Maximum\", "
        "IA32_MISC_ENABLE bit 22); now it goes up to 0x1f\n"
        "CPU 3: Intel PT was on (IA32_RTIT_CTL = 0x2501), and is off now\n");
}

/* Neither of another vendor's MSRs nor of leaves that do not exist anything is known. */
static void what_a_cpu_lacks(void **state)
{
    static const uint32_t last[] = {1, 6, 7, 9};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(last); i++) {
        setup(state);
        chip.vendor = 0x68747541; /* "Auth" */
        chip.leaves = last[i];
        leftovers_end(0);
        assert_int_equal(chip.writes, 0);
    }
    setup(state);
    chip.no_misc = chip.no_global = chip.no_refusals = true;
    chip.memory_control = chip.features = ~0ull;
    chip.leaf7_ebx = 0;
    leftovers_end(0);
    chip.no_global = false;
    chip.leafa_eax = 0x01; /* version 1 has no such MSR */
    leftovers_end(0);
    assert_int_equal(chip.writes, 0);
    assert_string_equal(support_log(), "");
}

/* A hypervisor below may let them be read only. */
static void what_cannot_be_written(void **state)
{
    (void)state;
    chip.no_write = true;
    chip.rtit |= 1;
    leftovers_end(1);
    assert_string_equal(support_log(), "CPU 1 refuses to switch its performance counters off "
                                       "(IA32_PERF_GLOBAL_CTRL = 0x70000000f)\n");
    setup(state);
    chip.no_write = true;
    chip.global = 0;
    chip.misc |= LIMIT;
    leftovers_end(1);
    assert_string_equal(support_log(), "");
}

#define OFF_NOW "; it is off now, because no guest expects it\n"

/* Each exception is switched off alone and named, and nothing else is changed (N128). */
static void exceptions_that_no_guest_expects(void **state)
{
    static const struct {
        uint64_t memory_control, features;
        const char *said;
    } rows[] = {
        {BIT(29), 0, "CPU 3: the firmware has left on #AC of split locks (MSR 0x33)" OFF_NOW},
        {BIT(28), 0,
         "CPU 3: the firmware has left on #GP or #AC of uncached locks (MSR 0x33)" OFF_NOW},
        {0, BIT(0),
         "CPU 3: the firmware has left on #GP of CPUID in user programs (MSR 0x140)" OFF_NOW},
        {BIT(29) | BIT(28), 0,
         "CPU 3: the firmware has left on #AC of split locks (MSR 0x33)" OFF_NOW
         "CPU 3: the firmware has left on #GP or #AC of uncached locks (MSR 0x33)" OFF_NOW},
        {0, 0, ""},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const uint64_t others = BIT(31) | BIT(1);
        setup(state);
        chip.memory_control = others | rows[i].memory_control;
        chip.features = others | rows[i].features;
        leftovers_end(3);
        assert_int_equal(chip.memory_control, others);
        assert_int_equal(chip.features, others);
        assert_string_equal(support_log(), rows[i].said);
    }
    assert_int_equal(chip.writes, 1); /* the counters */
}

static void exceptions_that_stay_on(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        setup(state);
        chip.no_write = i;
        chip.ignores = !i;
        chip.global = 0;
        chip.memory_control = BIT(29);
        leftovers_end(3);
        assert_string_equal(support_log(),
                            "CPU 3: the firmware has left on #AC of split locks, and MSR 0x33 "
                            "cannot be changed: a guest may get an exception that it does not "
                            "expect; look for it in the firmware's setup\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_was_on, setup),
        cmocka_unit_test_setup(all_was_on, setup),
        cmocka_unit_test_setup(what_a_cpu_lacks, setup),
        cmocka_unit_test_setup(what_cannot_be_written, setup),
        cmocka_unit_test_setup(exceptions_that_no_guest_expects, setup),
        cmocka_unit_test_setup(exceptions_that_stay_on, setup),
    };
    return cmocka_run_group_tests_name("leftovers of the firmware", tests, NULL, NULL);
}
