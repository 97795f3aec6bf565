/* SPDX-License-Identifier: MIT */
/* The header of a multiboot2 program, and the boot information that it gets (Multiboot2
 * Specification 2.0, sections 3.1 and 3.6). Pure. */
#pragma once

#include "launch/plan.h"

#define MULTIBOOT2_WHOLE_FILE 0xffffffffu /* load_addr: the file is loaded from its beginning */
#define MULTIBOOT2_LOWEST     1u          /* preference of a relocatable program */
#define MULTIBOOT2_HIGHEST    2u

/* The fields of an address tag, in the order of the file. 0 in `load_end` means that the
 * rest of the file is loaded, and in `bss_end` that no zeros follow. */
struct multiboot2_address {
    uint32_t header, load, load_end, bss_end;
};

/* The fields of a relocatable header tag. `highest` is the address of the last byte that
 * the program may occupy. */
struct multiboot2_relocation {
    uint32_t lowest, highest, alignment, preference;
};

/* The contents of a header. */
struct multiboot2_request {
    uint64_t at; /* offset of the header in the file */
    bool has_address, has_entry, relocatable;
    uint32_t entry;
    struct multiboot2_address address;
    struct multiboot2_relocation relocation;
};

/* Returns true if the file has a multiboot2 header, and sets *at to its offset. Only the magic
 * number and the checksum are tested. */
bool multiboot2_find_header(const struct guest_image *image, uint64_t *at);

/* Reads the header of a file that has one. Fails with a message if the header is not valid, or
 * requires a feature that is not supported. */
enum exit_code multiboot2_read_header(const struct guest_image *image,
                                      struct multiboot2_request *request) MUST_CHECK;

/* Plans the boot information and the guest's modules after the program, which occupies the
 * addresses from `bottom` to `top`, or before it if there is no room after it. Sets
 * plan->start.info. */
enum exit_code multiboot2_plan_info(struct load_plan *plan, const struct guest_image *image,
                                    uint64_t bottom, uint64_t top) MUST_CHECK;
