/* SPDX-License-Identifier: MIT */
/*
 * What the firmware may leave on in a CPU (arch/x86/left_on.c, rule N128): each feature that makes
 * the CPU refuse instructions is switched off alone and named, and nothing else is changed; CPUs
 * without the registers, and CPUs that refuse the change.
 */
#include "tests/unit/support.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"
#include "arch/x86/this_cpu.h"

#include <string.h>

static struct {
    bool exists, refuses, ignores;
    uint64_t memory_control, features; /* MSRs 33h and 140h */
    unsigned writes;
} model;

static uint64_t *place(uint32_t msr)
{
    assert_true(msr == 0x33 || msr == 0x140);
    return msr == 0x33 ? &model.memory_control : &model.features;
}

static bool model_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    *value = model.exists ? *place(msr) : 0;
    return model.exists;
}

static bool model_wrmsr_safe(uint32_t msr, uint64_t value)
{
    model.writes++;
    if (model.refuses)
        return false;
    if (!model.ignores)
        *place(msr) = value;
    return true;
}

#define rdmsr_safe model_rdmsr_safe
#define wrmsr_safe model_wrmsr_safe
#define this_cpu() 3u
#include "arch/x86/left_on.c"

#define OFF_NOW "; it is off now, because no guest expects it\n"

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&model, 0, sizeof(model));
    model.exists = true;
    return 0;
}

static void each_is_switched_off(void **state)
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
        model.memory_control = others | rows[i].memory_control;
        model.features = others | rows[i].features;
        left_on_clear();
        assert_int_equal(model.memory_control, others);
        assert_int_equal(model.features, others);
        assert_string_equal(support_log(), rows[i].said);
    }
    assert_int_equal(model.writes, 0);
}

static void cpus_without_the_registers(void **state)
{
    (void)state;
    model.exists = false;
    model.memory_control = ~0ull;
    left_on_clear();
    assert_int_equal(model.writes, 0);
    assert_string_equal(support_log(), "");
}

static void cpus_that_keep_it(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        setup(state);
        model.refuses = i;
        model.ignores = !i;
        model.memory_control = BIT(29);
        left_on_clear();
        assert_string_equal(support_log(),
                            "CPU 3: the firmware has left on #AC of split locks, and MSR 0x33 "
                            "cannot be changed: a guest may get an exception that it does not "
                            "expect; look for it in the firmware's setup\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_is_switched_off, setup),
        cmocka_unit_test_setup(cpus_without_the_registers, setup),
        cmocka_unit_test_setup(cpus_that_keep_it, setup),
    };
    return cmocka_run_group_tests_name("what is left on", tests, NULL, NULL);
}
