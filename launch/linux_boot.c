/* SPDX-License-Identifier: MIT */
#include "launch/linux_boot.h"

#include "boot/boot_info.h"
#include "lib/bits.h"

#define HEADER_END 0x290u /* end of the setup header's room in the zero page */
#define E820_MOST  128u

struct e820_entry {
    uint64_t base, size;
    uint32_t kind;
} __attribute__((packed));

/* The zero page (zero-page.rst), which Linux calls boot_params. */
struct zero_page {
    uint8_t screen[0x70];
    uint64_t rsdp;
    uint8_t unused1[0x1c0 - 0x78];
    uint32_t efi_signature, efi_system_table, efi_descriptor_size, efi_descriptor_version;
    uint32_t efi_map, efi_map_size, efi_system_table_high, efi_map_high;
    uint8_t unused5[0x1e8 - 0x1e0];
    uint8_t e820_count;
    uint8_t unused2[LINUX_HEADER_AT - 0x1e9];
    union {
        struct linux_header header;
        uint8_t header_bytes[HEADER_END - LINUX_HEADER_AT];
    };
    uint8_t unused3[0x2d0 - HEADER_END];
    struct e820_entry e820[E820_MOST];
    uint8_t unused4[PAGE_SIZE - 0x2d0 - E820_MOST * sizeof(struct e820_entry)];
} __attribute__((packed));
_Static_assert(sizeof(struct zero_page) == PAGE_SIZE, "zero-page.rst");
_Static_assert(GUEST_MAP_RANGES <= E820_MOST, "zero-page.rst");

#define EFI_64 0x34364c45u /* "EL64" */

#define TABLE_ENTRIES 512u
#define TABLE_ENTRY   0x3u  /* present, writable */
#define LARGE_PAGE    0x83u /* present, writable, 2 MiB */

/* The GDT. The 64-bit boot protocol requires the selectors 0x10 (__BOOT_CS) and 0x18
 * (__BOOT_DS). */
static const uint64_t segments[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};

struct linux_block {
    struct zero_page zero_page;
    uint64_t pml4[TABLE_ENTRIES], directories[TABLE_ENTRIES], pages[TABLE_ENTRIES];
    uint64_t gdt[ARRAY_SIZE(segments)];
    char command_line[LINUX_COMMAND_LINE_MAX + 1];
};
_Static_assert(sizeof(struct linux_block) <= LOAD_BLOCK, "room in struct load_plan");
_Static_assert(sizeof(((struct linux_block *)0)->pml4) * 3 == LINUX_SPARE, "three tables");
_Static_assert(TABLE_ENTRIES *(2ull << 20) == LINUX_TOP, "one directory of large pages");

static uint64_t block_address(size_t offset)
{
    return LINUX_BLOCK + offset;
}
#define ADDRESS_OF(member) block_address(offsetof(struct linux_block, member))

enum exit_code linux_check_arguments(const struct guest_image *image, uint64_t most)
{
    size_t length = strlen(image->arguments);
    if (most > LINUX_COMMAND_LINE_MAX)
        most = LINUX_COMMAND_LINE_MAX;
    if (length > most)
        REFUSE(MODULE_WORDS, image,
               "its command line has %zu characters; its kernel takes at most %lu", length, most);
    return EXIT_OK;
}

enum exit_code linux_plan_initrd(struct load_plan *plan, const struct guest_image *image,
                                 uint64_t kernel_end, uint64_t last, struct linux_initrd *initrd)
{
    const struct guest_module *file = NULL;
    *initrd = (struct linux_initrd){0};
    for (unsigned i = 0; i < image->module_count; i++) {
        const struct guest_module *module = &image->modules[i];
        if (module->kind != GUEST_MODULE_INITRD)
            REFUSE(MODULE_WORDS, image,
                   "its module %s is a plain file, which Linux has no use for; an initrd has the "
                   "word initrd",
                   module->string);
        if (file)
            REFUSE(MODULE_WORDS, image,
                   "%s and %s: Linux takes one initrd; join them into one file", file->string,
                   module->string);
        file = module;
    }
    if (!file || !file->size)
        return EXIT_OK;
    uint64_t end = image_ram_end(image);
    if (end > last + 1)
        end = last + 1;
    uint64_t base = end > file->size ? align_down(end - file->size, PAGE_SIZE) : 0;
    if (base < kernel_end)
        REFUSE(GUEST_TOO_LARGE, image,
               "its initrd %s of %lu bytes does not fit between the end of its kernel, %#lx, and "
               "%#lx; give it more RAM with mem=",
               file->string, file->size, kernel_end, end);
    *initrd = (struct linux_initrd){base, file->size};
    return plan_add(plan, image,
                    (struct load_record){.gpa = base,
                                         .bytes = file->file,
                                         .size = file->size,
                                         .extent = file->size,
                                         .kind = LOAD_INITRD});
}

static void fill_zero_page(struct zero_page *page, const struct guest_image *image,
                           const struct linux_initrd *initrd)
{
    struct guest_map_range map[GUEST_MAP_RANGES];
    unsigned count = guest_memory_map(image->ram, image->td, image->pci, map);
    for (unsigned i = 0; i < count; i++)
        page->e820[i] = (struct e820_entry){map[i].base, map[i].size, map[i].kind};
    page->e820_count = (uint8_t)count;
    page->rsdp = GUEST_FIRMWARE;
    page->header.boot_flag = LINUX_BOOT_FLAG;
    page->header.magic = LINUX_MAGIC;
    page->header.loader = LINUX_UNKNOWN_LOADER;
    page->header.command_line = (uint32_t)ADDRESS_OF(command_line);
    page->header.initrd = (uint32_t)initrd->base;
    page->header.initrd_size = (uint32_t)initrd->size;
}

static void fill_tables(struct linux_block *block)
{
    block->pml4[0] = ADDRESS_OF(directories) | TABLE_ENTRY;
    block->directories[0] = ADDRESS_OF(pages) | TABLE_ENTRY;
    for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
        block->pages[i] = i << 21 | LARGE_PAGE;
}

enum exit_code linux_plan_start(struct load_plan *plan, const struct guest_image *image,
                                const void *header, size_t header_size, uint64_t entry,
                                const struct linux_initrd *initrd)
{
    struct linux_block *block = (struct linux_block *)plan->block;
    struct zero_page *page = &block->zero_page;
    memset(block, 0, sizeof(*block));
    if (header_size > sizeof(page->header_bytes))
        header_size = sizeof(page->header_bytes);
    memcpy(page->header_bytes, header, header_size);
    fill_zero_page(page, image, initrd);
    fill_tables(block);
    memcpy(block->gdt, segments, sizeof(segments));
    memcpy(block->command_line, image->arguments, strlen(image->arguments));

    plan->start = (struct guest_start){.entry = entry,
                                       .info = ADDRESS_OF(zero_page),
                                       .tables = ADDRESS_OF(pml4),
                                       .gdt = (uint32_t)ADDRESS_OF(gdt),
                                       .long_mode = true};
    return plan_add_block(plan, image, LINUX_BLOCK, sizeof(*block));
}

uint64_t linux_command_line(const struct load_plan *plan)
{
    return ((const struct linux_block *)plan->block)->zero_page.header.command_line;
}

uint64_t linux_kernel_end(const struct load_plan *plan)
{
    const struct linux_header *header =
        &((const struct linux_block *)plan->block)->zero_page.header;
    uint64_t end = 0;
    for (unsigned i = 0; i < plan->count; i++) {
        const struct load_record *r = &plan->records[i];
        uint64_t needs = r->extent > header->init_size ? r->extent : header->init_size;
        if (r->kind == LOAD_SEGMENT && r->gpa + needs > end)
            end = r->gpa + needs;
    }
    return end;
}

void linux_set_efi(struct load_plan *plan, const struct linux_efi *efi)
{
    struct zero_page *page = &((struct linux_block *)plan->block)->zero_page;
    page->efi_signature = EFI_64;
    page->efi_system_table = (uint32_t)efi->system_table;
    page->efi_descriptor_size = efi->descriptor_size;
    page->efi_descriptor_version = efi->descriptor_version;
    page->efi_map = (uint32_t)efi->map;
    page->efi_map_size = (uint32_t)efi->map_size;
}

void *linux_spare(struct load_plan *plan, uint64_t *gpa)
{
    struct linux_block *block = (struct linux_block *)plan->block;
    *gpa = ADDRESS_OF(pml4);
    return block->pml4;
}
