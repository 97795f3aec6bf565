/* SPDX-License-Identifier: MIT */
/* Multiboot 1 (Multiboot Specification 0.6.96, section 3.3): a struct of flags and pointers. */
#include "boot/boot_info_internal.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

#define FLAG_COMMAND_LINE BIT(2)
#define FLAG_MODULES      BIT(3)
#define FLAG_MEMORY_MAP   BIT(6)
#define FLAG_LOADER_NAME  BIT(9)

struct multiboot1_info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper; /* KiB */
    uint32_t boot_device;
    uint32_t command_line;
    uint32_t module_count, modules;
    uint32_t symbols[4];
    uint32_t map_length, map;
    uint32_t drives_length, drives;
    uint32_t config_table;
    uint32_t loader_name;
};
_Static_assert(sizeof(struct multiboot1_info) == 68, "offsets are the specification's");

struct multiboot1_module {
    uint32_t start, end, string, reserved;
};

struct multiboot1_range {
    uint32_t size; /* size of the entry after this field */
    uint64_t base, length;
    uint32_t kind;
} __attribute__((packed));

static const void *loader_pointer(uint32_t address)
{
    return phys_to_virt(HPA(address));
}

/* The number of the `size` bytes at `address` that can be read. */
static size_t loader_room(uint32_t address, size_t size)
{
    return size < BOOT_REACH - address ? size : BOOT_REACH - address;
}

static int copy_string(char *to, size_t size, uint32_t from, const char *what)
{
    return boot_copy_string(to, size, loader_pointer(from), loader_room(from, size), what);
}

static int parse_map(struct boot_info *info, uint32_t address, uint32_t length)
{
    if (length > INFO_SIZE_MAX) {
        log_error("multiboot1: the memory map claims %u bytes; at most %u are possible", length,
                  INFO_SIZE_MAX);
        return -EINVAL;
    }
    if (boot_check_reach(address, length, "memory map"))
        return -EINVAL;
    for (uint32_t offset = 0; offset < length;) {
        struct multiboot1_range range;
        if (length - offset < sizeof(range)) {
            log_error("multiboot1: the memory map of %u bytes ends inside the entry at offset %u",
                      length, offset);
            return -EINVAL;
        }
        memcpy(&range, loader_pointer(address + offset), sizeof(range));
        if (range.size < sizeof(range) - 4 || range.size > length - offset - 4) {
            log_error("multiboot1: the memory map entry at offset %u has size %u", offset,
                      range.size);
            return -EINVAL;
        }
        int error = boot_add_range(info, range.base, range.length, range.kind);
        if (error)
            return error;
        offset += range.size + 4;
    }
    return 0;
}

static int parse_modules(struct boot_info *info, uint32_t address, uint32_t count)
{
    if (boot_check_reach(address, (uint64_t)count * sizeof(struct multiboot1_module),
                         "list of modules"))
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        struct multiboot1_module module;
        memcpy(&module, loader_pointer(address + i * (uint32_t)sizeof(module)), sizeof(module));
        const char *string = module.string ? loader_pointer(module.string) : "";
        size_t room = module.string ? loader_room(module.string, BOOT_STRING_MAX) : 1;
        int error = boot_add_module(info, module.start, module.end, string, room);
        if (error)
            return error;
    }
    return 0;
}

/* Removes the image's file name, which QEMU puts in front of the command line. */
static void drop_file_name(struct boot_info *info)
{
    const char *rest = strchr(info->command_line, ' ');
    if (strncmp(info->loader, "qemu", 4))
        return;
    rest = rest ? rest + 1 : "";
    memmove(info->command_line, rest, strlen(rest) + 1);
}

int multiboot1_parse(struct boot_info *info, uint32_t address)
{
    struct multiboot1_info raw;
    int error;

    info->protocol = "multiboot1";
    error = boot_check_reach(address, sizeof(raw), "multiboot1 structure");
    if (error)
        return error;
    memcpy(&raw, loader_pointer(address), sizeof(raw));
    if (raw.flags & FLAG_COMMAND_LINE)
        error = copy_string(info->command_line, sizeof(info->command_line), raw.command_line,
                            "command line");
    if (!error && raw.flags & FLAG_LOADER_NAME)
        error = copy_string(info->loader, sizeof(info->loader), raw.loader_name, "loader's name");
    if (!error && raw.flags & FLAG_MODULES)
        error = parse_modules(info, raw.modules, raw.module_count);
    if (!error && raw.flags & FLAG_MEMORY_MAP)
        error = parse_map(info, raw.map, raw.map_length);
    if (!error)
        drop_file_name(info);
    return error;
}
