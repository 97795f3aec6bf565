/* SPDX-License-Identifier: MIT */
/*
 * What commands of the monitor say where no guest is needed: of a vCPU that has no turns, of
 * counters that fall or begin anew, of exits of a TD, of doorbells, of a guest that is started
 * again; and that the completion of names looks at no more VMs than it has room for.
 */
#include "tests/unit/support.h"

#include "arch/x86/memory.h"
#include "arch/x86/power.h"
#include "arch/x86/serial.h"
#include "arch/x86/tsc.h"
#include "boot/boot_info.h"
#include "lib/bits.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/complete.h"
#include "monitor/set.h"
#include "monitor/start.h"
#include "monitor/why_exit.h"
#include "tdx/td.h"
#include "vm/options.h"
#include "vm/pause.h"
#include "vm/registry.h"
#include "vm/td_exit.h"
#include "vm/trace.h"
#include "vm/transcript.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vmx/errors.h"

#include <stdio.h>
#include <string.h>

/* ---- The machine ----------------------------------------------------------------------------- */

static struct vm vms[BOOT_MODULES];
static unsigned vm_count, holds, looks;

struct vm *registry_hold(unsigned number)
{
    bool exists = number && number <= vm_count;
    holds += exists;
    looks++;
    return exists ? &vms[number - 1] : NULL;
}

struct vm *registry_hold_next(unsigned after)
{
    return registry_hold(after + 1);
}

void registry_release(struct vm *vm)
{
    assert_true(vm >= vms && vm < vms + vm_count);
    assert_int_not_equal(holds, 0);
    holds--;
}

/* No vCPU has turns. */
void visit_begin(struct vcpu *vcpu, struct visit *visit)
{
    (void)vcpu;
    visit->done = VISIT_MISSED;
}

bool visit_is_open(const struct vcpu *vcpu)
{
    (void)vcpu;
    return false;
}

uint64_t tsc_khz(void)
{
    return 1;
}

/* ---- What is linked, but not called ---------------------------------------------------------- */

bool last_exit_read(struct vcpu *vcpu, struct last_exit *exit)
{
    (void)vcpu, (void)exit;
    fail();
    return false;
}

void last_exit_watch(struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
}

bool last_exit_was_kick(const struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
    return false;
}

bool td_gpa_is_reserved(const struct td *td, gpa_t gpa)
{
    return gpa.v >> td->gpa_width;
}

enum td_why td_private_why(enum td_page_state state, uint64_t td_ctls)
{
    (void)state, (void)td_ctls;
    fail();
    return TD_WHY_FAULT;
}

enum td_why td_shared_why(enum td_page_state state, uint64_t qualification)
{
    return td_private_why(state, qualification);
}

const char *td_why_rule(enum td_why why)
{
    (void)why;
    fail();
    return NULL;
}

uint64_t memory_used(unsigned vm)
{
    (void)vm;
    fail();
    return 0;
}

uint32_t pause_pausers(const struct vcpu *vcpu)
{
    (void)vcpu;
    fail();
    return 0;
}

bool pause_reached(const struct vm *vm)
{
    (void)vm;
    fail();
    return false;
}

void pause_vm(struct vm *vm, enum pauser who)
{
    (void)vm, (void)who;
    fail();
}

void resume_vm(struct vm *vm, enum pauser who)
{
    (void)vm, (void)who;
}

void transcript_notify(void)
{
    fail();
}

struct transcript *transcript_running(const char **name)
{
    (void)name;
    return NULL;
}

/* ---- The commands ---------------------------------------------------------------------------- */

const struct monitor_command monitor_commands[] = {
    {"why", "", "", command_why, 0},
    {"counters", "VM", "", command_counters, 0},
    {"lapic", "VM.VCPU", "", command_lapic, 0},
    {"bus", "VM", "", command_bus, 0},
    {"start", "GUEST", "", command_start, 0},
    {"set", "WORD=VALUE", "", command_set, 0},
};
const unsigned monitor_command_count = ARRAY_SIZE(monitor_commands);

static int setup(void **state)
{
    (void)state;
    support_reset();
    vm_count = 1;
    for (unsigned i = 0; i < BOOT_MODULES; i++) {
        struct vm *vm = &vms[i];
        memset(vm, 0, sizeof(*vm));
        vm->number = (uint16_t)(i + 1);
        snprintf(vm->name, sizeof(vm->name), "vm%u", i + 1);
        vm->vcpu_count = 1;
        vm->vcpus[0] = &vm->vcpu;
        vm->vcpu.vm = vm;
    }
    return 0;
}

static struct monitor_call call;

/* Executes a line, and returns the answer. */
static const char *ask(const char *line)
{
    static char answer[MONITOR_TEXT + 1];
    monitor_call_begin(&call, line);
    for (unsigned pieces = 0; monitor_call_piece(&call); pieces++)
        assert_true(pieces < 100);
    assert_int_equal(holds, 0);
    memcpy(answer, call.text, call.said);
    answer[call.said] = 0;
    return answer;
}

/* ---- A vCPU that has no turns ---------------------------------------------------------------- */

/* Commands that look at a vCPU say so, instead of nothing. */
static void no_turns(void **state)
{
    (void)state;
    static const char *const lines[] = {"why last 1.0", "why slow 1.0", "lapic 1.0"};
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        assert_string_equal(
            ask(lines[i]), "1.0 vm1 has no turns now: it waits for a start-up IPI, or has ended\n");
}

/* ---- Rates ----------------------------------------------------------------------------------- */

static void rates(void **state)
{
    (void)state;
    struct vm *vm = &vms[0];
    char rate[40];
    unsigned long value;
    uint64_t *pages = &vm->mmu.cpu[0].stats.pages[0], *exits = &vm->vcpu.exits[REASON_HLT];
    *pages = 2000000000;
    *exits = 10;
    assert_non_null(strstr(ask("counters 1"), "VM 1 vm1; ask again for rates\n"));
    const char *line = strstr(ask("counters 1"), "  pages_4k");
    assert_int_equal(sscanf(line, " pages_4k %lu %39s", &value, rate), 2);
    assert_int_equal(value, 2000000000);
    assert_string_equal(rate, "0.0");

    /* Pages have been unmapped. */
    *pages = 1000000000;
    line = strstr(ask("counters 1"), "  pages_4k");
    assert_int_equal(sscanf(line, " pages_4k %lu %39s", &value, rate), 2);
    assert_int_equal(value, 1000000000);
    assert_int_equal(rate[0], '-');
    assert_true(strlen(rate) < sizeof("-1000000000.0"));

    /* The VM has been reset, in the same place. */
    *exits = 9;
    assert_non_null(strstr(ask("counters 1"), "VM 1 vm1; ask again for rates\n"));
    assert_non_null(strstr(ask("counters 1"), "and its rates in the last"));
}

/* ---- Exits of a TD --------------------------------------------------------------------------- */

static const char *last(uint32_t reason)
{
    const struct last_exit exit = {.valid = true, .reason = reason, .number = 1};
    call.said = 0;
    why_say_last(&call, &exit);
    call.text[call.said] = 0;
    return call.text;
}

static void exits_of_a_td(void **state)
{
    (void)state;
    static const struct {
        uint32_t reason;
        const char *vm, *td;
    } expected[] = {
        {REASON_HLT, "The vCPU sleeps until an interrupt or NMI wakes it",
         "The TD gets #VE, and asks the hypervisor by TDCALL."},
        {REASON_CPUID, "the table of the VM's features answers",
         "It is answered from the TD's own CPUID, MSRs and control registers"},
        {REASON_EXCEPTION_OR_NMI, "which is given back to the guest unless a debugger has caused",
         "#UD of a TDCALL is the call"},
        {REASON_RDPMC, "#GP: the VM has no performance counters",
         "#GP: the TD may not execute the instruction."},
        {REASON_VMXON, "An instruction that CPUID does not offer is #UD",
         "#UD: the TD's CPUID does not offer the instruction."},
        {REASON_TASK_SWITCH, "The task switch is emulated.", "The TD is stopped: no TD may do"},
        {REASON_EPT_VIOLATION, "A read at GPA 0", "A read at GPA 0"},
        {REASON_MOV_DR, "The access to the debug register is emulated",
         "The access to the debug register is emulated"},
        {REASON_APIC_WRITE, "has written the virtual APIC page", "has written the virtual APIC"},
    };
    static struct td td;
    monitor_call_begin(&call, "");
    call.vm = &vms[0];
    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        vms[0].td = NULL;
        assert_non_null(strstr(last(expected[i].reason), expected[i].vm));
        vms[0].td = &td;
        assert_non_null(strstr(last(expected[i].reason), expected[i].td));
    }
    call.vm = NULL;
}

/* ---- Starts ---------------------------------------------------------------------------------- */

static struct start_answer answer = {.number = 2, .name = "bob", .run = 3};

static void start_guest(const char *which, struct start_answer *how)
{
    assert_string_equal(which, "bob");
    *how = answer;
}

static void starts(void **state)
{
    (void)state;
    monitor_may_start(start_guest);
    answer.how = START_BEGINS;
    assert_string_equal(ask("start bob"),
                        "VM 2 bob: run 3 begins, in a new VM that is made from its "
                        "modules\n");
    monitor_holds_new();
    assert_string_equal(ask("start bob"),
                        "VM 2 bob: run 3 begins, in a new VM that is made from its "
                        "modules, and paused before its first instruction\n");
    monitor_lets_go();
    answer.how = START_NOT_BEGUN;
    assert_string_equal(ask("start bob"),
                        "start: VM 2 has not begun yet; it starts when another one "
                        "has ended\n");
    answer.how = START_EXISTS;
    assert_string_equal(ask("start bob"), "start: VM 2 is being made or taken apart; ask again "
                                          "soon\n");
    vm_count = 2;
    assert_string_equal(ask("start bob"), "start: VM 2 exists; end it first\n");
    answer.how = START_TOO_MANY;
    answer.limit = 1;
    assert_string_equal(ask("start bob"), "start: 1 VM exists, as many as may exist at a time; end "
                                          "one, or boot with parallel=\n");
}

/* ---- Words that may change ------------------------------------------------------------------- */

int trace_choose(const char *value)
{
    (void)value;
    return 0;
}

void machine_set_on_exit(enum on_exit action)
{
    (void)action;
}

int serial_read(void)
{
    return -1;
}

void machine_exit(enum exit_code code)
{
    fail_msg("exit %d", code);
    __builtin_unreachable();
}

/* GDB shows the answer alone, and takes an empty one for success. */
static void refused_values(void **state)
{
    (void)state;
    static struct options options;
    monitor_may_set(&options);
    assert_string_equal(ask("set counters=7x"), "set: counters=7x is refused, and nothing changes; "
                                                "the log says why\n");
    assert_non_null(strstr(support_log(), "counters=7x"));
    assert_string_equal(ask("set counters=1"), "counters=1 from now on\n");
    assert_true(options.counters);
}

/* ---- Doorbells ------------------------------------------------------------------------------- */

static void doorbells(void **state)
{
    (void)state;
    static const struct bus_ops ops = {.name = "bell"};
    struct bus *bus = &vms[0].mmio_bus;
    bus->doorbell_count = BUS_DOORBELLS;
    for (unsigned i = 0; i < BUS_DOORBELLS; i++)
        bus->doorbells[i] = (struct bus_doorbell){.address = 0x1000 + i, .ops = &ops};
    bus->doorbells[0].length = 1;
    bus->doorbells[1] = (struct bus_doorbell){0x1001, 7, 4, true, &ops, NULL};
    const char *said = ask("bus 1");
    assert_int_equal(bus->lock.taken, 0);
    assert_non_null(strstr(said, "  doorbell at 0x1000, 1 byte, any data: bell\n"
                                 "  doorbell at 0x1001, 4 bytes, data 0x7: bell\n"
                                 "  doorbell at 0x1002, any length, any data: bell\n"));
    assert_non_null(strstr(said, "  doorbell at 0x100f, any length, any data: bell\n"));
}

/* ---- Completion ------------------------------------------------------------------------------ */

static void completion(void **state)
{
    (void)state;
    static struct completion c;
    completion_begin(&c, "pa", 0);
    assert_int_equal(c.count, monitor_command_count);
    vm_count = BOOT_MODULES;
    looks = 0;
    completion_begin(&c, "bus v", 1);
    assert_int_equal(c.count, COMPLETION_WORDS);
    assert_string_equal(completion_word(&c, COMPLETION_WORDS - 1), "vm64");
    assert_null(completion_word(&c, COMPLETION_WORDS));
    assert_int_equal(looks, COMPLETION_WORDS);
    assert_int_equal(holds, 0);

    for (unsigned i = 1; i < VCPUS_MAX; i++)
        vms[0].vcpus[i] = &vms[0].vcpu;
    vms[0].vcpu_count = VCPUS_MAX;
    completion_begin(&c, "lapic ", 1);
    assert_string_equal(completion_word(&c, 1), "vm1.1");
    assert_int_equal(c.count, COMPLETION_WORDS);
    assert_int_equal(holds, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_turns, setup),       cmocka_unit_test_setup(rates, setup),
        cmocka_unit_test_setup(exits_of_a_td, setup),  cmocka_unit_test_setup(doorbells, setup),
        cmocka_unit_test_setup(completion, setup),     cmocka_unit_test_setup(starts, setup),
        cmocka_unit_test_setup(refused_values, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
