/* SPDX-License-Identifier: MIT */
/*
 * The loader of Linux kernels in ELF64 files (vmlinux), which have no decompressor. A kernel is
 * entered by PVH (Xen's docs/misc/pvh.pandoc), in 32-bit mode at the entry point that an ELF note
 * names, or in 64-bit mode at the ELF entry point with a zero page (launch/linux_boot.h).
 */
#include "launch/loaders.h"

#include "boot/boot_info.h"
#include "launch/linux_boot.h"
#include "lib/bits.h"

#define NOTE_PHYS32_ENTRY 18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTE_ALIGN        4u

struct elf_note {
    uint32_t name_size, value_size, type;
};

/* PVH's structures (Xen's public/arch-x86/hvm/start_info.h, version 1). */
#define PVH_MAGIC 0x336ec578u
struct pvh_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp, map;
    uint32_t map_count, reserved;
};
_Static_assert(sizeof(struct pvh_info) == 56, "start_info.h");

struct pvh_module {
    uint64_t base, size, command_line, reserved;
};

struct pvh_range {
    uint64_t base, size;
    uint32_t kind, reserved;
};

struct pvh_block {
    struct pvh_info info;
    struct pvh_module initrd;
    struct pvh_range map[GUEST_MAP_RANGES];
    char command_line[LINUX_COMMAND_LINE_MAX + 1];
};
_Static_assert(sizeof(struct pvh_block) <= LOAD_BLOCK, "room in struct load_plan");

/* Returns the PVH entry point that a note of this segment names, or 0 if none does. */
static uint64_t pvh_entry_in(const struct guest_image *image, const struct elf_segment *notes)
{
    const char *bytes = (const char *)image->file + notes->offset;
    uint64_t at = 0, left = notes->file_size;
    struct elf_note note;
    while (left >= sizeof(note)) {
        memcpy(&note, bytes + at, sizeof(note));
        uint64_t name = at + sizeof(note);
        uint64_t value = name + align_up(note.name_size, NOTE_ALIGN);
        uint64_t next = value + align_up(note.value_size, NOTE_ALIGN);
        if (next > notes->file_size)
            break;
        if (note.type == NOTE_PHYS32_ENTRY && note.name_size == 4 &&
            !memcmp(bytes + name, "Xen", 4) && (note.value_size == 4 || note.value_size == 8)) {
            uint64_t entry = 0;
            memcpy(&entry, bytes + value, note.value_size);
            return entry;
        }
        at = next;
        left = notes->file_size - at;
    }
    return 0;
}

static uint64_t pvh_entry(const struct guest_image *image, const struct elf_file *elf)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        const struct elf_segment segment = elf_segment(image, elf, i);
        uint64_t entry = segment.type == ELF_NOTE && elf_segment_in_file(image, &segment)
                             ? pvh_entry_in(image, &segment)
                             : 0;
        if (entry)
            return entry;
    }
    return 0;
}

static enum exit_code plan_pvh(struct load_plan *plan, const struct guest_image *image,
                               uint64_t entry, const struct linux_initrd *initrd)
{
    struct pvh_block *block = (struct pvh_block *)plan->block;
    struct guest_map_range map[GUEST_MAP_RANGES];
    unsigned count = guest_memory_map(image->ram, image->td, image->pci, map);

    memset(block, 0, sizeof(*block));
    for (unsigned i = 0; i < count; i++)
        block->map[i] = (struct pvh_range){map[i].base, map[i].size, map[i].kind, 0};
    memcpy(block->command_line, image->arguments, strlen(image->arguments));
    block->initrd = (struct pvh_module){.base = initrd->base, .size = initrd->size};
    block->info = (struct pvh_info){
        .magic = PVH_MAGIC,
        .version = 1,
        .module_count = initrd->size ? 1 : 0,
        .modules = LINUX_BLOCK + offsetof(struct pvh_block, initrd),
        .command_line = LINUX_BLOCK + offsetof(struct pvh_block, command_line),
        .rsdp = GUEST_FIRMWARE,
        .map = LINUX_BLOCK + offsetof(struct pvh_block, map),
        .map_count = count,
    };
    plan->start = (struct guest_start){.entry = entry, .info = LINUX_BLOCK};
    return plan_add_block(plan, image, LINUX_BLOCK, sizeof(*block));
}

/* Plans a zero page. A vmlinux has no setup header, so the zero page gets one with the values of
 * boot protocol 2.15. */
static enum exit_code plan_zero_page(struct load_plan *plan, const struct guest_image *image,
                                     uint64_t entry, const struct linux_initrd *initrd)
{
    static const struct linux_header header = {.version = 0x20f,
                                               .load_flags = LINUX_LOADED_HIGH,
                                               .command_line_max = LINUX_COMMAND_LINE_MAX,
                                               .initrd_last = LINUX_INITRD_LAST,
                                               .extended_flags = LINUX_KERNEL_64};
    return linux_plan_start(plan, image, &header, sizeof(header), entry, initrd);
}

enum exit_code vmlinux_plan(struct load_plan *plan, const struct guest_image *image,
                            const struct elf_file *elf)
{
    struct linux_initrd initrd;
    uint64_t bottom, top, pvh = image->entry == GUEST_ENTRY_64 ? 0 : pvh_entry(image, elf);
    uint64_t entry = pvh ? pvh : elf->entry;
    if (image->entry == GUEST_ENTRY_PVH && !pvh)
        REFUSE(
            MODULE_BAD_KERNEL, image,
            "entry=pvh, but the file has no ELF note with a PVH entry point; build the kernel with "
            "CONFIG_PVH, or leave the word out");
    elf_bounds(image, elf, &bottom, &top);
    enum exit_code code = elf_plan_segments(plan, image, elf);
    if (!code && top > LINUX_TOP)
        REFUSE(GUEST_TOO_LARGE, image, "its kernel ends at %#lx, but must end at or below %#llx",
               top, LINUX_TOP);
    if (!code && !plan_contains(plan, entry))
        REFUSE(MODULE_BAD_KERNEL, image, "its entry point %#lx is not in its segments", entry);
    if (!code)
        code = linux_check_arguments(image, LINUX_COMMAND_LINE_MAX);
    if (!code)
        code = linux_plan_initrd(plan, image, top, LINUX_INITRD_LAST, &initrd);
    if (!code)
        code = pvh ? plan_pvh(plan, image, entry, &initrd)
                   : plan_zero_page(plan, image, entry, &initrd);
    return code;
}
