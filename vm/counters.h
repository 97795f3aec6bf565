/* SPDX-License-Identifier: MIT */
/* The counters of a VM (rule N9): COUNTER_ of guest/abi.h, for HC_COUNTER and for its report. */
#pragma once

#include "guest/abi.h"
#include "lib/types.h"

struct vcpu;
struct vm;

/* Exits so far, for all reasons: of a vCPU, and of all vCPUs of a VM. */
uint64_t vcpu_exit_count(const struct vcpu *vcpu);
uint64_t vm_exit_count(const struct vm *vm);

void counters_read(const struct vcpu *vcpu, uint64_t values[COUNTER_COUNT]);

/* All of them, a few lines. */
void counters_report(const struct vm *vm);
