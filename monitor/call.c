/* SPDX-License-Identifier: MIT */
/* The life of a call: its words, its command, its pieces. Pure. */
#include "lib/spinlock.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "vm/registry.h"

/* ---- Its words ------------------------------------------------------------------------------- */

/* Splits call->line at spaces, in place. Returns false if there are too many words. */
static bool monitor_split(struct monitor_call *call)
{
    char *at = call->line;
    for (;;) {
        while (*at == ' ' || *at == '\t')
            *at++ = 0;
        if (!*at)
            return true;
        if (call->count == MONITOR_WORDS)
            return false;
        call->words[call->count++] = at;
        while (*at && *at != ' ' && *at != '\t')
            at++;
    }
}

const struct monitor_command *monitor_find(const char *line)
{
    size_t length = 0;
    while (*line == ' ')
        line++;
    while (line[length] && line[length] != ' ')
        length++;
    for (unsigned i = 0; i < monitor_command_count; i++) {
        const struct monitor_command *command = &monitor_commands[i];
        if ((strlen(command->name) == length && !strncmp(command->name, line, length)) ||
            (length == 1 && command->key == line[0]))
            return command;
    }
    return NULL;
}

/* Lists the commands that begin with the same letter as the unknown word. */
static void monitor_refuse(struct monitor_call *call)
{
    char alike[MONITOR_WIDTH] = "";
    size_t used = 0;
    for (unsigned i = 0; i < monitor_command_count; i++)
        if (monitor_commands[i].name[0] == call->words[0][0])
            used += (size_t)snprintf(alike + used, sizeof(alike) - used, "%s%s", used ? ", " : "",
                                     monitor_commands[i].name);
    monitor_say(call, "\"%.40s\" is no command%s%s; h lists all", call->words[0],
                used ? "; with this letter begin " : "", alike);
}

void monitor_call_begin(struct monitor_call *call, const char *line)
{
    memset(call, 0, offsetof(struct monitor_call, text));
    snprintf(call->line, sizeof(call->line), "%s", line);
    if (!monitor_split(call)) {
        monitor_say(call, "a line has at most %u words", MONITOR_WORDS);
        return;
    }
    if (!call->count)
        return;
    call->command = monitor_find(call->words[0]);
    if (!call->command)
        monitor_refuse(call);
}

/* ---- Its pieces ------------------------------------------------------------------------------ */

/* A visit that has begun has to be over before the call is, whatever the person wants. */
static bool monitor_gives_up(struct monitor_call *call)
{
    call->waits = call->visiting && !visit_done(&call->visit);
    if (call->waits)
        return false;
    if (!call->taken_back)
        call->visiting = false;
    call->taken_back = true;
    if (call->take_back && call->take_back(call))
        return false;
    monitor_say(call, "^C");
    return true;
}

static bool monitor_execute_piece(struct monitor_call *call)
{
    call->waits = false;
    if (!call->over &&
        (call->abandoned ? !monitor_gives_up(call) : call->command && call->command->piece(call)))
        return true;
    call->over = true;
    if (call->vm)
        registry_release(call->vm);
    call->vm = NULL;
    if (!call->cut)
        return false;
    if (sizeof(call->text) - call->said < MONITOR_WIDTH)
        return true; /* until the text has been taken away */
    monitor_say(call, "(%u lines were cut)", call->cut);
    return false;
}

/* What commands keep from one call to the next, such as the counters for their rates, belongs to
 * the console's monitor and to GDB's. */
static struct spinlock executing; /* taken by spin_trylock() only */

/* Returns true if the call goes on: with its command, or with what is to be said at its end. */
bool monitor_call_piece(struct monitor_call *call)
{
    call->waits = !spin_trylock(&executing);
    if (call->waits)
        return true;
    bool more = monitor_execute_piece(call);
    spin_unlock(&executing);
    return more;
}
