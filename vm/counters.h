/* The counters of a VM (rule N9): COUNTER_ of guest/abi.h, for HC_COUNTER and for its report. */
#pragma once

#include "guest/abi.h"
#include "vm/vm.h"

void counters_read(const struct vcpu *vcpu, uint64_t values[COUNTER_COUNT]);

/* All of them, a few lines. */
void counters_report(const struct vm *vm);
