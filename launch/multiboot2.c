/* SPDX-License-Identifier: MIT */
/*
 * The loader of multiboot2 programs (Multiboot2 Specification 2.0, sections 3.1 and 3.3). A program
 * is an ELF file of either class, or lies in its file as the address tag of its header says.
 * launch/multiboot2_header.c reads the header, and launch/multiboot2_info.c writes the boot
 * information.
 */
#include "launch/loaders.h"
#include "launch/multiboot2.h"

#include "boot/boot_info.h"
#include "lib/bits.h"

#define ADDRESS_END BIT(32) /* the program starts with paging off, where addresses have 32 bits */

/* The program: the segments of an ELF file, or, with an address tag, one range of the file. */
struct program {
    struct elf_file elf;
    struct load_record range; /* if there is an address tag */
    uint64_t bottom, top;     /* of the addresses for which it was linked */
    uint64_t shift;           /* added to the addresses for which it was linked */
    uint64_t entry;           /* before `shift` is added */
};

bool multiboot2_recognise(const struct guest_image *image)
{
    uint64_t at;
    return (elf_is_64(image) || !multiboot_recognise(image)) && multiboot2_find_header(image, &at);
}

static enum exit_code check_address_tag(const struct guest_image *image,
                                        const struct multiboot2_request *request)
{
    const struct multiboot2_address *a = &request->address;
    const bool whole = a->load == MULTIBOOT2_WHOLE_FILE;
    if (!request->has_entry)
        REFUSE(MODULE_NOT_ELF, image,
               "its multiboot2 header has an address tag but no entry address tag");
    if (whole ? a->header < request->at : a->header < a->load || a->header - a->load > request->at)
        REFUSE(MODULE_NOT_ELF, image,
               "the address tag of its multiboot2 header has header_addr %#x and load_addr %#x, "
               "but the header lies at %#lx in the file",
               a->header, a->load, request->at);
    return EXIT_OK;
}

/* Computes the range of a program with an address tag: its text and data come from the file, and
 * zeros follow. */
static enum exit_code read_address_tag(const struct guest_image *image,
                                       const struct multiboot2_request *request,
                                       struct program *program)
{
    const struct multiboot2_address *a = &request->address;
    enum exit_code code = check_address_tag(image, request);
    if (code)
        return code;
    const uint64_t load =
        a->load == MULTIBOOT2_WHOLE_FILE ? a->header - request->at : (uint64_t)a->load;
    const uint64_t offset = request->at - (a->header - load);
    const uint64_t end = a->load_end ? a->load_end : load + (image->size - offset);
    const uint64_t top = a->bss_end ? a->bss_end : end;
    if (end < load || top < end)
        REFUSE(MODULE_NOT_ELF, image,
               "the address tag of its multiboot2 header has load_addr %#lx, load_end_addr %#lx "
               "and bss_end_addr %#lx, which must ascend",
               load, end, top);
    if (end - load > image->size - offset)
        REFUSE(MODULE_TRUNCATED, image,
               "its multiboot2 header needs bytes %#lx to %#lx of the file, which ends at %#lx",
               offset, offset + (end - load), image->size);
    program->range = (struct load_record){.gpa = load,
                                          .bytes = (const char *)image->file + offset,
                                          .size = end - load,
                                          .extent = top - load,
                                          .kind = LOAD_SEGMENT};
    program->bottom = load;
    program->top = top;
    return EXIT_OK;
}

static enum exit_code multiboot2_read_program(const struct guest_image *image,
                                              const struct multiboot2_request *request,
                                              struct program *program)
{
    memset(program, 0, sizeof(*program));
    enum exit_code code = EXIT_OK;
    if (request->has_address) {
        code = read_address_tag(image, request, program);
    } else if (!elf_recognise(image)) {
        REFUSE(MODULE_NOT_ELF, image,
               "its multiboot2 header has no address tag, and it is not an ELF file");
    } else {
        code = elf_open(image, &program->elf);
        if (!code)
            elf_bounds(image, &program->elf, &program->bottom, &program->top);
    }
    if (!code && program->bottom >= program->top)
        REFUSE(MODULE_NOT_ELF, image, "it has no contents to load");
    program->entry = request->has_entry ? request->entry : elf_entry(image, &program->elf);
    return code;
}

/* Returns true if the program can be placed at `base`, by its header's limits and those of RAM. */
static bool multiboot2_fits(const struct guest_image *image, const struct multiboot2_relocation *r,
                            uint64_t base, uint64_t size)
{
    return base >= GUEST_MIDDLE && base >= r->lowest && base + size - 1 <= r->highest &&
           !(base & (r->alignment - 1)) && image_in_ram(image, base, size);
}

/* Chooses the address of a program with a relocatable header tag: the lowest or the highest that
 * the tag permits, from 1 MiB on. A program without a preference stays where it was linked, if that
 * is permitted. */
static enum exit_code multiboot2_relocate(const struct guest_image *image,
                                          const struct multiboot2_relocation *r,
                                          struct program *program)
{
    const uint64_t size = program->top - program->bottom;
    uint64_t least = r->lowest < GUEST_MIDDLE ? GUEST_MIDDLE : r->lowest, base = program->bottom;
    uint64_t end = image_ram_end(image);
    if (end > (uint64_t)r->highest + 1)
        end = (uint64_t)r->highest + 1;
    if (r->preference == MULTIBOOT2_HIGHEST)
        base = end > size ? align_down(end - size, r->alignment) : 0;
    else if (r->preference == MULTIBOOT2_LOWEST || !multiboot2_fits(image, r, base, size))
        base = align_up(least, r->alignment);
    if (!multiboot2_fits(image, r, base, size))
        REFUSE(
            GUEST_TOO_LARGE, image,
            "no room for its %lu bytes, which its multiboot2 header requires aligned to %#x from "
            "%#x to %#x; its RAM ends at %#lx; give it more with mem=",
            size, r->alignment, r->lowest, r->highest, image_ram_end(image));
    program->shift = base - program->bottom;
    return EXIT_OK;
}

static enum exit_code multiboot2_plan_program(struct load_plan *plan,
                                              const struct guest_image *image,
                                              const struct multiboot2_request *request,
                                              struct program *program)
{
    if (!request->has_address) {
        program->elf.shift = program->shift;
        return elf_plan_segments(plan, image, &program->elf);
    }
    struct load_record *range = &program->range;
    range->gpa += program->shift;
    if (!image_in_ram(image, range->gpa, range->extent))
        REFUSE(GUEST_TOO_LARGE, image,
               "its program, %#lx to %#lx, does not fit into its RAM, which ends at %#lx; give it "
               "more with mem=",
               range->gpa, range->gpa + range->extent, image_ram_end(image));
    return plan_add(plan, image, *range);
}

enum exit_code multiboot2_plan(struct load_plan *plan, const struct guest_image *image)
{
    struct multiboot2_request request;
    struct program program;
    enum exit_code code = multiboot2_read_header(image, &request);
    if (!code)
        code = multiboot2_read_program(image, &request, &program);
    if (!code && request.relocatable)
        code = multiboot2_relocate(image, &request.relocation, &program);
    if (!code)
        code = multiboot2_plan_program(plan, image, &request, &program);
    if (code)
        return code;
    const uint64_t entry = program.entry + program.shift;
    if (program.top + program.shift > ADDRESS_END)
        REFUSE(GUEST_TOO_LARGE, image, "its program ends at %#lx, above 4 GiB",
               program.top + program.shift);
    if (!plan_contains(plan, entry))
        REFUSE(MODULE_NOT_ELF, image, "its entry point %#lx is outside of the loaded program",
               entry);
    plan->start.entry = entry;
    plan->start.magic = MULTIBOOT2_LOADER_MAGIC;
    return multiboot2_plan_info(plan, image, program.bottom + program.shift,
                                program.top + program.shift);
}
