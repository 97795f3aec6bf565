/* SPDX-License-Identifier: MIT */
/* Multiboot 2 (Multiboot2 Specification 2.0, section 3.6): a list of tags, each aligned to 8
 * bytes. */
#include "boot/boot_info_internal.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

enum tag_type {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_LOADER_NAME = 2,
    TAG_MODULE = 3,
    TAG_MEMORY_MAP = 6,
    TAG_FRAMEBUFFER = 8,
    TAG_EFI32 = 11,
    TAG_EFI64 = 12,
    TAG_RSDP_OLD = 14,
    TAG_RSDP_NEW = 15,
};

struct tag {
    uint32_t type, size; /* size includes this header */
};

struct map_tag {
    struct tag tag;
    uint32_t entry_size, entry_version;
};

struct map_entry {
    uint64_t base, length;
    uint32_t kind, reserved;
};

struct module_tag {
    struct tag tag;
    uint32_t start, end;
};

struct framebuffer_tag {
    struct tag tag;
    uint64_t base;
    uint32_t pitch, width, height;
    uint8_t bits_per_pixel, type;
    uint16_t reserved;
    struct boot_colour red, green, blue; /* present only if `type` is RGB */
};

#define FRAMEBUFFER_RGB_SIZE (offsetof(struct framebuffer_tag, blue) + sizeof(struct boot_colour))

static int parse_command_line(struct boot_info *info, const struct tag *tag)
{
    return boot_copy_string(info->command_line, sizeof(info->command_line), (const char *)(tag + 1),
                            tag->size - sizeof(*tag), "command line");
}

static int parse_loader_name(struct boot_info *info, const struct tag *tag)
{
    return boot_copy_string(info->loader, sizeof(info->loader), (const char *)(tag + 1),
                            tag->size - sizeof(*tag), "loader's name");
}

static int parse_module(struct boot_info *info, const struct tag *tag)
{
    const struct module_tag *module = (const struct module_tag *)tag;
    return boot_add_module(info, module->start, module->end, (const char *)(module + 1),
                           tag->size - sizeof(*module));
}

static int parse_memory_map(struct boot_info *info, const struct tag *tag)
{
    const struct map_tag *map = (const struct map_tag *)tag;
    uint32_t room = tag->size - (uint32_t)sizeof(*map);
    if (map->entry_size < sizeof(struct map_entry) || map->entry_size % 8 ||
        room % map->entry_size) {
        log_error(
            "multiboot2: memory map of %u bytes with entries of %u; expected a multiple of 8, "
            "at least %zu, that divides it",
            room, map->entry_size, sizeof(struct map_entry));
        return -EINVAL;
    }
    for (uint32_t offset = 0; offset < room; offset += map->entry_size) {
        struct map_entry entry;
        memcpy(&entry, (const char *)(map + 1) + offset, sizeof(entry));
        int error = boot_add_range(info, entry.base, entry.length, entry.kind);
        if (error)
            return error;
    }
    return 0;
}

static int parse_framebuffer(struct boot_info *info, const struct tag *tag)
{
    static const enum boot_framebuffer_kind kinds[] = {BOOT_FRAMEBUFFER_NONE, BOOT_FRAMEBUFFER_RGB,
                                                       BOOT_FRAMEBUFFER_TEXT};
    const struct framebuffer_tag *raw = (const struct framebuffer_tag *)tag;
    info->framebuffer = (struct boot_framebuffer){
        .base = HPA(raw->base),
        .pitch = raw->pitch,
        .width = raw->width,
        .height = raw->height,
        .bits_per_pixel = raw->bits_per_pixel,
        .kind = raw->type < ARRAY_SIZE(kinds) ? kinds[raw->type] : BOOT_FRAMEBUFFER_NONE,
    };
    if (info->framebuffer.kind != BOOT_FRAMEBUFFER_RGB)
        return 0;
    if (tag->size < FRAMEBUFFER_RGB_SIZE) {
        info->framebuffer.kind = BOOT_FRAMEBUFFER_NONE;
        log_error("multiboot2: the framebuffer tag has size %u; with red, green and blue it has at "
                  "least %zu",
                  tag->size, FRAMEBUFFER_RGB_SIZE);
        return -EINVAL;
    }
    info->framebuffer.red = raw->red;
    info->framebuffer.green = raw->green;
    info->framebuffer.blue = raw->blue;
    return 0;
}

/* The firmware is of one kind, so there is one of these tags. */
static int parse_efi(struct boot_info *info, const struct tag *tag)
{
    bool wide = tag->type == TAG_EFI64;
    memcpy(&info->efi_system_table, tag + 1, wide ? sizeof(uint64_t) : sizeof(uint32_t));
    return 0;
}

/* Keeps the larger (newer) structure if both tags are present. The user of the RSDP checks its
 * checksums. */
static int parse_rsdp(struct boot_info *info, const struct tag *tag)
{
    uint32_t size = tag->size - (uint32_t)sizeof(*tag);
    if (size > sizeof(info->rsdp))
        size = sizeof(info->rsdp);
    if (size > info->rsdp_size) {
        memcpy(info->rsdp, tag + 1, size);
        info->rsdp_size = size;
    }
    return 0;
}

static const struct {
    enum tag_type type;
    const char *name;
    uint32_t min_size;
    int (*parse)(struct boot_info *info, const struct tag *tag);
} tags[] = {
    {TAG_COMMAND_LINE, "command line", 9, parse_command_line},
    {TAG_LOADER_NAME, "loader name", 9, parse_loader_name},
    {TAG_MODULE, "module", sizeof(struct module_tag) + 1, parse_module},
    {TAG_MEMORY_MAP, "memory map", sizeof(struct map_tag), parse_memory_map},
    {TAG_FRAMEBUFFER, "framebuffer", 31, parse_framebuffer},
    {TAG_EFI32, "EFI system table", 12, parse_efi},
    {TAG_EFI64, "EFI system table", 16, parse_efi},
    {TAG_RSDP_OLD, "RSDP", 28, parse_rsdp},
    {TAG_RSDP_NEW, "RSDP", 44, parse_rsdp},
};

static int parse_tag(struct boot_info *info, const struct tag *tag, uint32_t offset)
{
    for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
        if (tags[i].type != tag->type)
            continue;
        if (tag->size < tags[i].min_size) {
            log_error("multiboot2: the %s tag at offset %u has size %u; expected at least %u",
                      tags[i].name, offset, tag->size, tags[i].min_size);
            return -EINVAL;
        }
        return tags[i].parse(info, tag);
    }
    return 0; /* a tag that is not needed */
}

int multiboot2_parse(struct boot_info *info, uint32_t address)
{
    info->protocol = "multiboot2";
    if (address % 8) {
        log_error("multiboot2: the boot information at %#x is not aligned to 8", address);
        return -EINVAL;
    }
    const char *base = phys_to_virt(HPA(address));
    uint32_t total;
    memcpy(&total, base, sizeof(total));
    if (total < 16 || total > INFO_SIZE_MAX) {
        log_error("multiboot2: the boot information claims %u bytes; expected 16 to %u", total,
                  INFO_SIZE_MAX);
        return -EINVAL;
    }
    if (boot_check_reach(address, total, "multiboot2 structure"))
        return -EINVAL;
    for (uint32_t offset = 8; offset + sizeof(struct tag) <= total;) {
        const struct tag *tag = (const struct tag *)(base + offset);
        if (tag->size < sizeof(*tag) || tag->size > total - offset) {
            log_error("multiboot2: the tag of type %u at offset %u has size %u, with %u bytes left",
                      tag->type, offset, tag->size, total - offset);
            return -EINVAL;
        }
        if (tag->type == TAG_END)
            return 0;
        int error = parse_tag(info, tag, offset);
        if (error)
            return error;
        offset = (uint32_t)align_up(offset + tag->size, 8);
    }
    log_error("multiboot2: no end tag within the %u bytes of the boot information", total);
    return -EINVAL;
}
