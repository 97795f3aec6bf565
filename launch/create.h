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
 * modules that follow. Returns EXIT_OK and sets *created. Otherwise, returns the reason why there
 * is no VM, after a message. If too little memory is free, and `put_off` is not NULL, *put_off is
 * set instead of a message, and the caller tries again after other VMs have ended. */
enum exit_code vm_create(struct vm **created, unsigned number, const struct boot_module *module,
                         unsigned extra, const struct options *options, bool *put_off) MUST_CHECK;

/* Frees the VM and everything that belongs to it, and returns its reservation. No vCPU is
 * running. */
void vm_destroy(struct vm *vm);
