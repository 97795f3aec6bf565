/* SPDX-License-Identifier: MIT */
/* The session of GDB with a VM (gdb/gdb.c), for gdb/start.c, which knows what the VM is. */
#pragma once

struct vm;

/* Called once: from now on GDB is answered, for the VM with this number. */
void session_start(unsigned number);

/* The VM is about to start: it is paused, and GDB's; or it is not GDB's, who is told that there is
 * none. */
void session_offer(struct vm *vm);
void session_refuse(void);
