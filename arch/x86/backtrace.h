/* SPDX-License-Identifier: MIT */
/* Backtraces, from the frame pointers and the symbol table that the build links into the image. */
#pragma once

#include "lib/types.h"

/* Prints `rip` and the return addresses of the frames from `rbp` upwards, each as
 * function+offset. */
void backtrace(uint64_t rip, uint64_t rbp);

/* Returns the name of the function that contains `address` and the address's offset in it, or NULL
 * if the address is not in the hypervisor's code. */
const char *symbol_at(uint64_t address, uint64_t *offset);
