/* SPDX-License-Identifier: MIT */
/* The boot shim's C part, and what it takes from start.S or, in the hosted tests, from the test. */
#pragma once

#include "guest/shim/interface.h"
#include "guest/shim/tdcall.h"
#include "lib/compiler.h"

/* Supplied by start.S: jumps to a kernel's 64-bit entry point. */
NORETURN void shim_enter(uint64_t entry, uint64_t zero_page);

/* Called by start.S on vCPU 0, and after an exception on any vCPU. */
NORETURN void shim_main(const struct shim_parameters *parameters);
NORETURN void shim_trap(uint64_t vector, uint64_t error, uint64_t rip);
