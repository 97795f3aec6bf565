/* SPDX-License-Identifier: MIT */
/* The loader of multiboot1 programs (Multiboot Specification 0.6.96). */
#include "launch/multiboot.h"

#include "launch/loaders.h"

#include "boot/boot_info.h"
#include "lib/bits.h"

/* Constants of the header (section 3.1) and of the information (section 3.3). */
#define HEADER_MAGIC  0x1badb002u
#define HEADER_SEARCH 8192u
#define HEADER_REFUSE 0xfffcu /* bits 2 to 15: required features that are not supported */
#define INFO_FLAGS    (BIT(0) | BIT(2) | BIT(3) | BIT(6) | BIT(9))

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

/* The multiboot information, which is placed at the first page boundary after the program. The
 * guest's modules follow, each at a page boundary. */
struct info_block {
    struct multiboot_info info;
    struct module_entry modules[GUEST_MODULES];
    char module_strings[GUEST_MODULES][MODULE_STRING_MAX];
    struct map_entry map[GUEST_MAP_RANGES];
    char loader[16];
    char arguments[MULTIBOOT_ARGUMENTS];
};
_Static_assert(sizeof(struct info_block) <= LOAD_BLOCK, "room in struct load_plan");

/* Finds the header, and sets *flags to what it requires. Returns false if there is none. */
static bool multiboot_find_header(const struct guest_image *image, uint32_t *flags)
{
    uint32_t header[3]; /* magic, flags, checksum */
    uint64_t size = image->size < HEADER_SEARCH ? image->size : HEADER_SEARCH;
    uint64_t end = size < sizeof(header) ? 0 : size - sizeof(header) + 1;
    for (uint64_t at = 0; (at = image_find_u32(image, at, end, 4, HEADER_MAGIC)) < end; at += 4) {
        memcpy(header, (const char *)image->file + at, sizeof(header));
        *flags = header[1];
        if (!(header[0] + header[1] + header[2]))
            return true;
    }
    return false;
}

bool multiboot_recognise(const struct guest_image *image)
{
    uint32_t flags;
    return elf_recognise(image) && multiboot_find_header(image, &flags);
}

static enum exit_code multiboot_check_header(const struct guest_image *image)
{
    uint32_t flags;
    if (!multiboot_find_header(image, &flags))
        REFUSE(MODULE_NOT_ELF, image,
               "no multiboot1 header in its first %u bytes; a Linux kernel has to be a 64-bit one, "
               "and a multiboot2 header lies in the first 32 KiB, aligned to 8 bytes",
               HEADER_SEARCH);
    if (flags & HEADER_REFUSE)
        REFUSE(MODULE_NOT_ELF, image,
               "its multiboot1 header requires flags %#x, which are not supported",
               flags & HEADER_REFUSE);
    return EXIT_OK;
}

enum exit_code multiboot_plan_modules(struct load_plan *plan, const struct guest_image *image,
                                      uint64_t top, uint64_t starts[GUEST_MODULES])
{
    for (unsigned i = 0; i < image->module_count; i++) {
        const struct guest_module *module = &image->modules[i];
        uint64_t start = align_up(top, PAGE_SIZE);
        if (!image_in_ram(image, start, module->size))
            REFUSE(GUEST_TOO_LARGE, image,
                   "no room for its module %s of %lu bytes; give it more RAM with mem=",
                   module->string, module->size);
        enum exit_code code = plan_add(plan, image,
                                       (struct load_record){.gpa = start,
                                                            .bytes = module->file,
                                                            .size = module->size,
                                                            .extent = module->size,
                                                            .kind = LOAD_MODULE});
        if (code)
            return code;
        starts[i] = start;
        top = start + module->size;
    }
    return EXIT_OK;
}

/* Plans the guest's modules after the information block, whose address is `at`, and lists them in
 * the block. */
static enum exit_code multiboot_list_modules(struct load_plan *plan,
                                             const struct guest_image *image, uint32_t at,
                                             struct info_block *block)
{
    uint64_t starts[GUEST_MODULES];
    enum exit_code code = multiboot_plan_modules(plan, image, at + sizeof(*block), starts);
    for (unsigned i = 0; !code && i < image->module_count; i++) {
        memcpy(block->module_strings[i], image->modules[i].string, MODULE_STRING_MAX);
        block->modules[i] = (struct module_entry){
            .start = (uint32_t)starts[i],
            .end = (uint32_t)(starts[i] + image->modules[i].size),
            .string =
                at + (uint32_t)offsetof(struct info_block, module_strings) + i * MODULE_STRING_MAX,
        };
    }
    return code;
}

static uint32_t multiboot_fill_map(const struct guest_image *image, struct info_block *block)
{
    struct guest_map_range map[GUEST_MAP_RANGES];
    unsigned count = guest_memory_map(image->ram, image->td, image->pci, map);
    for (unsigned i = 0; i < count; i++)
        block->map[i] = (struct map_entry){.size = sizeof(struct map_entry) - 4,
                                           .base = map[i].base,
                                           .length = map[i].size,
                                           .kind = map[i].kind};
    return count * (uint32_t)sizeof(struct map_entry);
}

static enum exit_code multiboot_plan_info(struct load_plan *plan, const struct guest_image *image,
                                          uint64_t top)
{
    struct info_block *block = (struct info_block *)plan->block;
    uint32_t at = (uint32_t)align_up(top, PAGE_SIZE);

    memset(block, 0, sizeof(*block));
    if (!image_in_ram(image, at, sizeof(*block)))
        REFUSE(GUEST_TOO_LARGE, image,
               "no room for the multiboot information after its end at %#lx; give it more RAM with "
               "mem=",
               top);
    /* The command line begins with the program's name, as with QEMU's multiboot loader. */
    int length =
        snprintf(block->arguments, MULTIBOOT_ARGUMENTS, "%s %s", image->name, image->arguments);
    if (length >= MULTIBOOT_ARGUMENTS)
        REFUSE(MODULE_WORDS, image, "its command line has %d characters; at most %d are supported",
               length, MULTIBOOT_ARGUMENTS - 1);
    memcpy(block->loader, MULTIBOOT_LOADER, sizeof(MULTIBOOT_LOADER));
    block->info = (struct multiboot_info){
        .flags = INFO_FLAGS,
        .mem_lower = (uint32_t)(image->ram[0].size >> 10),
        .mem_upper = (uint32_t)(image->ram[1].size >> 10),
        .command_line = at + (uint32_t)offsetof(struct info_block, arguments),
        .module_count = image->module_count,
        .modules = at + (uint32_t)offsetof(struct info_block, modules),
        .map_length = multiboot_fill_map(image, block),
        .map = at + (uint32_t)offsetof(struct info_block, map),
        .loader_name = at + (uint32_t)offsetof(struct info_block, loader),
    };
    enum exit_code code = multiboot_list_modules(plan, image, at, block);
    if (code)
        return code;
    plan->start.info = at;
    return plan_add_block(plan, image, at, sizeof(*block));
}

/* An entry point that is not in RAM is a virtual address, as GRUB takes it. */
static uint64_t entry_of(const struct guest_image *image, const struct elf_file *elf)
{
    return image_in_ram(image, elf->entry, 1) ? elf->entry : elf_entry(image, elf);
}

enum exit_code multiboot_plan(struct load_plan *plan, const struct guest_image *image,
                              const struct elf_file *elf)
{
    uint64_t bottom, top, entry = entry_of(image, elf);
    enum exit_code code = multiboot_check_header(image);
    elf_bounds(image, elf, &bottom, &top);
    if (!code)
        code = elf_plan_segments(plan, image, elf);
    if (!code && (!top || !image_in_ram(image, entry, 1)))
        REFUSE(MODULE_NOT_ELF, image, "its entry point %#lx is not in its RAM", elf->entry);
    if (!code)
        code = multiboot_plan_info(plan, image, top);
    plan->start.entry = entry;
    plan->start.magic = MULTIBOOT1_LOADER_MAGIC;
    return code;
}
