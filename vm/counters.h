/* SPDX-License-Identifier: MIT */
/* The counters of a VM (rule N9): the values of COUNTER_ in guest/abi.h, for HC_COUNTER and for the
 * VM's report. */
#pragma once

#include "guest/abi.h"
#include "lib/types.h"

struct vcpu;
struct vm;

/* The number of exits so far, for all reasons: of one vCPU, and of all vCPUs of a VM. */
uint64_t vcpu_exit_count(const struct vcpu *vcpu);
uint64_t vm_exit_count(const struct vm *vm);

/* The name of a counter, as reports show it. */
const char *counter_name(unsigned counter);

void counters_read(const struct vcpu *vcpu, uint64_t values[COUNTER_COUNT]);

/* Prints all counters, in a few lines. */
void counters_report(const struct vm *vm);

/* Prints what the VM did, for the user of a guest that did not end: which exits its vCPUs made most
 * often, and which addresses and ports it accessed most often although no device is there, which is
 * what a guest does that waits for a missing device. */
void activity_report(const struct vm *vm);
