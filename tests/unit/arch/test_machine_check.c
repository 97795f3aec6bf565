/* SPDX-License-Identifier: MIT */
/*
 * Machine checks (arch/x86/machine_check.c): how a CPU has errors signalled, what is said of those
 * from before the boot, and who prints what when the hardware fails; on CPUs with any number of
 * banks, and with none (rules N125 and N127). The words are test_mc_error.c's.
 */
#include "tests/unit/ring0.h"

#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/guarded.h"
#include "arch/x86/mc_error.h"
#include "arch/x86/power.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/tsc.h"
#include "lib/log.h"
#include "lib/spinlock.h"

#include <setjmp.h>
#include <stdio.h>

/* ---- The CPU --------------------------------------------------------------------------------- */

#define BANKS 40u

static struct {
    bool mce, mca, has_msrs, has_status_writes;
    uint64_t cap, global, ctl, cr4;
    uint64_t bank[BANKS][4]; /* CTL, STATUS, ADDR, MISC */
    unsigned wrong;          /* accesses that a CPU answers with #GP, or that mean something else */
    bool signals_too_early;  /* CR4.MCE is set before a write to a bank */
} model;
static unsigned number; /* of the CPU that executes */
static struct cpu_facts facts = {.vendor = "GenuineIntel", .family = 6, .model = 0x7e};
static uint64_t now;
static jmp_buf ends;
static enum exit_code exit_code;

struct cpu cpus[CPUS_MAX];
unsigned cpu_count;

static struct cpuid model_cpuid(uint32_t leaf)
{
    assert_int_equal(leaf, 1);
    return (struct cpuid){.edx = (model.mce ? 1u << 7 : 0) | (model.mca ? 1u << 14 : 0)};
}

/* The place of an MSR, or NULL if this CPU does not have it. */
static uint64_t *place(uint32_t msr)
{
    unsigned bank = (msr - 0x400) / 4;
    if (!model.has_msrs)
        return NULL;
    if (msr == 0x179)
        return &model.cap;
    if (msr == 0x17a)
        return &model.global;
    if (msr == 0x17b && model.cap & BIT(8))
        return &model.ctl;
    if (msr < 0x400 || bank >= (model.cap & 0xff))
        return NULL;
    model.wrong += bank >= 32; /* MSRs of VMX */
    uint64_t status = model.bank[bank][1];
    if ((msr & 3) >= 2 && !(status & ((msr & 3) == 2 ? BIT(58) : BIT(59))))
        return NULL;
    return &model.bank[bank][msr & 3];
}

static bool model_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint64_t *at = place(msr);
    *value = at ? *at : 0;
    model.wrong += !at && model.has_msrs;
    return at;
}

static bool model_wrmsr_safe(uint32_t msr, uint64_t value)
{
    uint64_t *at = place(msr);
    bool status = msr >= 0x400 && (msr & 3) == 1;
    model.wrong += (status && value) || msr == 0x179 || msr == 0x17a;
    model.signals_too_early |= model.cr4 & CR4_MCE;
    if (!at || (status && !model.has_status_writes))
        return false;
    *at = value;
    return true;
}

static uint64_t model_rdtsc(void)
{
    return now += 1000;
}

const struct cpu_facts *cpu_facts(void)
{
    return &facts;
}

uint64_t tsc_khz(void)
{
    return 1000;
}

void machine_exit(enum exit_code code)
{
    exit_code = code;
    longjmp(ends, 1);
}

static void ring0_step(uint64_t *rip)
{
    (void)rip;
}

static void ring0_halts(uint64_t *rip)
{
    (void)rip;
    longjmp(ends, 2);
}

static void ring0_wrmsr(uint32_t msr, uint64_t value)
{
    fail_msg("WRMSR of %#lx to %#x", value, msr);
}

static uint64_t ring0_rdmsr(uint32_t msr)
{
    fail_msg("RDMSR of %#x", msr);
    return 0;
}

#define cpuid(leaf, subleaf) ((void)(subleaf), model_cpuid(leaf))
#define rdmsr_safe           model_rdmsr_safe
#define wrmsr_safe           model_wrmsr_safe
#define rdtsc                model_rdtsc
#define read_cr4()           model.cr4
#define write_cr4(value)     (model.cr4 = (value))
#define this_cpu()           number
#define cpu_relax()          ((void)0) /* the real one gives its turn to another thread */
#include "arch/x86/machine_check.c"

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&model, 0, sizeof(model));
    model.mce = model.mca = model.has_msrs = model.has_status_writes = true;
    model.cap = 0x09000c00 | BIT(8) | 10;
    model.cr4 = CR4_PAE;
    facts = (struct cpu_facts){.vendor = "GenuineIntel", .family = 6, .model = 0x7e};
    memset(&found, 0, sizeof(found));
    lock.taken = first = arrived = number = 0;
    cpu_count = 1;
    exit_code = EXIT_OK;
    return 0;
}

static void put(unsigned bank, uint64_t status, uint64_t address, uint64_t misc)
{
    model.bank[bank][1] = status;
    model.bank[bank][2] = address;
    model.bank[bank][3] = misc;
}

/* ---- At boot --------------------------------------------------------------------------------- */

static void all_errors_are_signalled(void **state)
{
    (void)state;
    machine_check_init_cpu();
    assert_int_equal(model.cr4, CR4_PAE | CR4_MCE);
    assert_int_equal(model.ctl, ~0ull);
    for (unsigned i = 0; i < BANKS; i++)
        assert_int_equal(model.bank[i][0], i < 10 ? ~0ull : 0);
    assert_int_equal(model.wrong, 0);
    assert_false(model.signals_too_early);
    assert_string_equal(support_log(), "");
}

/* A line for each CPU, about the error that matters most; then the banks are free. */
static void old_errors_are_named_and_cleared(void **state)
{
    (void)state;
    number = 2;
    put(4, 0x9000000000010091, 0, 0);
    put(7, 0xbe00000000800400, 0x1234, 0x86);
    put(9, 0x3e00000000800400, 0x1234, 0x86); /* not valid */
    machine_check_init_cpu();
    assert_string_equal(support_log(),
                        "machine checks: CPU 2 has 2 from before this boot: IA32_MC7_STATUS "
                        "0xbe00000000800400: PCC, ADDRV, MISCV, EN, UC, VAL; code 0x400, 0x80: "
                        "internal timer error\n");
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(model.bank[i][1], 0);
    assert_int_equal(model.wrong, 0);
}

/* Bank 0 of old models is the firmware's, but its error is cleared. */
static void bank_0_of_old_models(void **state)
{
    for (unsigned number_of = 0x17; number_of < 0x1d; number_of++) {
        setup(state);
        facts.model = number_of;
        put(0, 0x9000000000000001, 0, 0);
        machine_check_init_cpu();
        assert_int_equal(model.bank[0][0], number_of < 0x1a ? 0 : ~0ull);
        assert_int_equal(model.bank[0][1], 0);
        assert_int_equal(model.bank[1][0], ~0ull);
    }
    setup(state);
    facts.family = 15;
    facts.model = 3;
    machine_check_init_cpu();
    assert_int_equal(model.bank[0][0], ~0ull);
}

/* CPUs without banks, with fewer MSRs than they announce, with more banks than there can be, or of
 * other makers: none of them hangs or faults, and all that can have CR4.MCE have it. */
static void cpus_that_lack_something(void **state)
{
    (void)state;
    model.mce = false;
    machine_check_init_cpu();
    assert_int_equal(model.cr4, CR4_PAE);
    assert_int_equal(model.ctl, 0);

    setup(state);
    model.mca = false;
    machine_check_init_cpu();
    assert_int_equal(model.cr4, CR4_PAE | CR4_MCE);
    assert_int_equal(model.bank[0][0], 0);

    setup(state);
    model.has_msrs = false;
    machine_check_init_cpu();
    assert_int_equal(model.cr4, CR4_PAE | CR4_MCE);
    assert_string_equal(support_log(), "");

    setup(state);
    model.cap = 5; /* no IA32_MCG_CTL */
    machine_check_init_cpu();
    assert_true(model.ctl == 0 && model.bank[4][0] == ~0ull && !model.wrong);

    setup(state);
    model.cap = 0xff;
    machine_check_init_cpu();
    assert_true(model.bank[31][0] == ~0ull && !model.bank[32][0] && !model.wrong);

    setup(state);
    model.has_status_writes = false;
    machine_check_init_cpu();
    assert_int_equal(model.cr4, CR4_PAE | CR4_MCE);

    setup(state);
    strcpy(facts.vendor, "AuthenticAMD");
    machine_check_init_cpu();
    assert_true(model.cr4 == (CR4_PAE | CR4_MCE) && model.bank[0][0] == 0);
}

/* ---- At a machine check ---------------------------------------------------------------------- */

enum { RETURNS, EXITS, HALTS };

static int checked(unsigned which, bool in_guest)
{
    ring0_begin();
    number = which;
    int end = setjmp(ends);
    if (end)
        return end;
    if (in_guest)
        machine_check_end("in vCPU 0 of guest a at RIP 0x1000");
    machine_check_report("in the hypervisor at RIP 0x1000");
    return RETURNS;
}

static void one_cpu(void **state)
{
    (void)state;
    model.global = 5;
    put(3, 0xbe00000000800400, 0x1234, 0x86);
    assert_int_equal(checked(0, false), RETURNS);
    assert_string_equal(
        support_log(),
        "#MC machine check on CPU 0, in the hypervisor at RIP 0x1000: the hardware reports "
        "an error\n"
        "  IA32_MCG_CAP 0x9000d0a (10 banks), IA32_MCG_STATUS 0x5 (RIPV, MCIP)\n"
        "  CPU 0: IA32_MC3_STATUS 0xbe00000000800400: PCC, ADDRV, MISCV, EN, UC, VAL; code 0x400, "
        "0x80: internal timer error\n"
        "    not corrected, and the CPU's state may be wrong; address 0x1234 (physical); "
        "IA32_MC3_MISC 0x86\n"
        "  what to do: an instruction got no answer for a long time, which is mostly a device that "
        "hangs: take out cards one by one, and update the firmware\n");
    assert_int_equal(model.bank[3][1], 0xbe00000000800400); /* the next boot finds it */
    assert_int_equal(model.wrong, 0);
}

static void in_a_guest_it_ends_the_machine(void **state)
{
    (void)state;
    model.global = 4;
    assert_int_equal(checked(0, true), EXITS);
    assert_int_equal(exit_code, EXIT_PANIC);
    assert_non_null(strstr(support_log(), "on CPU 0, in vCPU 0 of guest a at RIP 0x1000: "));
    assert_non_null(strstr(support_log(), "what to do: no bank has an error: the firmware may "));
}

/* Without MCIP it was an instruction, and without banks nobody knows. */
static void not_by_the_hardware(void **state)
{
    (void)state;
    assert_int_equal(checked(0, false), RETURNS);
    assert_non_null(strstr(support_log(), "IA32_MCG_STATUS 0 (none)\n  MCIP is 0: no hardware has "
                                          "raised this, but INT 18 in the hypervisor\n"));
    assert_null(strstr(support_log(), "what to do"));
    setup(state);
    model.has_msrs = false;
    assert_int_equal(checked(0, false), RETURNS);
    assert_non_null(strstr(support_log(), "  this CPU has no machine-check banks that could say "));
}

/* The first CPU prints what all have found, a shared bank once; the others stop. */
static void the_first_prints_for_all(void **state)
{
    (void)state;
    cpu_count = 3;
    model.global = 4;
    __atomic_store_n(&first, 1, __ATOMIC_RELAXED); /* CPU 0 was first, and is still reading */
    put(8, 0xb000000000000091, 0, 0);
    assert_int_equal(checked(1, false), HALTS);
    put(2, 0xb200000000000005, 0, 0);
    assert_int_equal(checked(2, true), HALTS);
    assert_string_equal(support_log(), "");
    model.bank[2][1] = 0;
    first = 0;
    assert_int_equal(checked(0, false), RETURNS);
    const char *text = support_log();
    assert_non_null(strstr(text, "  CPU 1: IA32_MC8_STATUS "));
    assert_non_null(strstr(text, "  CPU 2: IA32_MC2_STATUS "));
    assert_null(strstr(text, "  CPU 0: "));
    assert_null(strstr(text, "  CPU 2: IA32_MC8"));
    assert_non_null(strstr(text, "what to do: the CPU itself")); /* CPU 2's is worse */
    assert_true(now < 50 * 1000);                                /* nobody had to be waited for */
}

/* Others may never come, and one of them may have died with the lock. */
static void no_wait_is_without_a_limit(void **state)
{
    (void)state;
    cpu_count = 4;
    lock.taken = 1;
    now = 0;
    assert_int_equal(checked(3, false), RETURNS);
    assert_true(now >= WAIT_MS * 1000 && now < WAIT_MS * 1000 + 5000);
}

static void more_errors_than_there_is_room_for(void **state)
{
    (void)state;
    model.cap = 32 | BIT(24);
    model.global = 4;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned bank = 0; bank < 32; bank++)
            put(bank, 0xb000000000000091 | i << 16, 0, 0);
        if (!i) {
            first = 9;
            assert_int_equal(checked(1, false), HALTS);
            first = 0;
        }
    }
    assert_int_equal(checked(0, false), RETURNS);
    assert_non_null(strstr(support_log(), "\n  and 32 more\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_errors_are_signalled, setup),
        cmocka_unit_test_setup(old_errors_are_named_and_cleared, setup),
        cmocka_unit_test_setup(bank_0_of_old_models, setup),
        cmocka_unit_test_setup(cpus_that_lack_something, setup),
        cmocka_unit_test_setup(one_cpu, setup),
        cmocka_unit_test_setup(in_a_guest_it_ends_the_machine, setup),
        cmocka_unit_test_setup(not_by_the_hardware, setup),
        cmocka_unit_test_setup(the_first_prints_for_all, setup),
        cmocka_unit_test_setup(no_wait_is_without_a_limit, setup),
        cmocka_unit_test_setup(more_errors_than_there_is_room_for, setup),
    };
    return cmocka_run_group_tests_name("machine checks", tests, NULL, NULL);
}
