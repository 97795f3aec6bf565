/* SPDX-License-Identifier: MIT */
/*
 * Chooses the events that are traced (lib/trace.h), by `trace=` on the command line or by HC_TRACE,
 * and prints the records of a VM that has ended.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vm;

/* Chooses events by `all`, `off`, or a list of names, separated by commas. A name may contain * and
 * ?, and KVM's names are accepted, too. Takes effect at once. Returns 0, or -EINVAL after a
 * message. */
int trace_choose(const char *names) MUST_CHECK;

/* Called by HC_TRACE: records the events of this mask from now on, until the VM ends. Returns the
 * previous mask, or -EINVAL if the mask has unknown bits. */
int64_t trace_choose_bits(struct vm *vm, uint64_t events);

/* Prints the events of a VM that has ended, or only the newest ones if the VM did not end
 * successfully. Afterwards the events that the command line chose are recorded again. */
void trace_report(const struct vm *vm);
