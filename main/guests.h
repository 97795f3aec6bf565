/*
 * The boot modules, as VMs, and the account of how they ended. Every pCPU does the same: it starts
 * the next guest if another one may exist, runs a vCPU that waits for a pCPU, or is idle.
 */
#pragma once

#include "boot/boot_info.h"
#include "vm/options.h"
#include "lib/exit_codes.h"

/* Runs every guest among the modules and prints the results as KTAP with a summary. Returns the
 * code of the first failure, EXIT_WARNED if only a WARN was printed, EXIT_NO_GUESTS if there is
 * none. */
enum exit_code run_guests(const struct boot_info *info, const struct options *options);
