/*
 * Where the boot loader put the modules. A module that shares bytes with another one or with the
 * image, or that is not in RAM, was loaded wrongly; what is in it is anyone's guess, and it must
 * not be touched. Pure.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

/* The image's place: physical addresses. */
struct image_place {
    uint64_t start, end;
};

/* A module whose string begins with a plus sign belongs to the guest before it. */
bool module_belongs_to_guest(const struct boot_module *module);

/* Looks at the guest's module at `index` and at the `extra` ones behind it, which belong to it.
 * Anything but EXIT_OK comes after a sentence that names the module. An empty one lies nowhere, so
 * its place does not matter. */
enum exit_code modules_check(const struct boot_info *info, unsigned index, unsigned extra,
                             struct image_place image) MUST_CHECK;
