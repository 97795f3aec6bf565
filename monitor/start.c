/* SPDX-License-Identifier: MIT */
#include "monitor/start.h"

#include "monitor/command.h"
#include "monitor/commands.h"
#include "vm/pause.h"
#include "vm/registry.h"
#include "vm/vm.h"

static bool holds_new; /* atomic */

void monitor_holds_new(void)
{
    __atomic_store_n(&holds_new, true, __ATOMIC_SEQ_CST);
}

void monitor_sees(struct vm *vm)
{
    if (__atomic_load_n(&holds_new, __ATOMIC_SEQ_CST)) {
        pause_vm(vm, PAUSE_MONITOR);
        if (!__atomic_load_n(&holds_new, __ATOMIC_SEQ_CST)) /* monitor_lets_go() was too early */
            resume_vm(vm, PAUSE_MONITOR);
    }
}

void monitor_lets_go(void)
{
    struct vm *vm;
    if (!__atomic_exchange_n(&holds_new, false, __ATOMIC_SEQ_CST))
        return;
    for (unsigned number = 0; (vm = registry_hold_next(number)); number = vm->number) {
        resume_vm(vm, PAUSE_MONITOR);
        registry_release(vm);
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static void (*start_again)(const char *which, struct start_answer *answer);

void monitor_may_start(void (*again)(const char *which, struct start_answer *answer))
{
    start_again = again;
}

bool command_start(struct monitor_call *call)
{
    struct start_answer answer;
    if (!monitor_words_end(call, 2))
        return false;
    start_again(call->count > 1 ? call->words[1] : "", &answer);
    switch (answer.how) {
    case START_NO_GUEST:
        monitor_say(call,
                    "start: \"%s\" is no guest; the number or the name of one that has ended is "
                    "expected",
                    call->count > 1 ? call->words[1] : "");
        break;
    case START_NOT_BEGUN:
        monitor_say(call, "start: VM %u has not begun yet; it starts when another one has ended",
                    answer.number);
        break;
    case START_EXISTS:
        call->vm = registry_hold(answer.number);
        monitor_say(call,
                    call->vm ? "start: VM %u exists; end it first"
                             : "start: VM %u is being made or taken apart; ask again soon",
                    answer.number);
        break;
    case START_TOO_MANY:
        monitor_say(call,
                    "start: %u VM%s, as many as may exist at a time; end one, or boot with "
                    "parallel=",
                    answer.limit, answer.limit == 1 ? " exists" : "s exist");
        break;
    case START_BEGINS:
        monitor_say(call, "VM %u %s: run %u begins, in a new VM that is made from its modules%s",
                    answer.number, answer.name, answer.run,
                    __atomic_load_n(&holds_new, __ATOMIC_SEQ_CST)
                        ? ", and paused before its first instruction"
                        : "");
        break;
    }
    return false;
}
