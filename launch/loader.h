/* SPDX-License-Identifier: MIT */
/*
 * Loads a guest's program into its VM's memory, together with its modules, boot parameters and ACPI
 * tables. The contents of the file determine the loader (launch/loaders.h). Pure.
 */
#pragma once

#include "launch/plan.h"

struct vm;

/* Returns true if the file, of `size` bytes, looks like a Linux kernel: if it is a bzImage or an
 * ELF64 file without a multiboot2 header. The loader may still refuse it. */
bool load_is_linux(const void *file, uint64_t size);

/* Initialises and fills the plan, including the ACPI tables. Any result but EXIT_OK has been
 * logged. */
enum exit_code load_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;

/* The progress of loading an image; all zero before the first piece. */
struct guest_loading {
    struct load_plan *plan; /* NULL before the first piece */
    unsigned index;         /* the record that is being copied; not used for a TD */
    uint64_t done;          /* bytes of this record that have been copied; of a TD: the first frame
                             * that has not been added */
};

/* Puts the next piece of loading->plan into the VM. Returns true if that was the last one, or if it
 * has failed, logged an error and set *code. */
typedef bool load_piece(struct vm *vm, const struct guest_image *image,
                        struct guest_loading *loading, enum exit_code *code);

/* Loads the next piece of the image by `put`. Called with *code == EXIT_OK.
 * Returns true if loading is over. Either it has succeeded, and *start is filled in, or it has
 * failed: *code says why, and a message has been logged. It fails if the file is not valid, or if
 * the VM or the host has too little memory. */
bool load_guest_piece(load_piece *put, struct vm *vm, const struct guest_image *image,
                      struct guest_loading *loading, struct guest_start *start,
                      enum exit_code *code) MUST_CHECK;
