/* SPDX-License-Identifier: MIT */
/*
 * Which events are traced, and the text of what was (lib/trace.h): chosen by `trace=` on the
 * command line or by HC_TRACE, printed when a VM has ended.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vm;

/* `all`, `off`, or a list of names with commas between; * and ? are allowed in them, and KVM's
 * names, too. Takes effect at once. -EINVAL after a sentence. */
int trace_choose(const char *names) MUST_CHECK;

/* HC_TRACE: records these from now on, until the VM ends. Returns those before, or -EINVAL. */
int64_t trace_choose_bits(struct vm *vm, uint64_t events);

/* The events of a VM that has ended, or the newest of them if it did not end as it should. Those
 * that the command line chose are recorded again afterwards. */
void trace_report(const struct vm *vm);
