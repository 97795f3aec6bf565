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

/* Other CPUs read the numbers meanwhile; each is one aligned word. What is wrong with the text is
 * logged, as for the command line. */
bool command_set(struct monitor_call *call)
{
    if (call->count != 2) {
        monitor_say(call, "set: one word is expected, as on the command line: trace=, escape=, "
                          "on_exit=, counters= or tests=");
        return false;
    }
    struct options changed = *in_force;
    if (options_change(call->words[1], &changed))
        return false;
    if (strcmp(changed.trace, in_force->trace) && trace_choose(changed.trace))
        return false;
    *in_force = changed;
    input_set_escape((uint8_t)changed.escape);
    machine_set_on_exit((enum on_exit)changed.on_exit);
    monitor_say(call, "%s from now on", call->words[1]);
    return false;
}
