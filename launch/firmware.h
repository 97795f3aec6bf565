/* SPDX-License-Identifier: MIT */
/*
 * The VM's firmware: ACPI tables that list its CPUs and, in a VM with `pc`, its devices. They lie
 * in one page of RAM in the BIOS area, where a guest looks for them. Pure.
 */
#pragma once

#include "launch/plan.h"

/* Adds the tables to the plan, for the image's CPUs. */
enum exit_code firmware_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;
