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

/* How far an image is loaded; all zero before the first piece. */
struct guest_loading {
    struct load_plan *plan; /* NULL: there is none yet */
    unsigned index;         /* of the record that is copied */
    uint64_t done;          /* bytes of it */
};

/* Loads the next piece of the image, of at most 40,000 instructions. True: that was the last one,
 * and `start` is filled in; or it has failed, and *code, which was EXIT_OK before, says why. That
 * has been logged with what is wrong with the file, or with the VM's or the host's memory. */
bool load_guest_piece(struct mmu *mmu, const struct guest_image *image,
                      struct guest_loading *loading, struct guest_start *start,
                      enum exit_code *code) MUST_CHECK;
