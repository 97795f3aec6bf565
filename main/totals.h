/* SPDX-License-Identifier: MIT */
/* The results of the guests: the line of each, and the last lines of the report. Any CPU may call
 * the functions, except for totals_report(). */
#pragma once

#include "lib/exit_codes.h"

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Counts a guest whose VM could not be created, and one that was left out. */
void totals_failed(unsigned number, const char *name, enum exit_code code);
void totals_skipped(void);

/* Counts what a VM that is about to be destroyed has cost. */
void totals_add_costs(struct vm *vm);

/* Writes the KTAP line of a VM that ran, preceded by the reasons for the verdict, and counts the
 * VM's results and costs. `resets` is the number of times that its guest has reset it. Of a further
 * `run` than the first, which the report's plan does not have, the line is a comment, and the costs
 * alone are counted. */
void totals_add_result(struct vm *vm, unsigned run, unsigned resets);

/* Prints the last lines of the report, when all VMs have been destroyed. With `shared`, several VMs
 * existed at a time; `counters` asks for the hypervisor's own. Returns the result of the run. */
enum exit_code totals_report(bool shared, bool counters);

/* Writes into the VM's report how much host memory it has taken for its RAM, and for everything
 * else, of which `own` pages describe the VM itself. */
void totals_report_memory(const struct vm *vm, uint64_t own);
