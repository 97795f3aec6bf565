/* SPDX-License-Identifier: MIT */
/* Creates a VM from a boot module, and destroys it. */
#pragma once

#include "boot/boot_info.h"
#include "launch/loader.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

struct options;
struct vm;

/* A VM that is being made, and how far it is. The caller fills in the first part, and leaves the
 * rest all zero. */
struct vm_making {
    struct vm *vm;
    unsigned number;
    const struct boot_module *module;
    unsigned extra; /* modules behind this one, for the guest */
    const struct options *options;
    bool last_chance; /* no other VM exists that could return memory */

    unsigned stage;
    bool exists; /* there is something that vm_destroy_piece() has to free */
    struct guest_module files[GUEST_MODULES]; /* the modules behind this one */
    uint64_t disk_pages;                      /* that the disks among them can need */
    struct guest_image image;
    struct guest_loading loading;
    struct guest_start start;
};

/* Makes the next piece of a VM from a module: parses the words of the module's string, reserves all
 * host memory that the VM can need, adds RAM and devices, loads the program with its modules, and
 * creates the vCPUs. A piece takes at most 50,000 instructions, and leaves no VMCS current. Returns
 * whether it was the last one: then *code is EXIT_OK, or says why there is no VM, and what
 * `making->exists` says is left to be destroyed. If too little memory is free, vm->put_off is set
 * without a message, and the caller tries again after other VMs have ended; with `last_chance` there
 * are none, so this is an error like any other and is logged. */
bool vm_make_piece(struct vm_making *making, enum exit_code *code) MUST_CHECK;

/* Frees a piece of what vm_make_piece() has allocated, of at most 30,000 instructions; with the
 * last one the reservation, too. Returns whether it was that. No vCPU is running. */
bool vm_destroy_piece(struct vm *vm) MUST_CHECK;
