/* SPDX-License-Identifier: MIT */
/*
 * The boot loader's modules: which of them belong to a guest, what they are used for, and whether
 * their addresses are valid. A module that overlaps another module or the hypervisor's image, or
 * that is not in RAM, was not loaded correctly: its contents are undefined, and it is not used.
 * Pure.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "launch/image.h"
#include "lib/exit_codes.h"
#include "vm/vm.h"

/* The physical address range of the hypervisor's image. */
struct image_place {
    uint64_t start, end;
};

/* Returns true if the module belongs to the guest before it: its string begins with a plus sign. */
bool module_belongs_to_guest(const struct boot_module *module);

/* Sets `name` to the name of the module's VM. The first word of a module's string is a file name or
 * path, and the VM is named after the last component of the path without `.elf`. Returns the rest
 * of the string. */
const char *module_name(const struct boot_module *module, char name[VM_NAME_SIZE]);

/* Parses the string of a module that belongs to a guest, `+NAME[ word...][ -- text]`. Sets
 * file->kind by the word, and file->string to NAME and the text. Returns 0, or -EINVAL after a
 * message that names the VM and the module. */
int module_words_parse(const char *vm, const char *string, struct guest_module *file) MUST_CHECK;

/* Checks the guest's module at `index` and the `extra` modules after it, which belong to the guest.
 * Any result but EXIT_OK has been logged, with the name of the module. The address of an empty
 * module is not checked. */
enum exit_code modules_check(const struct boot_info *info, unsigned index, unsigned extra,
                             struct image_place image) MUST_CHECK;

/* Does the name of a guest match the pattern, which is the value of `word` on the command line?
 * Returns false after a message that names the guests. Without any guest, returns true. */
bool modules_have_name(const struct boot_info *info, const char *word,
                       const char *pattern) MUST_CHECK;

/* Writes the names of the guests, as many as NAME_LIST_MAX allows. */
void modules_list_guests(const struct boot_info *info, char *text, size_t size);

/* Returns the number of the guest, from 1, that has this number or name, or 0 if there is none. */
unsigned module_find_guest(const struct boot_info *info, const char *which) MUST_CHECK;
