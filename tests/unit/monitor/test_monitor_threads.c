/* SPDX-License-Identifier: MIT */
/*
 * The console's monitor and GDB's execute commands at the same time, while a third CPU starts
 * guests: what commands keep from one call to the next belongs to one of them at a time, and the
 * pattern of tests= is read whole. ThreadSanitizer watches (make tsan).
 */
#include "tests/unit/support.h"

#include "arch/x86/power.h"
#include "arch/x86/tsc.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/set.h"
#include "vm/counters.h"
#include "vm/input.h"
#include "vm/options.h"
#include "vm/registry.h"
#include "vm/trace.h"
#include "vm/vm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS 300u

static struct vm vm = {.number = 1, .name = "only", .vcpu_count = 1};
static struct options options;
static uint64_t ended;    /* of the two monitors */
static uint64_t counting; /* monitors that count at the moment */

/* ---- What is around the commands ------------------------------------------------------------- */

struct vm *registry_hold(unsigned number)
{
    return number == 1 ? &vm : NULL;
}

struct vm *registry_hold_next(unsigned after)
{
    return after < 1 ? &vm : NULL;
}

void registry_release(struct vm *held)
{
    assert_ptr_equal(held, &vm);
}

void counters_read(const struct vcpu *vcpu, uint64_t values[COUNTER_COUNT])
{
    (void)vcpu;
    if (__atomic_fetch_add(&counting, 1, __ATOMIC_RELAXED))
        abort(); /* a thread cannot fail a test otherwise */
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        values[i] = 1 + i;
    sched_yield();
    __atomic_fetch_sub(&counting, 1, __ATOMIC_RELAXED);
}

const char *counter_name(unsigned counter)
{
    (void)counter;
    return "counter";
}

uint64_t vm_exit_count(const struct vm *of)
{
    (void)of;
    return 1;
}

void visit_begin(struct vcpu *vcpu, struct visit *visit)
{
    (void)vcpu, (void)visit;
    fail();
}

uint64_t tsc_khz(void)
{
    return 1;
}

void input_set_escape(uint8_t key)
{
    (void)key;
}

void machine_set_on_exit(enum on_exit action)
{
    (void)action;
}

int trace_choose(const char *names)
{
    (void)names;
    return 0;
}

const struct monitor_command monitor_commands[] = {
    {"counters", "VM", "", command_counters, 0},
    {"set", "WORD=VALUE", "", command_set, 0},
};
const unsigned monitor_command_count = ARRAY_SIZE(monitor_commands);

/* ---- The test -------------------------------------------------------------------------------- */

static void ask(struct monitor_call *call, const char *line, const char *begin)
{
    monitor_call_begin(call, line);
    call->said = 0;
    while (monitor_call_piece(call))
        ;
    call->text[call->said] = 0;
    assert_ptr_equal(strstr(call->text, begin), call->text);
}

/* Each monitor chooses patterns of its own letter. */
static void *monitor(void *letter)
{
    static struct monitor_call calls[2];
    const char *pattern = letter;
    struct monitor_call *call = &calls[*pattern - 'a'];
    char line[60];
    for (unsigned i = 0; i < CALLS; i++) {
        ask(call, "counters 1", "VM 1 only");
        snprintf(line, sizeof(line), "set tests=%s", pattern + i % 20);
        ask(call, line, line + 4);
        ask(call, i % 2 ? "set counters=1" : "set escape=a", i % 2 ? "counters=1" : "escape=a");
    }
    __atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void two_monitors(void **state)
{
    pthread_t threads[2];
    static char letters[2][41];
    char pattern[WORD_TEXT_MAX];
    (void)state;
    support_reset();
    assert_int_equal(options_parse("tests=aaa", &options), 0);
    monitor_may_set(&options);
    for (unsigned i = 0; i < 2; i++) {
        memset(letters[i], 'a' + (int)i, 40);
        pthread_create(&threads[i], NULL, monitor, letters[i]);
    }
    do {
        options_tests(&options, pattern);
        size_t length = strlen(pattern);
        assert_true(length && strspn(pattern, pattern[0] == 'a' ? "a" : "b") == length);
    } while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) < 2);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(options.counters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_monitors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
