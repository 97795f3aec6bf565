/* SPDX-License-Identifier: MIT */
/*
 * What a PC's BIOS leaves in memory for programs that know no ACPI, in a VM with `legacy`: the BIOS
 * data area, and the tables of the MultiProcessor Specification 1.4. Pure.
 */
#pragma once

#include "launch/plan.h"

/* Adds both to the plan. Returns EXIT_OK, or an error that has been logged. */
enum exit_code bios_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;
