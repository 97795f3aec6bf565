/* SPDX-License-Identifier: MIT */
/* The table of commands, and `help`, which prints it. Pure. */
#include "monitor/commands.h"

#include "lib/bits.h"
#include "lib/string.h"
#include "monitor/command.h"

const struct monitor_command monitor_commands[] = {
    {"help", "[COMMAND]", "lists the commands, or explains one", command_help, 'h'},
};
const unsigned monitor_command_count = ARRAY_SIZE(monitor_commands);

static void help_line(struct monitor_call *call, const struct monitor_command *command)
{
    char left[64];
    snprintf(left, sizeof(left), "%s%s%s", command->name, command->arguments[0] ? " " : "",
             command->arguments);
    monitor_say(call, "%c %-34s %s", command->key ? command->key : ' ', left, command->help);
}

bool command_help(struct monitor_call *call)
{
    if (!monitor_words_end(call, 2))
        return false;
    for (unsigned said = 0; said < MONITOR_LINES && call->index < monitor_command_count;
         call->index++) {
        const struct monitor_command *command = &monitor_commands[call->index];
        if (call->count > 1 && strcmp(command->name, call->words[1]))
            continue;
        help_line(call, command);
        call->value[0]++;
        said++;
    }
    if (call->index < monitor_command_count)
        return true;
    if (!call->value[0])
        monitor_say(call, "help: \"%.40s\" is no command; h lists all", call->words[1]);
    return false;
}
