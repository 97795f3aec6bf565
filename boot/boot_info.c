/* SPDX-License-Identifier: MIT */
/* The entry point: chooses the parser of the boot protocol, and checks the result. */
#include "boot/boot_info_internal.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

int boot_info_parse(struct boot_info *info, uint32_t magic, uint32_t address)
{
    int error;

    memset(info, 0, sizeof(*info));
    if (magic == MULTIBOOT2_LOADER_MAGIC)
        error = multiboot2_parse(info, address);
    else if (magic == MULTIBOOT1_LOADER_MAGIC)
        error = multiboot1_parse(info, address);
    else {
        log_error("boot information: EAX = %#x at entry is no multiboot magic (%#x or %#x); "
                  "start the image by a multiboot loader",
                  magic, MULTIBOOT2_LOADER_MAGIC, MULTIBOOT1_LOADER_MAGIC);
        return -EINVAL;
    }
    if (!error && !info->range_count) {
        log_error("boot information: no memory map; the loader must pass one");
        error = -EINVAL;
    }
    if (!error && info->ranges_joined)
        log_info("boot information: the memory map has more than %d ranges; the smallest count as "
                 "reserved, and %lu KiB of RAM with them",
                 BOOT_RANGES, info->ram_lost >> 10);
    return error;
}
