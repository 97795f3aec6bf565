/* SPDX-License-Identifier: MIT */
#include "launch/loader.h"

#include "boot/boot_info.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* ELF32 (System V ABI, chapter 4). */
struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version, entry, program_offset, section_offset, flags;
    uint16_t header_size, program_size, program_count;
    uint16_t section_size, section_count, names;
};
_Static_assert(sizeof(struct elf_header) == 52, "ELF32");

struct elf_segment {
    uint32_t type, offset, virtual_address, physical_address;
    uint32_t file_size, memory_size, flags, alignment;
};
_Static_assert(sizeof(struct elf_segment) == 32, "ELF32");

#define ELF_CLASS_32   1
#define ELF_LITTLE     1
#define ELF_EXECUTABLE 2
#define ELF_386        3
#define ELF_LOAD       1
#define SEGMENTS_MAX   16

/* Multiboot1 (Multiboot Specification 0.6.96, sections 3.1 and 3.3). */
#define HEADER_MAGIC  0x1badb002u
#define HEADER_SEARCH 8192u
#define HEADER_REFUSE 0xfffcu /* bits 2 to 15: required features that are not supported */
#define INFO_FLAGS    (BIT(0) | BIT(2) | BIT(3) | BIT(6) | BIT(9))
#define ARGUMENTS_MAX 1024
#define MAP_AVAILABLE 1
#define MAP_RESERVED  2

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
    uint32_t module_count, modules, symbols[4];
    uint32_t map_length, map;
    uint32_t drives_length, drives, config_table, loader_name;
};

struct map_entry {
    uint32_t size;
    uint64_t base, length;
    uint32_t kind;
} __attribute__((packed));

struct module_entry {
    uint32_t start, end, string, reserved;
};

#define MODULE_STRING_MAX 64

/* The multiboot information, on the first page boundary after the program. The guest's modules
 * follow it, each from a page boundary on. */
struct info_block {
    struct multiboot_info info;
    struct module_entry modules[GUEST_MODULES];
    char module_strings[GUEST_MODULES][MODULE_STRING_MAX];
    struct map_entry map[GUEST_RAM_PIECES + 1];
    char loader[16];
    char arguments[ARGUMENTS_MAX];
};

#define REFUSE(code, image, ...)                           \
    do {                                                   \
        char message[160];                                 \
        snprintf(message, sizeof(message), __VA_ARGS__);   \
        log_error("guest %s: %s", (image)->name, message); \
        return EXIT_##code;                                \
    } while (0)

static bool image_in_ram(const struct guest_image *image, uint64_t base, uint64_t size)
{
    for (unsigned i = 0; i < GUEST_RAM_PIECES; i++) {
        const struct guest_range *ram = &image->ram[i];
        if (base >= ram->base.v && size <= ram->size && base - ram->base.v <= ram->size - size)
            return true;
    }
    return false;
}

static enum exit_code check_header(const struct guest_image *image, const struct elf_header *elf)
{
    static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};

    if (!image->size)
        REFUSE(MODULE_EMPTY, image, "the module is empty");
    if (image->size < sizeof(*elf) &&
        !memcmp(image->file, magic, image->size < 4 ? image->size : 4))
        REFUSE(MODULE_TRUNCATED, image, "the ELF header needs %zu bytes; the module has %lu",
               sizeof(*elf), image->size);
    if (image->size < sizeof(*elf) || memcmp(elf->ident, magic, 4))
        REFUSE(MODULE_NOT_ELF, image,
               "not an ELF file; a guest is an ELF32 file with a multiboot1 header");
    if (elf->ident[5] != ELF_LITTLE)
        REFUSE(MODULE_NOT_ELF, image, "ELF data encoding %u; expected 1, little-endian",
               elf->ident[5]);
    if (elf->ident[4] != ELF_CLASS_32 || elf->machine != ELF_386 || elf->type != ELF_EXECUTABLE)
        REFUSE(MODULE_NOT_ELF, image,
               "ELF class %u, type %u, machine %u; expected 1, 2, 3 (an ELF32 executable for the "
               "386; objcopy -O elf32-i386 makes one)",
               elf->ident[4], elf->type, elf->machine);
    if (elf->program_size != sizeof(struct elf_segment) || elf->program_count > SEGMENTS_MAX)
        REFUSE(MODULE_NOT_ELF, image,
               "%u program headers of %u bytes; at most %d of %zu are supported",
               elf->program_count, elf->program_size, SEGMENTS_MAX, sizeof(struct elf_segment));
    if (elf->program_offset > image->size ||
        elf->program_count * sizeof(struct elf_segment) > image->size - elf->program_offset)
        REFUSE(MODULE_TRUNCATED, image, "the program headers end beyond the module's %lu bytes",
               image->size);
    return EXIT_OK;
}

static enum exit_code check_multiboot(const struct guest_image *image)
{
    uint64_t end = image->size < HEADER_SEARCH ? image->size : HEADER_SEARCH;
    for (uint64_t at = 0; at + 12 <= end; at += 4) {
        uint32_t header[3]; /* magic, flags, checksum */
        memcpy(header, (const char *)image->file + at, sizeof(header));
        if (header[0] != HEADER_MAGIC || header[0] + header[1] + header[2])
            continue;
        if (header[1] & HEADER_REFUSE)
            REFUSE(MODULE_NOT_ELF, image,
                   "its multiboot1 header requires flags %#x, which are not supported",
                   header[1] & HEADER_REFUSE);
        return EXIT_OK;
    }
    REFUSE(MODULE_NOT_ELF, image, "no multiboot1 header in its first %u bytes", HEADER_SEARCH);
}

static struct elf_segment segment_at(const struct guest_image *image, const struct elf_header *elf,
                                     unsigned index)
{
    struct elf_segment segment;
    memcpy(&segment, (const char *)image->file + elf->program_offset + index * sizeof(segment),
           sizeof(segment));
    return segment;
}

static bool is_loaded(const struct elf_segment *segment)
{
    return segment->type == ELF_LOAD && segment->memory_size;
}

/* Where two segments overlap, the contents would depend on the order of loading, so the file is
 * refused. */
static enum exit_code check_segments_overlap(const struct guest_image *image,
                                             const struct elf_header *elf)
{
    for (unsigned i = 0; i < elf->program_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            const struct elf_segment a = segment_at(image, elf, j), b = segment_at(image, elf, i);
            uint64_t a_start = a.physical_address, a_end = a_start + a.memory_size;
            uint64_t b_start = b.physical_address, b_end = b_start + b.memory_size;
            if (is_loaded(&a) && is_loaded(&b) && a_start < b_end && b_start < a_end)
                REFUSE(MODULE_NOT_ELF, image,
                       "its segments %u, %#lx to %#lx, and %u, %#lx to %#lx, overlap", j, a_start,
                       a_end, i, b_start, b_end);
        }
    }
    return EXIT_OK;
}

/* So many bytes are copied in a piece. */
#define PIECE 32768u

/* Writes the next piece of [base, base + size): the file's bytes, then zeros. -EINPROGRESS: it is
 * not the last one; `*done` bytes have been written. */
static int write_piece(struct mmu *mmu, uint64_t base, const void *file, uint64_t filled,
                       uint64_t size, uint64_t *done)
{
    static const char zeros[512];
    uint64_t end = size - *done < PIECE ? size : *done + PIECE;
    while (*done < end) {
        bool zero = *done >= filled;
        uint64_t left = (zero || end < filled ? end : filled) - *done;
        if (zero && left > sizeof(zeros))
            left = sizeof(zeros);
        int error =
            guest_write(mmu, GPA(base + *done), zero ? zeros : (const char *)file + *done, left);
        if (error)
            return error;
        *done += left;
    }
    return end < size ? -EINPROGRESS : 0;
}

static enum exit_code check_segment(const struct guest_image *image,
                                    const struct elf_segment *segment)
{
    uint64_t base = segment->physical_address;
    if (segment->offset > image->size || segment->file_size > image->size - segment->offset)
        REFUSE(MODULE_TRUNCATED, image,
               "a segment needs bytes %#x to %#lx of the file, which ends at %#lx", segment->offset,
               (uint64_t)segment->offset + segment->file_size, image->size);
    if (segment->file_size > segment->memory_size)
        REFUSE(MODULE_NOT_ELF, image, "a segment has %#x bytes in the file but only %#x in memory",
               segment->file_size, segment->memory_size);
    if (!image_in_ram(image, base, segment->memory_size))
        REFUSE(
            GUEST_TOO_LARGE, image,
            "its segment %#lx to %#lx does not fit into its RAM, which ends at %#lx; give it more "
            "with mem=",
            base, base + segment->memory_size, image->ram[1].base.v + image->ram[1].size);
    return EXIT_OK;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* What follows the last piece of a range, and the next one begins with. */
static void next_range(struct guest_loading *l, uint64_t end)
{
    l->top = end > l->top ? end : l->top;
    l->done = 0;
    l->index++;
}

static void next_stage(struct guest_loading *l)
{
    l->stage++;
    l->index = 0;
}

static enum exit_code load_segment(struct mmu *mmu, const struct guest_image *image,
                                   const struct elf_segment *segment, struct guest_loading *l)
{
    uint64_t base = segment->physical_address;
    enum exit_code code = l->done || !is_loaded(segment) ? EXIT_OK : check_segment(image, segment);
    if (code || !is_loaded(segment)) {
        next_range(l, 0);
        return code;
    }
    int error = write_piece(mmu, base, (const char *)image->file + segment->offset,
                            segment->file_size, segment->memory_size, &l->done);
    if (error && error != -EINPROGRESS)
        REFUSE(NO_MEMORY, image, "no host memory for its segment at %#lx (error %d)", base, error);
    if (!error)
        next_range(l, base + segment->memory_size);
    return EXIT_OK;
}

static struct map_entry map_entry(uint64_t base, uint64_t length, uint32_t kind)
{
    return (struct map_entry){
        .size = sizeof(struct map_entry) - 4, .base = base, .length = length, .kind = kind};
}

/* The command line begins with the program's name, as QEMU's multiboot loader does it. */
static int write_arguments(char arguments[ARGUMENTS_MAX], const struct guest_image *image)
{
    return snprintf(arguments, ARGUMENTS_MAX, "%s %s", image->name, image->arguments);
}

/* The multiboot information has its place behind the program, and the modules behind that. */
static enum exit_code place_info(const struct guest_image *image, struct guest_loading *l)
{
    char arguments[ARGUMENTS_MAX];
    uint32_t at = (uint32_t)align_up(l->top, PAGE_SIZE);
    if (!image_in_ram(image, at, sizeof(struct info_block)))
        REFUSE(
            GUEST_TOO_LARGE, image,
            "no room for the multiboot information behind its end at %#lx; give it more RAM with "
            "mem=",
            l->top);
    int length = write_arguments(arguments, image);
    if (length >= ARGUMENTS_MAX)
        REFUSE(MODULE_WORDS, image, "its command line has %d characters; at most %d are supported",
               length, ARGUMENTS_MAX - 1);
    l->info = at;
    l->top = at + sizeof(struct info_block);
    return EXIT_OK;
}

static enum exit_code load_module(struct mmu *mmu, const struct guest_image *image,
                                  struct guest_loading *l)
{
    const struct guest_module *module = &image->modules[l->index];
    uint64_t start = align_up(l->top, PAGE_SIZE);
    if (!image_in_ram(image, start, module->size))
        REFUSE(GUEST_TOO_LARGE, image,
               "no room for its module %s of %lu bytes; give it more RAM with mem=", module->string,
               module->size);
    int error = write_piece(mmu, start, module->file, module->size, module->size, &l->done);
    if (error && error != -EINPROGRESS)
        REFUSE(NO_MEMORY, image, "no host memory for its module %s", module->string);
    if (!error) {
        l->modules[l->index] = (uint32_t)start;
        next_range(l, start + module->size);
    }
    return EXIT_OK;
}

/* Where the information block has it. */
static uint32_t address_in(const struct guest_loading *l, size_t offset)
{
    return l->info + (uint32_t)offset;
}

/* Returns an error of guest_write(). */
static int write_info(struct mmu *mmu, const struct guest_image *image,
                      const struct guest_loading *l)
{
    struct info_block block = {.loader = "eptvisor"};
    unsigned entries = 0;
    (void)write_arguments(block.arguments, image);
    for (unsigned i = 0; i < GUEST_RAM_PIECES; i++)
        if (image->ram[i].size)
            block.map[entries++] =
                map_entry(image->ram[i].base.v, image->ram[i].size, MAP_AVAILABLE);
    block.map[entries++] = map_entry(GUEST_LOW_END, GUEST_MIDDLE - GUEST_LOW_END, MAP_RESERVED);
    for (unsigned i = 0; i < image->module_count; i++) {
        const struct guest_module *module = &image->modules[i];
        size_t string = offsetof(struct info_block, module_strings) + i * MODULE_STRING_MAX;
        snprintf(block.module_strings[i], MODULE_STRING_MAX, "%s", module->string);
        block.modules[i] = (struct module_entry){.start = l->modules[i],
                                                 .end = l->modules[i] + (uint32_t)module->size,
                                                 .string = address_in(l, string)};
    }
    block.info = (struct multiboot_info){
        .flags = INFO_FLAGS,
        .mem_lower = (uint32_t)(image->ram[0].size >> 10),
        .mem_upper = (uint32_t)(image->ram[1].size >> 10),
        .command_line = address_in(l, offsetof(struct info_block, arguments)),
        .module_count = image->module_count,
        .modules = address_in(l, offsetof(struct info_block, modules)),
        .map_length = entries * (uint32_t)sizeof(struct map_entry),
        .map = address_in(l, offsetof(struct info_block, map)),
        .loader_name = address_in(l, offsetof(struct info_block, loader)),
    };
    return guest_write(mmu, GPA(l->info), &block, sizeof(block));
}

static enum exit_code check_file(const struct guest_image *image, const struct elf_header *elf)
{
    enum exit_code code = check_header(image, elf);
    if (!code)
        code = check_multiboot(image);
    return code ? code : check_segments_overlap(image, elf);
}

/* All segments are where they belong. */
static enum exit_code check_entry(const struct guest_image *image, const struct elf_header *elf,
                                  const struct guest_loading *l)
{
    if (!l->top || !image_in_ram(image, elf->entry, 1))
        REFUSE(MODULE_NOT_ELF, image, "its entry point %#x is not in its RAM", elf->entry);
    return EXIT_OK;
}

bool load_guest_piece(struct mmu *mmu, const struct guest_image *image, struct guest_loading *l,
                      struct guest_start *start, enum exit_code *code)
{
    struct elf_header elf = {0};
    memcpy(&elf, image->file, image->size < sizeof(elf) ? image->size : sizeof(elf));
    int error;

    switch (l->stage) {
    case LOAD_CHECKS:
        *code = check_file(image, &elf);
        next_stage(l);
        return *code;
    case LOAD_SEGMENTS:
        if (l->index < elf.program_count) {
            const struct elf_segment segment = segment_at(image, &elf, l->index);
            *code = load_segment(mmu, image, &segment, l);
            return *code;
        }
        *code = check_entry(image, &elf, l);
        if (!*code)
            *code = place_info(image, l);
        next_stage(l);
        return *code;
    case LOAD_MODULES:
        if (l->index < image->module_count)
            *code = load_module(mmu, image, l);
        else
            next_stage(l);
        return *code;
    case LOAD_INFO:
        break;
    }
    error = write_info(mmu, image, l);
    if (error == -EINPROGRESS)
        return false;
    if (error) {
        log_error("guest %s: no host memory for its multiboot information", image->name);
        *code = EXIT_NO_MEMORY;
    }
    *start = (struct guest_start){.entry = elf.entry, .info = l->info};
    return true;
}
