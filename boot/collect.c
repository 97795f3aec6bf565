/* SPDX-License-Identifier: MIT */
/* The functions that the parsers of both boot protocols share: they check and record what the
 * loader says. */
#include "boot/boot_info_internal.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

int boot_copy_string(char *to, size_t size, const char *from, size_t room, const char *what)
{
    size_t length = strnlen(from, room);
    if (length == room) {
        log_error("boot information: the %s has no terminating zero within its %zu bytes", what,
                  room);
        return -EINVAL;
    }
    if (length >= size) {
        log_error("boot information: the %s has %zu characters; at most %zu are supported", what,
                  length, size - 1);
        return -EINVAL;
    }
    memcpy(to, from, length + 1);
    return 0;
}

int boot_check_reach(uint32_t address, uint64_t size, const char *what)
{
    if (size <= BOOT_REACH - address)
        return 0;
    log_error("boot information: the %s at %#x with %lu bytes ends beyond 4 GiB", what, address,
              size);
    return -EINVAL;
}

int boot_add_module(struct boot_info *info, uint32_t start, uint32_t end, const char *string,
                    size_t room)
{
    if (end < start) {
        log_error("boot information: module %u ends at %#x, before its start %#x",
                  info->module_count + 1, end, start);
        return -EINVAL;
    }
    if (info->module_count == BOOT_MODULES) {
        log_error("boot information: more than %d modules", BOOT_MODULES);
        return -EINVAL;
    }
    struct boot_module *module = &info->modules[info->module_count++];
    module->base = HPA(start);
    module->size = end - start;
    return boot_copy_string(module->string, sizeof(module->string), string, room, "module string");
}
