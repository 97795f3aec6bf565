/* SPDX-License-Identifier: MIT */
/*
 * The VM's firmware. It consists of ACPI tables, which list the CPUs and, in a VM with `pc`, the
 * devices, and lie in one page of RAM in the BIOS area, where guests search for the RSDP. A VM with
 * `pc` has code at F000:FFF0, too, which resets the VM. Pure.
 */
#pragma once

#include "arch/x86/acpi.h"
#include "launch/plan.h"

/* Adds the tables, and the code, for the image's VM to the plan. Returns EXIT_OK, or an error that
 * has been logged. */
enum exit_code firmware_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;

/* Writes a copy of the RSDP of any VM, which lies at GUEST_FIRMWARE. */
void firmware_rsdp(struct acpi_rsdp *rsdp);
