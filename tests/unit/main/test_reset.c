/* SPDX-License-Identifier: MIT */
/* What survives when a guest resets its VM: the console's counts, and the time that is left. */
#include "tests/unit/support.h"

#include "arch/x86/cpus.h"
#include "main/reset.h"
#include "vm/sleep.h"

#include <string.h>

struct cpu cpus[CPUS_MAX];

static struct vm vm;
static struct vcpu second;
static struct reset_record record;

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
}

void pcpu_kick_vcpu(const struct vcpu *vcpu)
{
    (void)vcpu;
}

void sleep_end(struct vcpu *vcpu)
{
    (void)vcpu;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&record, 0, sizeof(record));
    vm.vcpus[0] = &vm.vcpu;
    vm.vcpus[1] = &second;
    vm.vcpu_count = 2;
    vm.words.expect = VM_ENDED_EXIT - 1;
    return 0;
}

static void put(const char *text)
{
    while (*text)
        console_put(&vm.console, (uint8_t)*text++);
}

/* Lets the VM start anew, which takes `ticks`; each vCPU gets a full budget at first. */
static void restart(uint64_t ticks)
{
    reset_keep(&record, &vm);
    memset(&vm.console, 0, sizeof(vm.console));
    vm.vcpu.budget_left = second.budget_left = 1000;
    record.ticks += ticks;
    reset_restore(&record, &vm);
}

static void the_budget_goes_on(void **state)
{
    (void)state;
    vm.vcpu.budget_left = 500;
    second.budget_left = 700;
    restart(30);
    assert_int_equal(vm.vcpu.budget_left, 470);
    assert_int_equal(second.budget_left, 700);
    restart(469);
    assert_int_equal(vm.vcpu.budget_left, 1);
    restart(2);
    assert_int_equal(vm.vcpu.budget_left, 0);
    assert_int_equal(record.count, 3);
}

/* A plan is for the results that follow it until the next reset; a failure is never forgotten. */
static void the_results_go_on(void **state)
{
    (void)state;
    vm.ending = VM_ENDED_EXIT;
    put("1..3\nok 1 a\nok 2 b # SKIP\nok 3 unfinished");
    restart(0);
    assert_string_equal(support_log(),
                        "    1..3\n    ok 1 a\n    ok 2 b # SKIP\n    ok 3 unfinished\n");
    assert_true(vm_passed(&vm)); /* no plan yet */
    put("1..2\nok 1 a\n");
    assert_false(vm_passed(&vm));
    put("ok 2 b\n");
    assert_true(vm_passed(&vm));
    assert_int_equal(vm.console.passed, 4);
    assert_int_equal(vm.console.skipped, 1);
    put("not ok 3 c\n");
    restart(0);
    put("1..1\nok 1 a\n");
    assert_false(vm_passed(&vm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_budget_goes_on, setup),
        cmocka_unit_test_setup(the_results_go_on, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
