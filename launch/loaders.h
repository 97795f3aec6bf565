/* SPDX-License-Identifier: MIT */
/*
 * The loaders, one for each file format. Each reads the files of `image`, adds records to the plan,
 * and sets plan->start. Any result but EXIT_OK has been logged with what is wrong with the file, or
 * with the size of the VM's RAM. Files are never trusted: every field is checked before it is used.
 * Pure.
 */
#pragma once

#include "launch/elf.h"

/* Recognise and plan a program in an ELF32 file with a multiboot1 header. */
bool multiboot_recognise(const struct guest_image *image);
enum exit_code multiboot_plan(struct load_plan *plan, const struct guest_image *image,
                              const struct elf_file *elf) MUST_CHECK;

/* Recognise and plan a program with a multiboot2 header, in an ELF file of either class or, with an
 * address tag, in any file. A file that multiboot_recognise() recognises, too, is a multiboot1
 * program. */
bool multiboot2_recognise(const struct guest_image *image);
enum exit_code multiboot2_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;

/* Plans a Linux kernel in an ELF64 file (vmlinux). It starts at its PVH entry point, or at its
 * 64-bit entry point with a zero page. */
enum exit_code vmlinux_plan(struct load_plan *plan, const struct guest_image *image,
                            const struct elf_file *elf) MUST_CHECK;

/* Recognise and plan a bzImage, the compressed Linux kernel that distributions install. */
bool bzimage_recognise(const struct guest_image *image);
enum exit_code bzimage_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;
