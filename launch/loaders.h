/* SPDX-License-Identifier: MIT */
/*
 * The loaders, one for each kind of file. Each reads the files of `image`, fills the plan with
 * records, and sets plan->start. Any result but EXIT_OK has been logged with what is wrong with the
 * file, or with the VM's memory. Pure. Files are never trusted: every field is checked before it is
 * used.
 */
#pragma once

#include "launch/elf.h"

/* An ELF32 file with a multiboot1 header, as a multiboot1 boot loader loads it. */
enum exit_code multiboot_plan(struct load_plan *plan, const struct guest_image *image,
                              const struct elf_file *elf) MUST_CHECK;

/* A Linux kernel as an ELF64 file (vmlinux). It starts at its PVH entry, or at its 64-bit entry
 * point with a zero page. */
enum exit_code vmlinux_plan(struct load_plan *plan, const struct guest_image *image,
                            const struct elf_file *elf) MUST_CHECK;

/* A Linux kernel in the compressed form that distributions install (bzImage). */
bool bzimage_recognise(const struct guest_image *image);
enum exit_code bzimage_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;
