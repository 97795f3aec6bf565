/* SPDX-License-Identifier: MIT */
#include "launch/elf.h"

struct elf32_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version, entry, program_offset, section_offset, flags;
    uint16_t header_size, program_size, program_count;
    uint16_t section_size, section_count, names;
};
_Static_assert(sizeof(struct elf32_header) == 52, "ELF32");

struct elf64_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_offset, section_offset;
    uint32_t flags;
    uint16_t header_size, program_size, program_count;
    uint16_t section_size, section_count, names;
};
_Static_assert(sizeof(struct elf64_header) == 64, "ELF64");

struct elf32_segment {
    uint32_t type, offset, virtual_address, physical_address;
    uint32_t file_size, memory_size, flags, alignment;
};
_Static_assert(sizeof(struct elf32_segment) == 32, "ELF32");

struct elf64_segment {
    uint32_t type, flags;
    uint64_t offset, virtual_address, physical_address;
    uint64_t file_size, memory_size, alignment;
};
_Static_assert(sizeof(struct elf64_segment) == 56, "ELF64");

#define IDENT_CLASS    4
#define IDENT_DATA     5
#define ELF_CLASS_32   1
#define ELF_CLASS_64   2
#define ELF_LITTLE     1
#define ELF_EXECUTABLE 2
#define ELF_386        3
#define ELF_X86_64     62
#define SEGMENTS_MAX   16u

static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};

bool elf_recognise(const struct guest_image *image)
{
    return image->size &&
           !memcmp(image->file, magic, image->size < sizeof(magic) ? image->size : sizeof(magic));
}

bool elf_is_64(const struct guest_image *image)
{
    return image->size > IDENT_CLASS && ((const uint8_t *)image->file)[IDENT_CLASS] == ELF_CLASS_64;
}

/* Reads the header of either class into the structure of the 64-bit one, as far as it is used. */
static void elf_read_header(const struct guest_image *image, struct elf64_header *elf)
{
    struct elf32_header narrow;
    if (elf_is_64(image)) {
        memcpy(elf, image->file, sizeof(*elf));
        return;
    }
    memcpy(&narrow, image->file, sizeof(narrow));
    *elf = (struct elf64_header){.type = narrow.type,
                                 .machine = narrow.machine,
                                 .entry = narrow.entry,
                                 .program_offset = narrow.program_offset,
                                 .program_size = narrow.program_size,
                                 .program_count = narrow.program_count};
    memcpy(elf->ident, narrow.ident, sizeof(elf->ident));
}

enum exit_code elf_open(const struct guest_image *image, struct elf_file *into)
{
    const bool wide = elf_is_64(image);
    const size_t header = wide ? sizeof(struct elf64_header) : sizeof(struct elf32_header);
    const size_t segment = wide ? sizeof(struct elf64_segment) : sizeof(struct elf32_segment);
    const unsigned machine = wide ? ELF_X86_64 : ELF_386;
    struct elf64_header elf;

    if (image->size < header)
        REFUSE(MODULE_TRUNCATED, image, "the ELF header needs %zu bytes; the module has %lu",
               header, image->size);
    elf_read_header(image, &elf);
    if (elf.ident[IDENT_DATA] != ELF_LITTLE)
        REFUSE(MODULE_NOT_ELF, image, "ELF data encoding %u; expected 1, little-endian",
               elf.ident[IDENT_DATA]);
    if ((!wide && elf.ident[IDENT_CLASS] != ELF_CLASS_32) || elf.machine != machine ||
        elf.type != ELF_EXECUTABLE)
        REFUSE(MODULE_NOT_ELF, image,
               "ELF class %u, type %u, machine %u; expected 1, 2, 3 (an ELF32 executable for the "
               "386) or 2, 2, 62 (an ELF64 executable for x86-64)",
               elf.ident[IDENT_CLASS], elf.type, elf.machine);
    if (elf.program_size != segment || elf.program_count > SEGMENTS_MAX)
        REFUSE(MODULE_NOT_ELF, image,
               "%u program headers of %u bytes; at most %u of %zu are supported", elf.program_count,
               elf.program_size, SEGMENTS_MAX, segment);
    if (elf.program_offset > image->size ||
        elf.program_count * segment > image->size - elf.program_offset)
        REFUSE(MODULE_TRUNCATED, image, "the program headers end beyond the module's %lu bytes",
               image->size);
    *into = (struct elf_file){wide, elf.entry, elf.program_offset, elf.program_count, 0};
    return EXIT_OK;
}

struct elf_segment elf_segment(const struct guest_image *image, const struct elf_file *elf,
                               unsigned index)
{
    const char *table = (const char *)image->file + elf->segments_offset;
    if (elf->is_64) {
        struct elf64_segment s;
        memcpy(&s, table + index * sizeof(s), sizeof(s));
        return (struct elf_segment){s.type,        s.offset,
                                    s.file_size,   s.physical_address + elf->shift,
                                    s.memory_size, s.virtual_address};
    }
    struct elf32_segment s;
    memcpy(&s, table + index * sizeof(s), sizeof(s));
    return (struct elf_segment){s.type,        s.offset,
                                s.file_size,   s.physical_address + elf->shift,
                                s.memory_size, s.virtual_address};
}

bool elf_segment_in_file(const struct guest_image *image, const struct elf_segment *segment)
{
    return segment->offset <= image->size && segment->file_size <= image->size - segment->offset;
}

static bool elf_is_loaded(const struct elf_segment *segment)
{
    return segment->type == ELF_LOAD && segment->memory_size;
}

static enum exit_code elf_check_segment(const struct guest_image *image,
                                        const struct elf_segment *segment)
{
    if (!elf_segment_in_file(image, segment))
        REFUSE(MODULE_TRUNCATED, image,
               "a segment needs bytes %#lx to %#lx of the file, which ends at %#lx",
               segment->offset, segment->offset + segment->file_size, image->size);
    if (segment->file_size > segment->memory_size)
        REFUSE(MODULE_NOT_ELF, image,
               "a segment has %#lx bytes in the file but only %#lx in memory", segment->file_size,
               segment->memory_size);
    if (!image_in_ram(image, segment->address, segment->memory_size))
        REFUSE(GUEST_TOO_LARGE, image,
               "its segment %#lx to %#lx does not fit into its RAM, which ends at %#lx; give it "
               "more with mem=",
               segment->address, segment->address + segment->memory_size, image_ram_end(image));
    return EXIT_OK;
}

/* Where two segments overlap, the contents would depend on the order of loading, so the file is
 * refused. */
static enum exit_code elf_check_overlap(const struct guest_image *image, const struct elf_file *elf,
                                        unsigned index)
{
    const struct elf_segment b = elf_segment(image, elf, index);
    uint64_t b_end = b.address + b.memory_size;
    for (unsigned i = 0; i < index; i++) {
        const struct elf_segment a = elf_segment(image, elf, i);
        uint64_t a_end = a.address + a.memory_size;
        if (elf_is_loaded(&a) && a.address < b_end && b.address < a_end)
            REFUSE(MODULE_NOT_ELF, image,
                   "its segments %u, %#lx to %#lx, and %u, %#lx to %#lx, overlap", i, a.address,
                   a_end, index, b.address, b_end);
    }
    return EXIT_OK;
}

enum exit_code elf_plan_segments(struct load_plan *plan, const struct guest_image *image,
                                 const struct elf_file *elf)
{
    enum exit_code code = EXIT_OK;
    for (unsigned i = 0; !code && i < elf->segments; i++) {
        const struct elf_segment segment = elf_segment(image, elf, i);
        if (!elf_is_loaded(&segment))
            continue;
        code = elf_check_overlap(image, elf, i);
        if (!code)
            code = elf_check_segment(image, &segment);
        if (!code)
            code =
                plan_add(plan, image,
                         (struct load_record){.gpa = segment.address,
                                              .bytes = (const char *)image->file + segment.offset,
                                              .size = segment.file_size,
                                              .extent = segment.memory_size,
                                              .kind = LOAD_SEGMENT});
    }
    return code;
}

void elf_bounds(const struct guest_image *image, const struct elf_file *elf, uint64_t *bottom,
                uint64_t *top)
{
    *bottom = *top = 0;
    for (unsigned i = 0; i < elf->segments; i++) {
        const struct elf_segment segment = elf_segment(image, elf, i);
        if (!elf_is_loaded(&segment))
            continue;
        const uint64_t end = segment.memory_size > UINT64_MAX - segment.address
                                 ? UINT64_MAX
                                 : segment.address + segment.memory_size;
        if (!*top || segment.address < *bottom)
            *bottom = segment.address;
        if (end > *top)
            *top = end;
    }
}

uint64_t elf_entry(const struct guest_image *image, const struct elf_file *elf)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        const struct elf_segment segment = elf_segment(image, elf, i);
        if (elf_is_loaded(&segment) && elf->entry >= segment.virtual_address &&
            elf->entry - segment.virtual_address < segment.memory_size)
            return elf->entry - segment.virtual_address + segment.address - elf->shift;
    }
    return elf->entry;
}
