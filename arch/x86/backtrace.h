/* Who called whom, by frame pointers and the symbol table that the build links into the image. */
#pragma once

#include "lib/types.h"

/* Prints `rip` and the return addresses above the frame at `rbp`, each as function+offset. */
void backtrace(uint64_t rip, uint64_t rbp);
