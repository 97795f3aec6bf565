/* SPDX-License-Identifier: MIT */
/*
 * GDB's remote protocol on the second serial port, for one VM, which the word gdb= names by its
 * number or name (docs/GDB.md).
 *
 * The VM is paused before its first instruction, and waits for GDB. While GDB has stopped it, all
 * its vCPUs are paused (vm/pause.h). A packet that needs a vCPU is executed in a visit to it
 * (vm/visit.h), and a stop of a vCPU pauses the others. All this is a watch (vm/watch.h): whichever
 * pCPU comes first reads and writes the port, a few bytes at a time, and never waits.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/exit_codes.h"

#include <stdbool.h>
#include <stddef.h>

struct boot_info;
struct vm;

/* Called once, before any VM is created, with the text of the word gdb=; "" does nothing. Returns
 * EXIT_OK, or EXIT_BAD_COMMAND_LINE after a message if there is no such VM or no second port. */
enum exit_code gdb_start(const char *which, const struct boot_info *info) MUST_CHECK;

/* Called when a VM is about to start, also anew after a reset: if it is the debugger's, pauses
 * it. The VM must be in the registry. */
void gdb_offer(struct vm *vm);

/* The commands of GDB's `monitor` beyond the debugger's own. `begin` returns false if it does not
 * know the command. `piece` writes the next part of the answer to `text`, without a zero, sets
 * *size and returns true if it has to be called again; it is called about once a millisecond, and
 * not in a visit. The text of one answer is cut after 2000 bytes. */
struct gdb_monitor {
    bool (*begin)(const char *line);
    bool (*piece)(char *text, size_t room, size_t *size);
    const char *help; /* lines that `help` adds */
};
void gdb_set_monitor(const struct gdb_monitor *monitor);
