/* SPDX-License-Identifier: MIT */
/* The boot information of a multiboot2 program (Multiboot2 Specification 2.0, section 3.6), which
 * consists of tags that are aligned to 8 bytes. */
#include "launch/multiboot2.h"

#include "launch/firmware.h"
#include "launch/multiboot.h"
#include "lib/assert.h"
#include "lib/bits.h"

#define TAG_ALIGN 8u

enum tag_type {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_LOADER_NAME = 2,
    TAG_MODULE = 3,
    TAG_MEMORY = 4,
    TAG_MEMORY_MAP = 6,
    TAG_RSDP_NEW = 15,
    TAG_LOAD_BASE = 21,
};

struct tag {
    uint32_t type, size; /* includes these fields, but not what aligns the next tag */
};

struct module_tag {
    uint32_t start, end;
};

struct memory_tag {
    uint32_t lower, upper; /* KiB from 0 and from 1 MiB on */
};

struct map_entry {
    uint64_t base, length;
    uint32_t kind, reserved;
};

struct map_tag {
    uint32_t entry_size, entry_version;
    struct map_entry entries[GUEST_MAP_RANGES];
};

/* The information begins with its size. */
struct information {
    uint32_t size, reserved;
};

/* Room for the information in the guest's memory: an upper bound of its size. */
#define TAG_ROOM(size) (sizeof(struct tag) + (size) + TAG_ALIGN)
#define INFO_ROOM                                                              \
    (sizeof(struct information) + TAG_ROOM(MULTIBOOT_ARGUMENTS) +              \
     TAG_ROOM(sizeof(MULTIBOOT_LOADER)) +                                      \
     GUEST_MODULES * TAG_ROOM(sizeof(struct module_tag) + MODULE_STRING_MAX) + \
     TAG_ROOM(sizeof(struct memory_tag)) + TAG_ROOM(sizeof(struct map_tag)) +  \
     TAG_ROOM(sizeof(struct acpi_rsdp)) + TAG_ROOM(sizeof(uint32_t)) + TAG_ROOM(0))
_Static_assert(INFO_ROOM <= LOAD_BLOCK, "room in struct load_plan");

/* Adds a tag with these contents, followed by a string, which may be NULL. */
static void add_tag(struct load_plan *plan, enum tag_type type, const void *contents, size_t size,
                    const char *string)
{
    struct information *information = (struct information *)plan->block;
    const size_t length = string ? strlen(string) + 1 : 0;
    const struct tag tag = {type, (uint32_t)(sizeof(tag) + size + length)};
    char *at = (char *)plan->block + information->size;
    memcpy(at, &tag, sizeof(tag));
    memcpy(at + sizeof(tag), contents, size);
    if (string)
        memcpy(at + sizeof(tag) + size, string, length);
    information->size += (uint32_t)align_up(tag.size, TAG_ALIGN);
}

static void add_memory(struct load_plan *plan, const struct guest_image *image)
{
    struct guest_map_range ranges[GUEST_MAP_RANGES];
    const unsigned count = guest_memory_map(image->ram, image->td, image->pci, ranges);
    const struct memory_tag memory = {(uint32_t)(image->ram[0].size >> 10),
                                      (uint32_t)(image->ram[1].size >> 10)};
    struct map_tag map = {.entry_size = sizeof(struct map_entry)};
    for (unsigned i = 0; i < count; i++)
        map.entries[i] = (struct map_entry){ranges[i].base, ranges[i].size, ranges[i].kind, 0};
    add_tag(plan, TAG_MEMORY, &memory, sizeof(memory), NULL);
    add_tag(plan, TAG_MEMORY_MAP, &map,
            offsetof(struct map_tag, entries) + count * sizeof(struct map_entry), NULL);
}

/* Writes the information into plan->block. The program begins at `bottom`, and module i at
 * starts[i]. */
static void multiboot2_write_info(struct load_plan *plan, const struct guest_image *image,
                                  uint64_t bottom, const uint64_t starts[GUEST_MODULES])
{
    struct information *information = (struct information *)plan->block;
    const uint32_t base = (uint32_t)bottom;
    struct acpi_rsdp rsdp;
    memset(plan->block, 0, sizeof(plan->block));
    information->size = sizeof(*information);
    add_tag(plan, TAG_COMMAND_LINE, "", 0, image->arguments);
    add_tag(plan, TAG_LOADER_NAME, "", 0, MULTIBOOT_LOADER);
    for (unsigned i = 0; i < image->module_count; i++) {
        const struct module_tag module = {(uint32_t)starts[i],
                                          (uint32_t)(starts[i] + image->modules[i].size)};
        add_tag(plan, TAG_MODULE, &module, sizeof(module), image->modules[i].string);
    }
    add_memory(plan, image);
    /* The tables are for ACPI 2.0 and later, so there is no tag with an RSDP of ACPI 1.0. */
    firmware_rsdp(&rsdp);
    add_tag(plan, TAG_RSDP_NEW, &rsdp, sizeof(rsdp), NULL);
    add_tag(plan, TAG_LOAD_BASE, &base, sizeof(base), NULL);
    add_tag(plan, TAG_END, "", 0, NULL);
}

/* Returns an address at which `need` bytes are free, or 0. */
static uint64_t multiboot2_find_room(const struct guest_image *image, uint64_t bottom, uint64_t top,
                                     uint64_t need)
{
    const uint64_t after = align_up(top, PAGE_SIZE);
    if (after + need <= image_ram_end(image) && image_in_ram(image, after, need))
        return after;
    return bottom >= GUEST_MIDDLE && need <= bottom - GUEST_MIDDLE ? GUEST_MIDDLE : 0;
}

enum exit_code multiboot2_plan_info(struct load_plan *plan, const struct guest_image *image,
                                    uint64_t bottom, uint64_t top)
{
    uint64_t starts[GUEST_MODULES], need = align_up(INFO_ROOM, PAGE_SIZE);
    if (strlen(image->arguments) >= MULTIBOOT_ARGUMENTS)
        REFUSE(MODULE_WORDS, image, "its command line has %zu characters; at most %d are supported",
               strlen(image->arguments), MULTIBOOT_ARGUMENTS - 1);
    for (unsigned i = 0; i < image->module_count; i++)
        need += align_up(image->modules[i].size, PAGE_SIZE);
    const uint64_t at = multiboot2_find_room(image, bottom, top, need);
    if (!at)
        REFUSE(GUEST_TOO_LARGE, image,
               "no room for the multiboot2 information and its modules, %lu bytes, after its end "
               "at %#lx or before its beginning at %#lx; give it more RAM with mem=",
               need, top, bottom);
    enum exit_code code =
        multiboot_plan_modules(plan, image, at + align_up(INFO_ROOM, PAGE_SIZE), starts);
    if (code)
        return code;
    multiboot2_write_info(plan, image, bottom, starts);
    plan->start.info = at;
    return plan_add_block(plan, image, at, ((const struct information *)plan->block)->size);
}
