/* SPDX-License-Identifier: MIT */
/*
 * A load plan: the initial contents of the guest's memory, as a list of records, each of which is a
 * range of guest-physical addresses and its contents. A loader reads the guest's files and writes
 * only the plan; plan_copy_piece() writes the guest's memory. So a file that is refused leaves
 * nothing in memory, and the same plan serves a TD, whose memory the hypervisor cannot write and
 * which gets the records as pages (launch/td_plan.h). Pure.
 */
#pragma once

#include "guest/shim/interface.h"
#include "launch/image.h"
#include "lib/compiler.h"
#include "mmu/mmu.h"

enum load_kind {
    LOAD_SEGMENT,    /* of the guest's program */
    LOAD_INITRD,     /* a Linux kernel's initial file system */
    LOAD_MODULE,     /* another file of the guest */
    LOAD_PARAMETERS, /* boot information, with the command line */
    LOAD_FIRMWARE,   /* ACPI tables */
    LOAD_RESET,      /* the code at a PC's reset vector */
    LOAD_BIOS,       /* the BIOS data area, and tables of the MultiProcessor Specification */
    LOAD_SHIM,       /* the boot shim of a TD, with its parameters */
};

struct load_record {
    uint64_t gpa;
    const void *bytes;
    uint64_t size;   /* of `bytes` */
    uint64_t extent; /* of the range in bytes; the part after `size` is zero */
    enum load_kind kind;
    bool measured; /* the contents are part of the guest's identity */
};

/* A program has at most 16 segments. The boot parameters, the ACPI tables and the code at the
 * reset vector or the parameters of the boot shim are a record each. The boot shim is two, and what
 * a BIOS leaves is three. */
#define LOAD_RECORDS (16u + GUEST_MODULES + 8u)
#define LOAD_BLOCK   (5 * PAGE_SIZE)

struct load_plan {
    uint8_t block[LOAD_BLOCK]; /* the contents of the LOAD_PARAMETERS record */
    uint8_t firmware[PAGE_SIZE];
    uint8_t bios[PAGE_SIZE];
    uint8_t page[PAGE_SIZE]; /* a page of a TD's image that several records share */
    struct shim_parameters shim;
    struct load_record records[LOAD_RECORDS];
    unsigned count;
    struct guest_start start;
} PAGE_ALIGNED;

void plan_init(struct load_plan *plan);

/* Adds a record, and sets its `measured` by its kind. The caller has checked that the range lies in
 * the image's RAM or in the BIOS area. Fails with a message that names both ranges if the range
 * overlaps another record. */
enum exit_code plan_add(struct load_plan *plan, const struct guest_image *image,
                        struct load_record record) MUST_CHECK;

/* Returns true if the address lies in a record of the plan. */
bool plan_contains(const struct load_plan *plan, uint64_t address);

/* Adds the first `size` bytes of the plan's block, which are the boot parameters, at `gpa`. */
enum exit_code plan_add_block(struct load_plan *plan, const struct guest_image *image, uint64_t gpa,
                              uint64_t size) MUST_CHECK;

/* Writes the next piece of the plan into the memory of the image's VM, in at most 40,000
 * instructions. It begins at byte *done of record *index, both of which are 0 before the first
 * piece, and advances them. Returns true if that was the last piece. If the host has no memory for
 * the piece, logs an error and sets *code. */
bool plan_copy_piece(struct mmu *mmu, const struct guest_image *image, const struct load_plan *plan,
                     unsigned *index, uint64_t *done, enum exit_code *code) MUST_CHECK;
