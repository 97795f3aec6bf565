/* SPDX-License-Identifier: MIT */
/*
 * `step` (monitor/step.c): it is over soon, whatever becomes of the vCPU meanwhile, and leaves it
 * paused and without a step that nobody waits for. The test is the pCPU: it takes a turn of the
 * vCPU when it wants to.
 */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "mmio/fetch.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "vm/pause.h"
#include "vm/pcpu.h"
#include "vm/registry.h"
#include "vm/sleep.h"
#include "vm/visit.h"
#include "vm/vm.h"

#include <string.h>

/* ---- The machine ----------------------------------------------------------------------------- */

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static uint64_t rip;
static bool wakes; /* an event ends the halt */
static unsigned holds;

struct vm *registry_hold(unsigned number)
{
    holds += number == 1;
    return number == 1 ? &vm : NULL;
}

struct vm *registry_hold_next(unsigned after)
{
    return registry_hold(after + 1);
}

void registry_release(struct vm *which)
{
    assert_ptr_equal(which, &vm);
    holds--;
}

void pcpu_kick_vcpu(const struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
}

void sleep_end(struct vcpu *v)
{
    (void)v;
    fail(); /* it is never asleep */
}

uint64_t cpu_reg_load(struct cpu_regs *regs, enum cpu_reg which)
{
    (void)regs;
    return which == REG_RIP ? rip : 0;
}

unsigned mmio_fetch_peek(struct mmio_vcpu *mmio, uint8_t *bytes)
{
    (void)mmio;
    bytes[0] = 0x90;
    return 1;
}

bool vcpu_wakes(struct vcpu *v)
{
    if (wakes)
        attention_clear(&v->vmx.attention, ATTENTION_HALTED);
    return wakes;
}

void debugger_step(struct vcpu *v, void (*stepped)(struct vcpu *v))
{
    v->debugger.stepped = stepped;
    attention_request(&v->vmx.attention, ATTENTION_STEP);
}

static bool steps(void)
{
    return attention_requested(&vcpu->vmx.attention, ATTENTION_STEP);
}

bool debugger_step_cancel(struct vcpu *v)
{
    bool was = steps();
    attention_clear(&v->vmx.attention, ATTENTION_STEP);
    return was;
}

void transcript_notify(void)
{
}

struct transcript *transcript_running(const char **name)
{
    (void)name;
    return NULL;
}

/* The vCPU receives its visits, and executes an instruction if it may. */
static void take_turn(void)
{
    vcpu->vmx.regs.known = 0;
    visit_receive(vcpu);
    if (pause_holds(vcpu) || attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED))
        return;
    rip += 3;
    vcpu->vmx.regs.known = 0;
    if (debugger_step_cancel(vcpu))
        vcpu->debugger.stepped(vcpu);
}

/* ---- The command ----------------------------------------------------------------------------- */

const struct monitor_command monitor_commands[] = {{"step", "VM.VCPU", "", command_step, 't'}};
const unsigned monitor_command_count = ARRAY_SIZE(monitor_commands);

static struct monitor_call call;
static bool more;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    vm.number = 1;
    strcpy(vm.name, "ada");
    vm.vcpu_count = 1;
    vm.vcpus[0] = vcpu;
    vcpu->vm = &vm;
    rip = 0x1000;
    wakes = false;
    visit_open(vcpu);
    pause_vcpu(vcpu, PAUSE_MONITOR);
    take_turn();
    return 0;
}

static void begin(void)
{
    monitor_call_begin(&call, "step 1");
    more = monitor_call_piece(&call);
}

/* Pieces until the call waits or is over. */
static void go_on(void)
{
    while (more) {
        more = monitor_call_piece(&call);
        if (more && call.waits)
            return;
    }
}

static const char *said(void)
{
    call.text[call.said] = 0;
    return call.text;
}

static void is_over(const char *answer)
{
    assert_false(more);
    assert_int_equal(holds, 0);
    assert_string_equal(said(), answer);
    assert_false(steps());
    assert_int_equal(pause_pausers(vcpu) & PAUSE_MONITOR, PAUSE_MONITOR);
}

#define BEGUN "1.0 ada at RIP 0x1000\n    the bytes at RIP were 90\n"

static void one_step(void **state)
{
    (void)state;
    begin();
    assert_true(more && call.waits);
    take_turn();
    go_on();
    assert_true(more); /* it visits the vCPU once more */
    take_turn();
    go_on();
    is_over(BEGUN "    RIP    0x1000 -> 0x1003\n");
    take_turn();
    assert_int_equal(rip, 0x1003);
}

/* GDB's `monitor step` would hang, because GDB sends no ^C meanwhile. */
static void a_halted_vcpu(void **state)
{
    (void)state;
    attention_request(&vcpu->vmx.attention, ATTENTION_HALTED);
    begin();
    take_turn();
    go_on();
    is_over("step: 1.0 ada is halted, and executes nothing until an event wakes it; type: resume "
            "1.0, or inject 1.0 VECTOR\n");
    assert_true(attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED));

    wakes = true;
    begin();
    take_turn();
    go_on();
    take_turn();
    go_on();
    is_over(BEGUN "    RIP    0x1000 -> 0x1003\n");
}

/* The visit that begins a step may be under way when ^C comes, or the step is. */
static void given_up(void **state)
{
    for (unsigned late = 0; late < 2; late++) {
        setup(state);
        attention_request(&vcpu->vmx.attention, ATTENTION_HALTED);
        wakes = true;
        begin();
        if (late) {
            visit_receive(vcpu); /* but it gets no turn yet */
            go_on();
            assert_true(more && steps());
        }
        call.abandoned = true;
        go_on();
        assert_true(more);
        if (!late) {
            visit_receive(vcpu);
            go_on();
        }
        assert_true(steps());
        take_turn();
        go_on();
        is_over(BEGUN "^C\n");
        take_turn();
        assert_int_equal(rip, 0x1000);
    }
}

static void an_init(void **state)
{
    for (unsigned abandoned = 0; abandoned < 2; abandoned++) {
        setup(state);
        begin();
        visit_receive(vcpu);
        go_on();
        assert_true(more);
        call.abandoned = abandoned;
        (void)debugger_step_cancel(vcpu); /* as ipi_restarts() does */
        visit_close(vcpu);
        go_on();
        is_over(abandoned ? BEGUN "^C\n"
                          : BEGUN "1.0 ada has no turns now: it waits for a start-up IPI, or has "
                                  "ended\n");
    }
}

static void another_pauser(void **state)
{
    (void)state;
    begin();
    visit_receive(vcpu);
    go_on();
    assert_true(more);
    pause_vcpu(vcpu, PAUSE_GDB);
    go_on();
    take_turn();
    go_on();
    is_over(BEGUN "    somebody else has paused the vCPU before it could make the step\n");
    resume_vcpu(vcpu, PAUSE_GDB);
    take_turn();
    assert_int_equal(rip, 0x1000);
}

static void refused(void **state)
{
    static struct debugger debugger;
    setup(state);
    vm.debugger = &debugger;
    begin();
    take_turn();
    go_on();
    is_over("step: VM 1 ada is GDB's, whose stepi does the same\n");

    setup(state);
    resume_vcpu(vcpu, PAUSE_MONITOR);
    begin();
    take_turn();
    go_on();
    assert_string_equal(said(), "step: 1.0 ada is not paused; type: pause 1.0\n");
    assert_false(steps());
}

static void the_vm_ends(void **state)
{
    (void)state;
    begin();
    visit_receive(vcpu);
    go_on();
    vm.ending = VM_ENDED_EXIT;
    go_on();
    assert_false(more);
    assert_string_equal(said(), BEGUN "VM 1 ada has ended, by this step or meanwhile\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_step, setup),       cmocka_unit_test_setup(a_halted_vcpu, setup),
        cmocka_unit_test_setup(given_up, setup),       cmocka_unit_test_setup(an_init, setup),
        cmocka_unit_test_setup(another_pauser, setup), cmocka_unit_test_setup(refused, setup),
        cmocka_unit_test_setup(the_vm_ends, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
