/* SPDX-License-Identifier: MIT */
/*
 * What a PC's BIOS leaves in memory for programs that know no ACPI, in a VM with `legacy`: the BIOS
 * data area, the tables of the MultiProcessor Specification 1.4, and the vectors of real mode. A
 * call of the BIOS by any of these fails: it returns with CF set and 0x86, "no such function", in
 * AH. Pure.
 */
#pragma once

#include "launch/plan.h"

/* Adds all of it to the plan. Returns EXIT_OK, or an error that has been logged. */
enum exit_code bios_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;
