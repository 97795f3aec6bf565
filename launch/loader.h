/* SPDX-License-Identifier: MIT */
/*
 * Loads a guest program, an ELF32 file with a multiboot1 header, into its VM's memory as a
 * multiboot1 boot loader would, and writes the multiboot information behind it.
 *
 * Pure. The file is never trusted: every field is checked before it is used, and all writes to
 * guest memory go through guest_write().
 */
#pragma once

#include "vm/layout.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"
#include "mmu/mmu.h"

/* A file that is passed to the guest as a multiboot module. */
struct guest_module {
    const void *file;
    uint64_t size;
    const char *string;
};

#define GUEST_MODULES 4

struct guest_image {
    const char *name; /* of the VM, for messages */
    const void *file;
    uint64_t size;         /* of the file, in bytes */
    const char *arguments; /* the guest's command line */
    struct guest_range ram[GUEST_RAM_PIECES];
    struct guest_module modules[GUEST_MODULES];
    unsigned module_count;
};

/* How to start a loaded guest. */
struct guest_start {
    uint32_t entry; /* initial EIP */
    uint32_t info;  /* initial EBX: address of the multiboot information */
};

/* How far an image is loaded; all zero before the first piece. */
struct guest_loading {
    enum { LOAD_CHECKS, LOAD_SEGMENTS, LOAD_MODULES, LOAD_INFO } stage;
    unsigned index;                  /* of the segment or module */
    uint64_t done;                   /* bytes of it */
    uint64_t top;                    /* behind all that is there already */
    uint32_t info;                   /* address of the multiboot information */
    uint32_t modules[GUEST_MODULES]; /* addresses of the modules */
};

/* Loads the next piece of the image, of at most 40,000 instructions. True: that was the last one,
 * and `start` is filled in; or it has failed, and *code, which was EXIT_OK before, says why. That
 * has been logged with what is wrong with the file, or with the VM's memory. */
bool load_guest_piece(struct mmu *mmu, const struct guest_image *image,
                      struct guest_loading *loading, struct guest_start *start,
                      enum exit_code *code) MUST_CHECK;
