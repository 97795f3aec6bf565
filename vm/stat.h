/* SPDX-License-Identifier: MIT */
/*
 * A VM's counters while it runs, for tools/stat.py, which shows their rates as kvm_stat does.
 *
 * With `stat=MS` each VM prints, about every MS milliseconds in which one of its vCPUs runs, lines
 * of the form
 *
 *   # stat VM MS/N NAME=VALUE …
 *
 * on the console: the name of the VM, the time in milliseconds of the TSC, the number of the line
 * among those of this moment, from 1, and the counters that are not 0. The last of these lines ends
 * with a dot. `exit_R` counts the exits by reason R of all vCPUs, `exits` all exits. Lines that the
 * console cannot print in time are left out, and the numbers say so.
 */
#pragma once

#include "lib/types.h"

struct vm;

void stat_print(const struct vm *vm, uint64_t milliseconds);
