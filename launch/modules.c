/* SPDX-License-Identifier: MIT */
#include "launch/modules.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/name_list.h"
#include "lib/page.h"
#include "lib/string.h"
#include "lib/words.h"
#include "vm/options.h"

bool module_belongs_to_guest(const struct boot_module *module)
{
    return module->string[0] == '+';
}

const char *module_name(const struct boot_module *module, char name[VM_NAME_SIZE])
{
    const char *string = module->string;
    size_t length = 0, start = 0;
    while (*string == ' ')
        string++;
    while (string[length] && string[length] != ' ') {
        length++;
        if (string[length - 1] == '/')
            start = length;
    }
    snprintf(name, VM_NAME_SIZE, "%.*s", (int)(length - start), string + start);
    size_t size = strlen(name);
    if (size > 4 && !strcmp(name + size - 4, ".elf"))
        name[size - 4] = 0;
    if (!size)
        snprintf(name, VM_NAME_SIZE, "unnamed");
    return string + length;
}

struct module_words {
    uint64_t is_file, is_initrd, disk;
};

enum disk_word {
    DISK_WRITABLE,
    DISK_READ_ONLY,
    DISK_NONE,
};
static const char *const disk_values[] = {"", "ro", NULL};

static const struct word words[] = {
    {.name = "disk",
     .kind = WORD_CHOICE,
     .choices = disk_values,
     .offset = offsetof(struct module_words, disk)},
    {.name = "file", .kind = WORD_FLAG, .offset = offsetof(struct module_words, is_file)},
    {.name = "initrd", .kind = WORD_FLAG, .offset = offsetof(struct module_words, is_initrd)},
};

int module_words_parse(const char *vm, const char *string, struct guest_module *file)
{
    struct module_words parsed = {.disk = DISK_NONE};
    char where[2 * MODULE_STRING_MAX];
    const char *name = string + 1;
    int length = 0;
    while (name[length] && name[length] != ' ')
        length++;
    snprintf(where, sizeof(where), "guest %s, its module %.*s", vm, length, name);
    int text = words_parse(name + length, words, ARRAY_SIZE(words), &parsed, where);
    if (text < 0)
        return text;
    bool is_disk = parsed.disk != DISK_NONE;
    if (parsed.is_file + parsed.is_initrd + is_disk > 1) {
        log_error("%s: file, initrd and disk exclude each other; write one of these words", where);
        return -EINVAL;
    }
    file->kind = parsed.is_initrd                ? GUEST_MODULE_INITRD
                 : parsed.disk == DISK_READ_ONLY ? GUEST_MODULE_DISK_READ_ONLY
                 : is_disk                       ? GUEST_MODULE_DISK
                                                 : GUEST_MODULE_FILE;
    const char *arguments = name + length + text;
    int whole = snprintf(file->string, sizeof(file->string), "%.*s%s%s", length, name,
                         *arguments ? " " : "", arguments);
    if (*arguments && whole >= (int)sizeof(file->string)) {
        log_error("%s: its name and its text have %d characters; the guest can get %zu", where,
                  whole, sizeof(file->string) - 1);
        return -EINVAL;
    }
    return 0;
}

static uint64_t module_end(const struct boot_module *module)
{
    return module->base.v + module->size;
}

static bool module_overlaps(const struct boot_module *module, uint64_t start, uint64_t end)
{
    return start < end && module->base.v < end && start < module_end(module);
}

static enum exit_code module_check_place(const struct boot_info *info, unsigned index,
                                         struct image_place image)
{
    const struct boot_module *module = &info->modules[index];
    if (!module->size)
        return EXIT_OK;
    /* Page 0 belongs to the BIOS and is not mapped, although the memory map calls it RAM. */
    if (module->base.v < PAGE_SIZE || !boot_is_ram(info, module->base, module->size)) {
        log_error("module %u (%s) at %#lx to %#lx is not in RAM, according to the boot loader's "
                  "memory map",
                  index + 1, module->string, module->base.v, module_end(module));
        return EXIT_MODULE_OUTSIDE;
    }
    if (module_overlaps(module, image.start, image.end)) {
        log_error("module %u (%s) at %#lx to %#lx overlaps the hypervisor at %#lx to %#lx",
                  index + 1, module->string, module->base.v, module_end(module), image.start,
                  image.end);
        return EXIT_MODULE_OVERLAP;
    }
    for (unsigned i = 0; i < info->module_count; i++) {
        const struct boot_module *other = &info->modules[i];
        if (i == index || !module_overlaps(module, other->base.v, module_end(other)))
            continue;
        log_error("module %u (%s) at %#lx to %#lx overlaps module %u (%s) at %#lx to %#lx",
                  index + 1, module->string, module->base.v, module_end(module), i + 1,
                  other->string, other->base.v, module_end(other));
        return EXIT_MODULE_OVERLAP;
    }
    return EXIT_OK;
}

enum exit_code modules_check(const struct boot_info *info, unsigned index, unsigned extra,
                             struct image_place image)
{
    enum exit_code code = EXIT_OK;
    if (extra > GUEST_MODULES) {
        log_error("module %u (%s) is followed by %u modules that belong to it (+NAME); a guest can "
                  "have at most %u",
                  index + 1, info->modules[index].string, extra, GUEST_MODULES);
        return EXIT_MODULE_WORDS;
    }
    for (unsigned i = 0; !code && i <= extra; i++)
        code = module_check_place(info, index + i, image);
    return code;
}

unsigned module_find_guest(const struct boot_info *info, const char *which)
{
    char name[VM_NAME_SIZE], number[8];
    unsigned guests = 0;
    for (unsigned i = 0; i < info->module_count; i++) {
        if (module_belongs_to_guest(&info->modules[i]))
            continue;
        (void)module_name(&info->modules[i], name);
        snprintf(number, sizeof(number), "%u", ++guests);
        if (!strcmp(which, name) || !strcmp(which, number))
            return guests;
    }
    return 0;
}

void modules_list_guests(const struct boot_info *info, char *text, size_t size)
{
    struct name_list list = {.left_out = 0};
    char name[VM_NAME_SIZE];
    for (unsigned i = 0; i < info->module_count; i++) {
        if (module_belongs_to_guest(&info->modules[i]))
            continue;
        (void)module_name(&info->modules[i], name);
        name_list_add(&list, name);
    }
    name_list_print(&list, text, size);
}

bool modules_have_name(const struct boot_info *info, const char *word, const char *pattern)
{
    char name[VM_NAME_SIZE], names[NAME_LIST_MAX + 20];
    unsigned guests = 0;
    for (unsigned i = 0; i < info->module_count; i++) {
        if (module_belongs_to_guest(&info->modules[i]))
            continue;
        (void)module_name(&info->modules[i], name);
        if (options_match(pattern, name))
            return true;
        guests++;
    }
    if (!guests)
        return true;
    modules_list_guests(info, names, sizeof(names));
    log_error("command line: %s=%s: no guest has such a name; there are: %s", word, pattern, names);
    return false;
}
