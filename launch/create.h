/* SPDX-License-Identifier: MIT */
/* Creates a VM from a boot module, and destroys it. */
#pragma once

#include "boot/boot_info.h"
#include "launch/loader.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

struct options;
struct vm;

/* The state of a VM's creation. The caller sets the fields before the blank line, and the others to
 * zero. */
struct vm_making {
    struct vm *vm;
    unsigned number;
    const struct boot_module *module;
    unsigned extra; /* number of modules after this one that belong to the guest */
    const struct options *options;
    bool last_chance; /* no other VM exists that could return memory */
    bool again;       /* the VM was destroyed to start anew: its memory is still promised to it */

    unsigned stage;
    bool exists;                              /* vm_destroy_piece() has something to free */
    struct guest_module files[GUEST_MODULES]; /* the modules that belong to the guest */
    uint64_t disk_pages;                      /* pages that the disks among them can need */
    struct guest_image image;
    struct guest_loading loading;
    struct guest_start start;
};

/* Executes the next piece of a VM's creation: parses the words of the module's string, reserves all
 * host memory that the VM can need, adds RAM and devices, loads the program with its modules, and
 * creates the vCPUs. A piece takes at most 50,000 instructions and leaves no VMCS current.
 *
 * Returns true if it was the last piece. Then *code is EXIT_OK, or the reason why the VM cannot be
 * created, which has been logged; if `making->exists`, the caller has to call vm_destroy_piece().
 * If too little memory is free, vm->put_off is set without a message, and the caller tries again
 * after another VM has ended; with `last_chance` no other VM exists, so an error is logged
 * instead. */
bool vm_make_piece(struct vm_making *making, enum exit_code *code) MUST_CHECK;

/* Frees a part of what vm_make_piece() has allocated, in at most 30,000 instructions. The last call
 * returns true; it also ends the reservation of memory, unless the VM starts anew (vm->again). No
 * vCPU of the VM may be running. */
bool vm_destroy_piece(struct vm *vm) MUST_CHECK;
