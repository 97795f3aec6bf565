/* SPDX-License-Identifier: MIT */
/*
 * A VM's counters while it runs, for tools/stat.py, which shows their rates as kvm_stat does.
 *
 * With `stat=MS` each VM prints, about every MS milliseconds in which one of its vCPUs runs, lines
 * of the form
 *
 *   # stat VM MS NAME=VALUE …
 *
 * on the console: the name of the VM, the time in milliseconds of the TSC, which lines of the same
 * moment have in common, and the counters that are not 0. The last of these lines ends with a dot.
 * `exit_N` counts the exits by reason N of all vCPUs, `exits` all exits. Lines that the console
 * cannot print in time are cut.
 */
#pragma once

#include "lib/types.h"

struct vm;

void stat_print(const struct vm *vm, uint64_t milliseconds);
