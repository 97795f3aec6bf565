/* SPDX-License-Identifier: MIT */
/*
 * The end of a VM that two vCPUs bring about at once (vm/vm.c), and of a vCPU's turn by an INIT
 * (ipi_restarts() in vm/ipi.c), when another CPU may have the vCPU already.
 */
#include "tests/unit/vmx/vmcs_world.h"

/* What happens to a vCPU once startup_restarts() has let it go. */
#include "vm/startup.h"
static bool hook_restarts, restarts;
static bool observed_restarts(uint32_t *word);
#define startup_restarts observed_restarts
#include "vm/ipi.c"
#undef startup_restarts
#include "vm/vm.c"

#include <string.h>

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu second;
static unsigned alerts;

#define OWN (ATTENTION_STOP | ATTENTION_HALTED)

static bool observed_restarts(uint32_t *word)
{
    if (!hook_restarts)
        return startup_restarts(word);
    assert_false(attention_requested(&vm.vcpu.vmx.attention, OWN)); /* before it is let go */
    attention_request(&vm.vcpu.vmx.attention, ATTENTION_HALTED);    /* it has run, and halts */
    return restarts;
}

/* ---- What the files use ---------------------------------------------------------------------- */

void pcpu_kick_vcpu(const struct vcpu *vcpu)
{
    (void)vcpu;
    alerts++;
}

void sleep_end(struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
}

void sched_add(struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
}

struct cpu cpus[CPUS_MAX];

void transcript_speak_for(struct transcript *transcript, const char *name)
{
    (void)transcript, (void)name;
}

void vcpu_update_interrupt(struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
}

void vcpu_receive_legacy(struct vcpu *vcpu, uint32_t bits)
{
    (void)vcpu, (void)bits;
    fail();
}

void vcpu_nmi(struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
}

uint32_t cpuid_signature(void)
{
    return 0;
}

void cpuid_update(struct vcpu *vcpu)
{
    (void)vcpu;
}

/* ---- Two callers of vm_end() ----------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    memset(&vm, 0, sizeof(vm));
    memset(&second, 0, sizeof(second));
    vm.vcpu.vm = second.vm = &vm;
    vm.vcpus[0] = &vm.vcpu;
    vm.vcpus[1] = &second;
    vm.vcpu_count = 2;
    alerts = 0;
    return 0;
}

static bool all_ended(void)
{
    return attention_requested(&vm.vcpu.vmx.attention, ATTENTION_ENDED) &&
           attention_requested(&second.vmx.attention, ATTENTION_ENDED);
}

static void only_the_first_reason_counts(void **state)
{
    (void)state;
    vm_end(&vm, VM_ENDED_BUDGET, "the first, %d", 1);
    assert_int_equal(vm_ending(&vm), VM_ENDED_BUDGET);
    assert_true(all_ended());
    assert_int_equal(alerts, 2);
    vm_end(&vm, VM_ENDED_EXIT, "the second");
    assert_int_equal(vm_ending(&vm), VM_ENDED_BUDGET);
    assert_string_equal(vm.message, "the first, 1");
    assert_int_equal(alerts, 2);
}

/* The first one has decided and still writes its message: the second one's vCPU may not go back to
 * its guest, and writes nothing. */
static void the_second_does_not_go_on(void **state)
{
    (void)state;
    vm.ending = VM_ENDED_TRIPLE_FAULT;
    strcpy(vm.message, "half a mess");
    vm_end(&vm, VM_ENDED_EXIT, "the second");
    assert_true(all_ended());
    assert_int_equal(vm_ending(&vm), VM_ENDED_TRIPLE_FAULT);
    assert_string_equal(vm.message, "half a mess");
}

/* ---- A vCPU that stops by an INIT ------------------------------------------------------------ */

static void stopped(uint32_t startup)
{
    vm.vcpu.mailbox.startup = startup;
    attention_request(&vm.vcpu.vmx.attention, ATTENTION_STOP);
    attention_request(&vm.vcpu.vmx.attention, ATTENTION_HALTED);
}

static void an_init_stops_and_a_startup_restarts(void **state)
{
    (void)state;
    stopped(STARTUP_ACTIVE | STARTUP_INIT);
    assert_false(ipi_restarts(&vm.vcpu));
    assert_false(attention_requested(&vm.vcpu.vmx.attention, ATTENTION_START | OWN));
    stopped(STARTUP_ACTIVE | STARTUP_INIT | STARTUP_VECTOR | 7);
    assert_true(ipi_restarts(&vm.vcpu));
    assert_true(attention_requested(&vm.vcpu.vmx.attention, ATTENTION_START));
    assert_false(attention_requested(&vm.vcpu.vmx.attention, OWN));
}

/* The monitor no longer waits for its step, which the vCPU would make when it starts. */
static void a_step_ends_with_an_init(void **state)
{
    static struct debugger gdb;
    for (unsigned by_gdb = 0; by_gdb < 2; by_gdb++) {
        setup(state);
        vm.debugger = by_gdb ? &gdb : NULL;
        attention_request(&vm.vcpu.vmx.attention, ATTENTION_STEP);
        stopped(STARTUP_ACTIVE | STARTUP_INIT);
        assert_false(ipi_restarts(&vm.vcpu));
        assert_int_equal(attention_requested(&vm.vcpu.vmx.attention, ATTENTION_STEP), by_gdb);
    }
}

/* As soon as the vCPU waits, another CPU may start it and run it: nothing of it is touched then. */
static void nothing_is_touched_afterwards(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        restarts = i;
        stopped(STARTUP_ACTIVE | STARTUP_INIT);
        hook_restarts = true;
        assert_int_equal(ipi_restarts(&vm.vcpu), restarts);
        hook_restarts = false;
        assert_true(attention_requested(&vm.vcpu.vmx.attention, ATTENTION_HALTED));
        assert_int_equal(attention_requested(&vm.vcpu.vmx.attention, ATTENTION_START), restarts);
        setup(NULL);
    }
}

/* The message names the vCPU if there are several, and is no format. */
static void the_vcpu_is_named(void **state)
{
    (void)state;
    second.vm = &vm;
    second.index = 1;
    vcpu_end(&second, VM_ENDED_HALTED, "100%%s of %u", 7u);
    assert_string_equal(vm.message, "vCPU 1: 100%s of 7");
    assert_int_equal(vm.ending, VM_ENDED_HALTED);
    setup(NULL);
    vm.vcpu_count = 1;
    vm.vcpu.vm = &vm;
    vcpu_end(&vm.vcpu, VM_ENDED_BUDGET, "100%%s of %u", 7u);
    assert_string_equal(vm.message, "100%s of 7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_the_first_reason_counts, setup),
        cmocka_unit_test_setup(the_second_does_not_go_on, setup),
        cmocka_unit_test_setup(an_init_stops_and_a_startup_restarts, setup),
        cmocka_unit_test_setup(a_step_ends_with_an_init, setup),
        cmocka_unit_test_setup(nothing_is_touched_afterwards, setup),
        cmocka_unit_test_setup(the_vcpu_is_named, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
