/* SPDX-License-Identifier: MIT */
/*
 * The dialogue of the monitor, with the real input multiplexer, transcripts and watches: what is
 * typed becomes calls, their answers come in pieces and are never cut, and nothing waits.
 */
#include "tests/unit/support.h"

#include "arch/x86/power.h"
#include "arch/x86/serial.h"
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "monitor/command.h"
#include "monitor/monitor.h"
#include "monitor/start.h"
#include "vm/input.h"
#include "vm/pause.h"
#include "vm/pcpu.h"
#include "vm/registry.h"
#include "vm/sched.h"
#include "vm/transcript.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vm/watch.h"
#include "vm/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The machine ----------------------------------------------------------------------------- */

static const char *typed = "";
static struct work *work; /* in the list of this pCPU */
static unsigned woken;

int serial_read(void)
{
    return *typed ? (uint8_t)*typed++ : -1;
}

NORETURN void machine_exit(enum exit_code code)
{
    exit((int)code);
}

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
}

uint64_t tsc_khz(void)
{
    return 1000;
}

void work_add_first(struct work *added)
{
    assert_null(work);
    work = added;
}

bool pcpus_have_vcpu(void)
{
    return false;
}

void sched_idle(void)
{
}

bool sched_is_woken(void)
{
    return false;
}

void sched_busy(void)
{
}

void sched_wake_one(void)
{
}

void sched_wake_all(void)
{
    woken++;
}

/* VM 1 has one vCPU, whose visits and pauses the test carries out. */
static struct vm vm;
static struct visit *visiting;
static unsigned paused, resumed;
static bool hurried; /* somebody lets all VMs go while one is being paused */
static unsigned releases;

void visit_begin(struct vcpu *vcpu, struct visit *visit)
{
    assert_ptr_equal(vcpu, &vm.vcpu);
    assert_null(visiting);
    visiting = visit;
}

bool visit_is_open(const struct vcpu *vcpu)
{
    (void)vcpu;
    return true;
}

void pause_vm(struct vm *which, enum pauser who)
{
    assert_ptr_equal(which, &vm);
    assert_int_equal(who, PAUSE_MONITOR);
    paused++;
    if (hurried)
        monitor_lets_go();
}

void resume_vm(struct vm *which, enum pauser who)
{
    assert_ptr_equal(which, &vm);
    assert_int_equal(who, PAUSE_MONITOR);
    resumed++;
}

struct vm *registry_hold(unsigned number)
{
    return number == 1 ? &vm : NULL;
}

struct vm *registry_hold_next(unsigned after)
{
    return after ? NULL : &vm;
}

void registry_release(struct vm *which)
{
    assert_ptr_equal(which, &vm);
    releases++;
}

static void end_visit(bool called)
{
    struct visit *visit = visiting;
    visiting = NULL;
    if (called)
        visit->call(&vm.vcpu, visit->context);
    visit->done = called ? VISIT_CALLED : VISIT_MISSED;
}

/* ---- Its commands ---------------------------------------------------------------------------- */

static bool say_much(struct monitor_call *call)
{
    for (unsigned i = 0; i < MONITOR_LINES; i++)
        monitor_say(call, "line %lu of many, each with some text so that few of them fit at once",
                    call->index++);
    return call->index < 10 * MONITOR_LINES;
}

static bool say_too_much(struct monitor_call *call)
{
    for (unsigned i = 0; i < MONITOR_LINES * 4; i++)
        monitor_say(call, "%0*u", (int)MONITOR_WIDTH * 2, i);
    return false;
}

static void look(struct monitor_call *call, struct vcpu *vcpu)
{
    monitor_say(call, "vCPU %u", vcpu->index);
}

static bool visit_twice(struct monitor_call *call)
{
    if (!call->vm && !monitor_vcpu(call, 1))
        return false;
    if (!call->step)
        monitor_say(call, "visit");
    call->step = 1;
    if (!monitor_visit(call, look))
        return true;
    return monitor_seen(call) && ++call->index < 2;
}

static bool never_over(struct monitor_call *call)
{
    (void)call;
    return true;
}

static bool numbers(struct monitor_call *call)
{
    uint64_t value;
    if (monitor_words_end(call, 2) && monitor_number(call, 1, "digit", 0, 9, &value))
        monitor_say(call, "it is %lu", value);
    return false;
}

static bool leave(struct monitor_call *call)
{
    monitor_say(call, "bye");
    monitor_lets_go();
    call->leaves = true;
    return false;
}

static bool strange(struct monitor_call *call)
{
    monitor_say(call, "a\x1b[2J\nEXIT 0 ok");
    return false;
}

const struct monitor_command monitor_commands[] = {
    {"much", "", "", say_much, 0},
    {"toomuch", "", "", say_too_much, 0},
    {"visit", "VM.VCPU", "", visit_twice, 0},
    {"never", "", "", never_over, 0},
    {"number", "DIGIT", "", numbers, 'n'},
    {"quit", "", "", leave, 'q'},
    {"strange", "", "", strange, 0},
};
const unsigned monitor_command_count = ARRAY_SIZE(monitor_commands);

/* ---- What a pCPU does ------------------------------------------------------------------------ */

/* Polls and works until nothing is left to do at this moment. */
static void run(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        watch_look(rdtsc());
        if (work) {
            struct work *piece = work;
            work = NULL;
            if (piece->piece(piece) && !work)
                work = piece;
        } else if (!*typed && i > 300) {
            return;
        }
    }
}

static const char *ask(const char *keys)
{
    support_reset();
    typed = keys;
    run();
    return support_log();
}

static void dialogue(void **state)
{
    (void)state;
    support_reset();
    strcpy(vm.name, "ada");
    vm.number = 1;
    vm.vcpu_count = 1;
    vm.vcpus[0] = &vm.vcpu;
    vm.vcpu.vm = &vm;
    monitor_holds_new();
    hurried = true;
    monitor_sees(&vm);
    hurried = false;
    assert_int_equal(resumed, 2); /* once more, after it was paused */
    paused = resumed = 0;
    input_set_escape(1);
    struct transcript *t = transcript_open(1);
    transcript_set_name(t, "ada");
    monitor_start(true);
    monitor_sees(&vm);
    assert_int_equal(paused, 1);
    run();
    assert_string_equal(support_log(), "monitor> ");
    assert_true(monitor_is_open());

    assert_string_equal(ask("n 7\r"), "n 7\nit is 7\nmonitor> ");
    assert_string_equal(ask("number 0x9\r"), "number 0x9\nit is 9\nmonitor> ");
    assert_string_equal(ask("n 10\r"), "n 10\nnumber: \"10\" is no digit: a number from 0 to 0x9, "
                                       "decimal or with 0x, is expected\nmonitor> ");
    assert_string_equal(ask("n x\r"), "n x\nnumber: \"x\" is no digit: a number from 0 to 0x9, "
                                      "decimal or with 0x, is expected\nmonitor> ");
    assert_string_equal(ask("n\r"), "n\nnumber: digit is missing; type: number DIGIT\nmonitor> ");
    assert_string_equal(ask("n 1 2\r"), "n 1 2\nnumber: \"2\" is one word too many; type: number "
                                        "DIGIT\nmonitor> ");
    assert_string_equal(ask("  \r"), "  \nmonitor> ");
    assert_string_equal(ask("nope\r"),
                        "nope\n\"nope\" is no command; with this letter begin never, "
                        "number; h lists all\nmonitor> ");
    assert_string_equal(ask("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\r") + 41,
                        "\na line has at most 16 words\nmonitor> ");
    assert_string_equal(ask("strange\r"), "strange\na\\x1b[2J\\x0aEXIT 0 ok\nmonitor> ");
    assert_string_equal(ask("nu\t3\r"), "number 3\nit is 3\nmonitor> ");
    assert_string_equal(ask("visit \t\x03"), "visit ada.0 ^C\nmonitor> ");
}

/* Every line of a long answer is shown, although the console keeps only a few of them at a time. */
static void long_answers(void **state)
{
    (void)state;
    const char *at = ask("much\r");
    assert_memory_equal(at, "much\n", 5);
    at += 5;
    for (unsigned i = 0; i < 10 * MONITOR_LINES; i++) {
        char line[100];
        int length = snprintf(line, sizeof(line),
                              "line %u of many, each with some text so that few of them fit at "
                              "once\n",
                              i);
        assert_memory_equal(at, line, (size_t)length);
        at += length;
    }
    assert_string_equal(at, "monitor> ");
    at = ask("toomuch\r");
    assert_non_null(strstr(at, "\n(72 lines were cut)\nmonitor> "));
}

/* A call waits for its visits without holding up the CPU, and shows what the visitor has said. */
static void visits(void **state)
{
    (void)state;
    releases = 0;
    assert_string_equal(ask("visit ada\r"), "visit ada\n");
    assert_null(work); /* it waits */
    assert_non_null(visiting);
    end_visit(true);
    run();
    assert_string_equal(support_log(), "visit ada\nvisit\nvCPU 0\n");
    end_visit(true);
    run();
    assert_string_equal(support_log(), "visit ada\nvisit\nvCPU 0\nvCPU 0\nmonitor> ");
    assert_int_equal(releases, 1);
    ask("visit 1.0\r");
    end_visit(false);
    run();
    assert_string_equal(support_log(), "visit 1.0\nvisit\n1.0 ada has no turns now: it waits for a "
                                       "start-up IPI, or has ended\nmonitor> ");
    assert_string_equal(ask("visit 1.1\r"), "visit 1.1\nvisit: VM 1 ada has no vCPU 1; its vCPUs "
                                            "are 0 to 0\nmonitor> ");
    assert_string_equal(ask("visit bob\r"), "visit bob\nvisit: \"bob\" is no VM; its number or its "
                                            "name is expected\nthere are: 1 ada\nmonitor> ");

    /* ^C ends it when the visit is over, because the visitor uses the call. What was typed before
     * it is dropped. */
    ask("visit 1.0\r");
    assert_string_equal(ask("n 1\rn 2\x03"), "");
    assert_non_null(visiting);
    end_visit(true);
    run();
    assert_string_equal(support_log(), "visit\nvCPU 0\n^C\nmonitor> ");
    ask("never\r");
    assert_string_equal(ask("\x03n 4\r"), "^C\nmonitor> n 4\nit is 4\nmonitor> ");
}

static void ready(void *context)
{
    (void)context;
}

/* The console is given back, and taken again by the escape key. */
static void quitting(void **state)
{
    (void)state;
    assert_string_equal(ask("q\r"), "q\nbye\n# console: VM 1 ada\n");
    assert_false(monitor_is_open());
    assert_int_equal(woken, 1); /* the machine may be over */
    assert_int_equal(resumed, 1);
    monitor_sees(&vm);
    assert_int_equal(paused, 1); /* new VMs are not paused any more */
    assert_string_equal(ask("x\r"), "");
    assert_string_equal(ask("\x01m"), "monitor> ");
    assert_string_equal(ask("vi\x01m"), "vi"); /* it has it already */
    assert_string_equal(ask("\x03\x04"), "^C\nmonitor> \nbye\n# console: VM 1 ada\n");
    assert_int_equal(resumed, 1);

    /* So it is by the key that turns to a VM, after which the monitor greets again. */
    static struct input of_vm;
    input_attach(&of_vm, 1, "ada", ready, NULL);
    assert_string_equal(ask("\x01m"), "monitor> ");
    assert_string_equal(ask("\x01"
                            "1"),
                        "\n# console: VM 1 ada\n");
    assert_string_equal(ask("\x01m"), "monitor> ");
    assert_string_equal(ask("\x04"), "\nbye\n# console: VM 1 ada\n");
    input_detach(&of_vm);
    transcript_close(transcript_open(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogue),
        cmocka_unit_test(long_answers),
        cmocka_unit_test(visits),
        cmocka_unit_test(quitting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
