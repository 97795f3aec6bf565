/* SPDX-License-Identifier: MIT */
/* The devices of a VM, and where they stand on its buses. */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Makes the buses of a VM that is being created, and adds the devices that its words ask for.
 * Returns 0 or an error of bus_add(). */
int devices_add(struct vm *vm) MUST_CHECK;

/* Adds a disk to a VM with `pc`, after devices_add(). The image stays the caller's and must outlive
 * the VM. Returns 0, or a negative errno after a message. */
int devices_add_disk(struct vm *vm, const void *image, uint64_t size, bool read_only) MUST_CHECK;

/* The pages that a VM's disk can come to need. */
uint64_t devices_disk_pages(uint64_t size, bool read_only);

/* Frees a piece of what devices have allocated, when no vCPU runs any more. Returns whether nothing
 * is left. */
bool devices_destroy_piece(struct vm *vm) MUST_CHECK;

/* From now on, until devices_stop(), devices are told what comes from outside of the VM.
 * devices_stop() does nothing for a VM that was not started. */
void devices_start(struct vm *vm);
void devices_stop(struct vm *vm);
