/* SPDX-License-Identifier: MIT */
/*
 * Chooses the events that are traced (lib/trace.h), by `trace=` on the command line or by HC_TRACE,
 * and prints the records of a VM that has ended.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#include <stdbool.h>

struct vm;

/* Chooses events by `all`, `off`, or a list of names, separated by commas. A name may contain * and
 * ?, and KVM's names are accepted, too. Takes effect at once. Returns 0, or -EINVAL after a
 * message. */
int trace_choose(const char *names) MUST_CHECK;

/* Limits what trace_choose() has chosen to the VMs whose names match a pattern, and to events at
 * certain guest-physical addresses: "FIRST-LAST", or one address. Returns 0, or -EINVAL after a
 * message. */
int trace_choose_part(const char *vms, const char *range) MUST_CHECK;

/* Called when a VM has its name, before its vCPUs run. */
void trace_begin(const struct vm *vm);

/* Lets the events leave the machine by the export channel, which has been opened. */
void trace_export_begin(void);

/* Sends a piece of what waits to leave the machine. Returns false if nothing does, or nothing can
 * at the moment. Called by pCPUs that have nothing more important to do. */
bool trace_send_piece(void);

/* Sends what is left when all guests are done, and reports how many events have left. */
void trace_export_end(void);

/* Called by HC_TRACE: records the events of this mask from now on, until the VM ends. Returns the
 * previous mask, or -EINVAL if the mask has unknown bits. */
int64_t trace_choose_bits(struct vm *vm, uint64_t events);

/* Prints the events of a VM that has ended, or only the newest ones if the VM did not end
 * successfully; none if events leave the machine by the export channel. Afterwards the events that
 * the command line chose are recorded again. */
void trace_report(const struct vm *vm);
