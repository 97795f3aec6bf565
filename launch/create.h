/* SPDX-License-Identifier: MIT */
/* Creates a VM from a boot module, and destroys it. */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

struct options;
struct vm;

/* Creates VM `number` from a module: parses the words of the module's string, reserves all host
 * memory that the VM can need, adds RAM and devices, loads the program, and passes it the `extra`
 * modules that follow. Returns EXIT_OK, or the reason why there is no VM; then nothing is left to
 * destroy. If too little memory is free, vm->put_off is set without a message, and the caller tries
 * again after other VMs have ended; with `last_chance` there are none, so this is an error like any
 * other and is logged. */
enum exit_code vm_create(struct vm *vm, unsigned number, const struct boot_module *module,
                         unsigned extra, const struct options *options,
                         bool last_chance) MUST_CHECK;
/* Frees everything that vm_create() allocated, and returns the reservation. No vCPU is running. */
void vm_destroy(struct vm *vm);
