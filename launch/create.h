/* Making a VM from a boot module, and taking it apart. */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

struct options;
struct vm;

/* Builds VM `number` from a module: reads the words of its string, has the memory promised to it
 * that it can come to need, adds RAM and devices, loads the program and hands it the `extra`
 * modules that follow. Anything but EXIT_OK comes after a sentence, unless vm->put_off says that it
 * could be created when others have ended, which is refused, too, if it is `last_chance`; then
 * nothing is left to destroy. */
enum exit_code vm_create(struct vm *vm, unsigned number, const struct boot_module *module,
                         unsigned extra, const struct options *options,
                         bool last_chance) MUST_CHECK;
void vm_destroy(struct vm *vm);
