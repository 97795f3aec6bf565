/* SPDX-License-Identifier: MIT */
/*
 * Runs the boot modules as VMs and reports how each one ended. All pCPUs run the same loop: create
 * the next VM if another one may exist, else run a vCPU that waits for a pCPU, else print queued
 * text, else sleep.
 */
#pragma once

#include "boot/boot_info.h"
#include "vm/options.h"
#include "lib/exit_codes.h"

/* Runs every guest among the modules and prints the results as KTAP with a summary. Returns the
 * exit code of the first guest that failed, EXIT_WARNED if none failed but a WARN was printed,
 * EXIT_NO_GUESTS if there is no guest, unless the report was asked for, and EXIT_OK
 * otherwise. */
enum exit_code run_guests(const struct boot_info *info, const struct options *options);
