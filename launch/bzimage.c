/* SPDX-License-Identifier: MIT */
/* The loader of bzImages. A bzImage consists of real-mode setup code, of which only the setup
 * header is used, and of the compressed protected-mode kernel, which is entered at its 64-bit entry
 * point (launch/linux_boot.h). */
#include "launch/loaders.h"

#include "launch/linux_boot.h"
#include "lib/bits.h"

#define SECTOR         512u
#define SECTORS_OLD    4u     /* number of setup sectors if the header says 0 */
#define VERSION_LEAST  0x20cu /* 2.12 introduced extended_flags (xloadflags) */
#define ENTRY_64       0x200u /* offset from the start of the protected-mode kernel */
#define KERNEL_ROUNDED 16u    /* unit in bytes of kernel_size, which is rounded up */

/* The setup header of an image, and what is derived from it. */
struct bzimage {
    struct linux_header header;
    size_t header_size;
    uint64_t offset, size; /* of the protected-mode kernel in the file */
    uint64_t base, extent; /* its load address, and the bytes of RAM that it needs from there on */
};

bool bzimage_recognise(const struct guest_image *image)
{
    uint32_t magic;
    if (image->size < LINUX_MAGIC_AT + sizeof(magic))
        return false;
    memcpy(&magic, (const char *)image->file + LINUX_MAGIC_AT, sizeof(magic));
    return magic == LINUX_MAGIC;
}

static enum exit_code bzimage_read_header(const struct guest_image *image, struct bzimage *kernel)
{
    struct linux_header *h = &kernel->header;
    uint64_t available = image->size - LINUX_HEADER_AT;
    memset(h, 0, sizeof(*h));
    memcpy(h, (const char *)image->file + LINUX_HEADER_AT,
           available < sizeof(*h) ? available : sizeof(*h));
    if (available < offsetof(struct linux_header, real_mode_switch))
        REFUSE(MODULE_TRUNCATED, image, "a bzImage of %lu bytes, which ends in its header",
               image->size);
    if (h->version < VERSION_LEAST)
        REFUSE(MODULE_BAD_KERNEL, image,
               "its kernel has boot protocol %d.%02d; 2.12, of Linux 3.8, is the oldest that is "
               "supported",
               h->version >> 8, h->version & 0xff);
    kernel->header_size = LINUX_MAGIC_AT + h->header_length - LINUX_HEADER_AT;
    if (kernel->header_size < sizeof(*h))
        REFUSE(MODULE_BAD_KERNEL, image,
               "the header of its kernel has %zu bytes; boot protocol 2.12 has at least %zu",
               kernel->header_size, sizeof(*h));
    if (available < kernel->header_size)
        REFUSE(MODULE_TRUNCATED, image, "a bzImage of %lu bytes, which ends in its header",
               image->size);
    return EXIT_OK;
}

static enum exit_code bzimage_check_header(const struct guest_image *image,
                                           const struct linux_header *h)
{
    if (h->boot_flag != LINUX_BOOT_FLAG)
        REFUSE(MODULE_BAD_KERNEL, image, "the boot flag of its kernel is %#x; expected %#x",
               h->boot_flag, LINUX_BOOT_FLAG);
    if (!(h->extended_flags & LINUX_KERNEL_64))
        REFUSE(
            MODULE_BAD_KERNEL, image,
            "a 32-bit kernel (its xloadflags are %#x, without bit 0); only 64-bit kernels can be "
            "started",
            h->extended_flags);
    if (!(h->load_flags & LINUX_LOADED_HIGH))
        REFUSE(
            MODULE_BAD_KERNEL, image,
            "a zImage, which is loaded below 1 MiB (its loadflags are %#x, without bit 0); build "
            "a bzImage",
            h->load_flags);
    if (!h->alignment || h->alignment & (h->alignment - 1))
        REFUSE(MODULE_BAD_KERNEL, image,
               "the alignment of its kernel is %#x, which is no power of two", h->alignment);
    return EXIT_OK;
}

static enum exit_code bzimage_find_kernel(const struct guest_image *image, struct bzimage *kernel)
{
    const struct linux_header *h = &kernel->header;
    unsigned sectors = h->setup_sectors ? h->setup_sectors : SECTORS_OLD;
    uint64_t size = (uint64_t)h->kernel_size * KERNEL_ROUNDED;
    kernel->offset = (sectors + 1) * SECTOR;
    kernel->size = image->size > kernel->offset ? image->size - kernel->offset : 0;
    if (!kernel->size || kernel->size + KERNEL_ROUNDED <= size)
        REFUSE(MODULE_TRUNCATED, image,
               "its kernel needs %lu bytes of the file from %#lx on, which ends at %#lx", size,
               kernel->offset, image->size);
    if (kernel->size > size) /* a signature follows in the file */
        kernel->size = size;
    if (kernel->size <= ENTRY_64)
        REFUSE(MODULE_BAD_KERNEL, image,
               "its kernel has %lu bytes, and its 64-bit entry point would be at %#x", kernel->size,
               ENTRY_64);
    kernel->extent = h->init_size > kernel->size ? h->init_size : kernel->size;
    return EXIT_OK;
}

static bool bzimage_has_room(const struct guest_image *image, const struct bzimage *kernel,
                             uint64_t base)
{
    return base >= GUEST_MIDDLE && base < LINUX_TOP && kernel->extent <= LINUX_TOP - base &&
           image_in_ram(image, base, kernel->extent);
}

/* Chooses the load address: the kernel's preferred address, or, if there is no room for it there
 * and the kernel is relocatable, the lowest aligned address from 1 MiB on. With KASLR the kernel
 * moves itself when it decompresses itself. */
static enum exit_code bzimage_place_kernel(const struct guest_image *image, struct bzimage *kernel)
{
    const struct linux_header *h = &kernel->header;
    uint64_t low = align_up(GUEST_MIDDLE, h->alignment);
    kernel->base = h->preferred;
    if (!bzimage_has_room(image, kernel, kernel->base) && h->relocatable)
        kernel->base = low;
    if (!bzimage_has_room(image, kernel, kernel->base))
        REFUSE(GUEST_TOO_LARGE, image,
               "no room for its kernel, which needs %lu bytes from %#lx on; its RAM ends at %#lx; "
               "give it more with mem=",
               kernel->extent, kernel->base, image_ram_end(image));
    return EXIT_OK;
}

enum exit_code bzimage_plan(struct load_plan *plan, const struct guest_image *image)
{
    struct bzimage kernel;
    struct linux_initrd initrd;
    enum exit_code code = bzimage_read_header(image, &kernel);
    if (!code)
        code = bzimage_check_header(image, &kernel.header);
    if (!code)
        code = bzimage_find_kernel(image, &kernel);
    if (!code)
        code = linux_check_arguments(image, kernel.header.command_line_max);
    if (!code)
        code = bzimage_place_kernel(image, &kernel);
    if (!code)
        code = plan_add(plan, image,
                        (struct load_record){.gpa = kernel.base,
                                             .bytes = (const char *)image->file + kernel.offset,
                                             .size = kernel.size,
                                             .extent = kernel.size,
                                             .kind = LOAD_SEGMENT});
    if (!code)
        code = linux_plan_initrd(plan, image, kernel.base + kernel.extent,
                                 kernel.header.initrd_last, &initrd);
    if (!code)
        code = linux_plan_start(plan, image, (const char *)image->file + LINUX_HEADER_AT,
                                kernel.header_size, kernel.base + ENTRY_64, &initrd);
    return code;
}
