/* SPDX-License-Identifier: MIT */
#include "monitor/set.h"

#include "arch/x86/power.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "vm/input.h"
#include "vm/options.h"
#include "vm/trace.h"

static struct options *in_force;

void monitor_may_set(struct options *options)
{
    in_force = options;
}

/* What is wrong with a value is logged, as for the command line, which GDB does not show. */
bool command_set(struct monitor_call *call)
{
    struct options changed = *in_force;
    if (call->count != 2 || !options_may_change(call->words[1])) {
        monitor_say(call, "set: trace=, escape=, on_exit=, counters= or tests= is expected, with a "
                          "value as on the command line");
        return false;
    }
    if (options_change(call->words[1], &changed) ||
        (strcmp(changed.trace, in_force->trace) && trace_choose(changed.trace))) {
        monitor_say(call, "set: %s is refused, and nothing changes; the log says why",
                    call->words[1]);
        return false;
    }
    options_replace(in_force, &changed);
    input_set_escape((uint8_t)changed.escape);
    machine_set_on_exit((enum on_exit)changed.on_exit);
    monitor_say(call, "%s from now on", call->words[1]);
    return false;
}
