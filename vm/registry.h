/* SPDX-License-Identifier: MIT */
/*
 * The VMs that exist, by their numbers, for code that looks at VMs from outside of their vCPUs: the
 * monitor and the debugger.
 *
 * A VM is in the registry from its start until all its vCPUs have left it. Whoever wants to use it
 * holds it meanwhile. A VM that ends, or is reset, while it is held leaves the registry at once but
 * is not taken apart: its memory, its vCPUs and its number stay what they are until the last holder
 * has released it. This delays the destruction, or the new start, of this VM alone. A holder asks
 * vm_ending() whether the VM still runs.
 *
 * Any pCPU may call these functions, with no other lock held but that of a watch (vm/watch.h). They
 * take a lock for a few instructions.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>

struct vm;

/* Holds the VM with this number. Returns NULL if there is no such VM now. */
struct vm *registry_hold(unsigned number) MUST_CHECK;

/* Holds the VM with the next higher number. Returns NULL if there is none; 0 begins with the
 * first. */
struct vm *registry_hold_next(unsigned after) MUST_CHECK;

/* Ends a hold. The VM may be gone when this returns. If the VM has left the registry and this was
 * the last hold, this pCPU takes it apart, as its own work. */
void registry_release(struct vm *vm);

/* Adds a VM that is about to start. */
void registry_add(struct vm *vm);

/* Removes a VM, whose vCPUs have all stopped, or which was never added. Calls `unused` when nobody
 * holds it: before this returns, or on the pCPU of the last registry_release(). */
void registry_remove(struct vm *vm, void (*unused)(struct vm *vm));
