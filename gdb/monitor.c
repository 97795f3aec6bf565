/* SPDX-License-Identifier: MIT */
/* The commands of GDB's `monitor` that are not the debugger's own. */
#include "gdb/command.h"
#include "gdb/gdb.h"
#include "lib/string.h"

static const struct gdb_monitor *commands;

void gdb_set_monitor(const struct gdb_monitor *monitor)
{
    commands = monitor;
}

void gdb_monitor_help(struct reply *reply)
{
    if (commands)
        reply_hex(reply, commands->help, strlen(commands->help));
}

bool gdb_ask_monitor(struct gdb *gdb, struct reply *reply)
{
    static const char unknown[] = "there is no such command; `monitor help` lists them\n";
    char text[256];
    size_t size = 0;
    if (!gdb->asked && (!commands || !commands->begin(gdb->line))) {
        reply_hex(reply, unknown, sizeof(unknown) - 1);
        return false;
    }
    gdb->asked = commands->piece(text, sizeof(text), &size);
    if (2 * size <= reply->room - reply->size)
        reply_hex(reply, text, size);
    if (!gdb->asked && !reply->size)
        reply_text(reply, "OK");
    return gdb->asked;
}
