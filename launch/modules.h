/* SPDX-License-Identifier: MIT */
/*
 * Checks where the boot loader put the modules. A module that overlaps another module or the
 * hypervisor's image, or that is not in RAM, was not loaded correctly: its contents are undefined,
 * and it is not touched. Pure.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

/* The physical address range of the hypervisor's image. */
struct image_place {
    uint64_t start, end;
};

/* Whether the module is a file of the guest before it: its string begins with a plus sign. */
bool module_belongs_to_guest(const struct boot_module *module);

/* Checks the guest's module at `index` and the `extra` modules after it, which belong to the guest.
 * Any result but EXIT_OK has been logged, with the name of the module. The address of an empty
 * module is not checked. */
enum exit_code modules_check(const struct boot_info *info, unsigned index, unsigned extra,
                             struct image_place image) MUST_CHECK;
