/* SPDX-License-Identifier: MIT */
/* What the loaders of both versions of multiboot have in common. Pure. */
#pragma once

#include "launch/plan.h"

#define MULTIBOOT_LOADER    "eptvisor" /* the boot loader's name in the boot information */
#define MULTIBOOT_ARGUMENTS 1024       /* room for the command line, with its terminating zero */

/* Plans the guest's modules from `top` on, each at the beginning of a page, and sets starts[i] to
 * the address of module i. Fails with a message that names the module if there is no room. */
enum exit_code multiboot_plan_modules(struct load_plan *plan, const struct guest_image *image,
                                      uint64_t top, uint64_t starts[GUEST_MODULES]) MUST_CHECK;
