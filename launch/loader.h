/* SPDX-License-Identifier: MIT */
/*
 * Loads a guest's program into its VM's memory, with what the guest needs to know of its machine.
 * The file's contents decide which loader takes it (launch/loaders.h). Pure.
 */
#pragma once

#include "launch/plan.h"

/* Is a file of `size` bytes a Linux kernel, if it is good for anything? */
bool load_is_linux(const void *file, uint64_t size);

/* Fills the plan, ACPI tables included. Any result but EXIT_OK has been logged. */
enum exit_code load_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;

/* Loads the image and fills in `start`. Any result but EXIT_OK has been logged with what is wrong
 * with the file, or with the VM's or the host's memory. */
enum exit_code load_guest(struct mmu *mmu, const struct guest_image *image,
                          struct guest_start *start) MUST_CHECK;
