/* SPDX-License-Identifier: MIT */
#include "main/gdb_monitor.h"

#include "lib/string.h"
#include "monitor/command.h"

/* The call of the last packet. The text of a piece may not fit into one part of the reply. */
static struct monitor_call call;
static size_t given; /* bytes of call.text */
static bool more;

static bool gdb_monitor_begin(const char *line)
{
    if (!monitor_find(line))
        return false;
    monitor_call_begin(&call, line);
    given = 0;
    more = true;
    return true;
}

static bool gdb_monitor_piece(char *text, size_t room, size_t *size)
{
    *size = 0;
    if (more && (call.waits || given == call.said)) {
        if (!call.waits) /* else it belongs to the visitor */
            given = call.said = 0;
        more = monitor_call_piece(&call);
    }
    if (call.waits)
        return true;
    *size = call.said - given < room ? call.said - given : room;
    memcpy(text, call.text + given, *size);
    given += *size;
    return more || given < call.said;
}

const struct gdb_monitor gdb_monitor = {
    .begin = gdb_monitor_begin,
    .piece = gdb_monitor_piece,
    .help = "the hypervisor's monitor has further ones, such as vms; `monitor help` lists them\n",
};
