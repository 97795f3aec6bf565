/* Who called whom, by frame pointers and the symbol table that the build links into the image. */
#pragma once

#include "lib/types.h"

/* Prints `rip` and the return addresses above the frame at `rbp`, each as function+offset. */
void backtrace(uint64_t rip, uint64_t rbp);

/* The function in which an address lies, and how far; NULL: it is no code of ours. */
const char *symbol_at(uint64_t address, uint64_t *offset);
