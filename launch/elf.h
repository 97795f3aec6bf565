/* SPDX-License-Identifier: MIT */
/*
 * ELF files of both classes (System V ABI, chapters 4 and 5), as far as a loader needs them. Pure.
 * The file is untrusted: each offset is checked before anything is read from there.
 */
#pragma once

#include "launch/plan.h"

struct elf_file {
    bool is_64;
    uint64_t entry;
    uint64_t segments_offset; /* of the program headers in the file */
    unsigned segments;
    uint64_t shift; /* added to the physical addresses of all segments; elf_open() sets 0 */
};

#define ELF_LOAD 1u
#define ELF_NOTE 4u

/* A program header. */
struct elf_segment {
    uint32_t type;
    uint64_t offset, file_size;
    uint64_t address, memory_size; /* physical */
    uint64_t virtual_address;
};

/* Returns true if the file begins with ELF's magic number. */
bool elf_recognise(const struct guest_image *image);

/* Returns true if the class of an ELF file is ELFCLASS64. */
bool elf_is_64(const struct guest_image *image);

/* Reads the file's header. Any result but EXIT_OK has been logged. */
enum exit_code elf_open(const struct guest_image *image, struct elf_file *elf) MUST_CHECK;

struct elf_segment elf_segment(const struct guest_image *image, const struct elf_file *elf,
                               unsigned index);

/* Returns true if all bytes of the segment lie in the file. */
bool elf_segment_in_file(const struct guest_image *image, const struct elf_segment *segment);

/* Adds all segments that are loaded to the plan, at their physical addresses. Any result but
 * EXIT_OK has been logged. */
enum exit_code elf_plan_segments(struct load_plan *plan, const struct guest_image *image,
                                 const struct elf_file *elf) MUST_CHECK;

/* Computes the physical address at which the lowest of the segments that are loaded begins, and the
 * end of the highest one, which is at most UINT64_MAX. Both are 0 if there is no such segment. */
void elf_bounds(const struct guest_image *image, const struct elf_file *elf, uint64_t *bottom,
                uint64_t *top);

/* Returns the physical address of the entry point, which may be given as a virtual address of a
 * segment. `shift` is not added. */
uint64_t elf_entry(const struct guest_image *image, const struct elf_file *elf);
