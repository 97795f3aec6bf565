/*
 * Puts a guest program into its VM's memory: an ELF32 file with a multiboot1 header, as a boot
 * loader would load it, and the multiboot information behind it.
 *
 * Pure: the file is only read, every field of it is checked, and all writes go through
 * guest_write().
 */
#pragma once

#include "vm/layout.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"
#include "mmu/mmu.h"

/* A file that a guest gets as a multiboot module of its own. */
struct guest_module {
    const void *file;
    uint64_t size;
    const char *string;
};

#define GUEST_MODULES 4

struct guest_image {
    const char *name; /* for the sentences */
    const void *file;
    uint64_t size;
    const char *arguments; /* the guest's command line */
    struct guest_range ram[GUEST_RAM_PIECES];
    struct guest_module modules[GUEST_MODULES];
    unsigned module_count;
};

/* Where a loaded guest starts: EIP, and EBX's multiboot information. */
struct guest_start {
    uint32_t entry;
    uint32_t info;
};

/* Loads the image. Anything but EXIT_OK comes after a sentence that says what is wrong with the
 * file. */
enum exit_code load_guest(struct mmu *mmu, const struct guest_image *image,
                          struct guest_start *start) MUST_CHECK;
