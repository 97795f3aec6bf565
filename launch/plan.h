/* SPDX-License-Identifier: MIT */
/*
 * What a loader wants in the guest's memory: a list of records, each a range of guest-physical
 * addresses with its contents. A loader reads the guest's files and writes only the list;
 * plan_copy() writes the guest's memory, so nothing is there of a file that is refused. A VM whose
 * memory cannot be written from outside would add the same records as pages. Pure.
 */
#pragma once

#include "launch/image.h"
#include "lib/compiler.h"
#include "mmu/mmu.h"

enum load_kind {
    LOAD_SEGMENT,    /* of the guest's program */
    LOAD_INITRD,     /* a Linux kernel's initial file system */
    LOAD_MODULE,     /* another file of the guest */
    LOAD_PARAMETERS, /* what the loader tells the guest, with the command line */
    LOAD_FIRMWARE,   /* ACPI tables */
};

struct load_record {
    uint64_t gpa;
    const void *bytes;
    uint64_t size;   /* of `bytes` */
    uint64_t extent; /* of the range; what `size` leaves of it is zero */
    enum load_kind kind;
    bool measured; /* it belongs to the identity of the guest */
};

#define LOAD_RECORDS 32u
#define LOAD_BLOCK   (5 * PAGE_SIZE)

struct load_plan {
    uint8_t block[LOAD_BLOCK]; /* the contents of the LOAD_PARAMETERS record */
    uint8_t firmware[PAGE_SIZE];
    struct load_record records[LOAD_RECORDS];
    unsigned count;
    struct guest_start start;
} PAGE_ALIGNED;

/* Empties the plan. */
void plan_init(struct load_plan *plan);

/* Adds a record, whose `measured` follows from its kind. The range must lie in the image's RAM or
 * BIOS area, which the loader has checked. Fails with a message that names both ranges if it
 * overlaps another record. */
enum exit_code plan_add(struct load_plan *plan, const struct guest_image *image,
                        struct load_record record) MUST_CHECK;

/* Writes the next piece of the records into the memory of the image's VM: from byte `*done` of
 * record `*index` on, both of which are 0 at first. True: that was the last piece. A piece takes at
 * most 40,000 instructions. Sets *code after a message if the host has no memory for it. */
bool plan_copy_piece(struct mmu *mmu, const struct guest_image *image, const struct load_plan *plan,
                     unsigned *index, uint64_t *done, enum exit_code *code) MUST_CHECK;
