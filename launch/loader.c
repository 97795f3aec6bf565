/* SPDX-License-Identifier: MIT */
#include "launch/loader.h"

#include "launch/bios.h"
#include "launch/firmware.h"
#include "launch/loaders.h"
#include "launch/td_plan.h"
#include "lib/page.h"

bool load_is_linux(const void *file, uint64_t size)
{
    const struct guest_image image = {.file = file, .size = size};
    return bzimage_recognise(&image) ||
           (elf_recognise(&image) && elf_is_64(&image) && !multiboot2_recognise(&image) &&
            !multiboot_recognise(&image));
}

/* Only a vmlinux can have a PVH entry point. */
static enum exit_code check_entry_word(const struct guest_image *image)
{
    if (image->entry != GUEST_ENTRY_PVH)
        return EXIT_OK;
    if (bzimage_recognise(image))
        REFUSE(
            MODULE_WORDS, image,
            "entry=pvh, but a bzImage has no PVH entry point; give the vmlinux that it contains, "
            "which tools/vmlinux.py extracts, or leave the word out");
    if (multiboot2_recognise(image) || multiboot_recognise(image))
        REFUSE(MODULE_WORDS, image,
               "entry=pvh, but a multiboot program has no PVH entry point; leave the word out");
    return EXIT_OK;
}

static enum exit_code plan_file(struct load_plan *plan, const struct guest_image *image)
{
    struct elf_file elf;
    if (!image->size)
        REFUSE(MODULE_EMPTY, image, "the module is empty");
    enum exit_code code = check_entry_word(image);
    if (code)
        return code;
    if (bzimage_recognise(image))
        return bzimage_plan(plan, image);
    if (multiboot2_recognise(image))
        return multiboot2_plan(plan, image);
    if (!elf_recognise(image))
        REFUSE(MODULE_NOT_ELF, image,
               "not an ELF file, nor a bzImage; a guest is an ELF32 file with a multiboot1 header, "
               "or a Linux kernel (bzImage or vmlinux), or has a multiboot2 header");
    code = elf_open(image, &elf);
    if (code)
        return code;
    /* A TD cannot start in 32-bit mode, so its program's multiboot header, if any, is ignored. */
    if (elf.is_64 && (image->td || !multiboot_recognise(image)))
        return vmlinux_plan(plan, image, &elf);
    return multiboot_plan(plan, image, &elf);
}

enum exit_code load_plan(struct load_plan *plan, const struct guest_image *image)
{
    plan_init(plan);
    enum exit_code code = plan_file(plan, image);
    if (!code)
        code = firmware_plan(plan, image);
    if (!code && image->legacy)
        code = bios_plan(plan, image);
    return code || !image->td ? code : td_plan(plan, image);
}

static unsigned plan_order(void)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < sizeof(struct load_plan))
        order++;
    return order;
}

static enum exit_code begin_loading(const struct guest_image *image, struct guest_loading *loading)
{
    hpa_t pages = page_alloc(plan_order());
    if (page_is_none(pages))
        REFUSE(NO_MEMORY, image, "no host memory to load it: %s", page_shortage());
    loading->plan = phys_to_virt(pages);
    return load_plan(loading->plan, image);
}

bool load_guest_piece(load_piece *put, struct vm *vm, const struct guest_image *image,
                      struct guest_loading *loading, struct guest_start *start,
                      enum exit_code *code)
{
    bool over = false;
    if (!loading->plan)
        *code = begin_loading(image, loading);
    else
        over = put(vm, image, loading, code);
    if (!over && !*code)
        return false;
    if (loading->plan) {
        *start = loading->plan->start;
        page_free(virt_to_phys(loading->plan), plan_order());
    }
    return true;
}
