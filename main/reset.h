/* SPDX-License-Identifier: MIT */
/*
 * What survives when a guest resets its VM and the VM starts anew (the word `reset=again`): what
 * its console has printed and counted, and the time that its vCPUs have left. The VM itself is
 * destroyed and created again from its modules, with the same memory promised to it. What was
 * written to its disks also survives; see devices_add_disk().
 */
#pragma once

#include "vm/vm.h"

struct reset_record {
    unsigned count; /* of resets */
    struct console console;
    uint64_t budget_left[VCPUS_MAX];
    uint64_t ticks; /* TSC ticks that the hypervisor has spent on the restart */
};

/* Called when all vCPUs of a VM that its guest has reset have stopped. */
void reset_keep(struct reset_record *record, const struct vm *vm);

/* Called when the VM has been created again. The time that this has taken is charged to vCPU 0, so
 * a guest that only resets its VM ends by its budget as well. */
void reset_restore(const struct reset_record *record, struct vm *vm);
