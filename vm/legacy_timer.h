/* SPDX-License-Identifier: MIT */
/*
 * The interrupt of the PIT (dev/pit.h) in a VM with `legacy`. The first vCPU watches for the next
 * rise of its output, which is a deadline of its own (vcpu->pit_at), but only while somebody would
 * notice. While that vCPU waits for a start-up IPI, the PIT does not interrupt.
 */
#pragma once

#include "lib/types.h"

#include <stdbool.h>

struct vcpu;
struct vm;

/* Raises the PIT's line if it is time, and sets the vCPU's deadline. Called on the pCPU that runs
 * the VM's first vCPU. */
void legacy_timer_look(struct vcpu *vcpu);

/* Returns true if the 8259 or the I/O APIC would notice the next rise. */
bool legacy_timer_is_heard(struct vm *vm);
