/* SPDX-License-Identifier: MIT */
/*
 * Writes the initial image of a TD as the hypervisor makes it, by the hypervisor's own loaders:
 * `tdimage FILE STRING [FILE STRING]...`, where each FILE and STRING is a module, the guest's own
 * first. For each page in the order in which it is added, standard output gets 16 bytes, its
 * address and whether its contents are measured (MR.EXTEND), and then its 4096 bytes.
 * tools/tdreport.py reads this. Error messages are the hypervisor's.
 */
#include "launch/modules.h"
#include "launch/td_plan.h"
#include "launch/loader.h"
#include "launch/words.h"
#include "lib/log.h"
#include "tests/unit/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct load_plan plan;

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(2);
}

/* Prints the hypervisor's messages, and returns the exit status. */
static int refuse(void)
{
    fputs(support_log(), stderr);
    return 1;
}

static const void *map_file(const char *name, uint64_t *size)
{
    struct stat status;
    int file = open(name, O_RDONLY);
    if (file < 0 || fstat(file, &status))
        give_up(name);
    *size = (uint64_t)status.st_size;
    if (!*size)
        return "";
    const void *bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED)
        give_up(name);
    close(file);
    return bytes;
}

static void write_pages(void)
{
    struct td_page page = {.gfn = GFN(0)};
    for (; td_next_page(&plan, &page); page.gfn.v++) {
        const uint64_t head[] = {page.gfn.v << PAGE_SHIFT, page.extend};
        if (fwrite(head, sizeof(head), 1, stdout) != 1 ||
            fwrite(page.content, PAGE_SIZE, 1, stdout) != 1)
            give_up("standard output");
    }
    if (fflush(stdout))
        give_up("standard output");
}

/* The modules that belong to the guest: disks become devices, the others are loaded. */
static int add_module(struct guest_image *image, const char *name, const char *string)
{
    struct guest_module module;
    if (module_words_parse(image->name, string, &module))
        return -1;
    module.file = map_file(name, &module.size);
    if (module.kind >= GUEST_MODULE_DISK)
        image->disks++;
    else
        image->modules[image->module_count++] = module;
    return 0;
}

int main(int argc, char **argv)
{
    const struct vm_limits limits = {.address_bits = 48, .pcpus = ~0ull};
    static struct boot_module module;
    char name[VM_NAME_SIZE];
    struct vm_words words;
    if (argc < 3 || !(argc & 1) || argc / 2 > GUEST_MODULES + 1) {
        fprintf(stderr, "usage: tdimage FILE STRING [FILE STRING]...\n");
        return 2;
    }
    snprintf(module.string, sizeof(module.string), "%s", argv[2]);
    const char *line = module_name(&module, name);
    int arguments = vm_words_parse(name, line, GVA_CACHE_OFF, &words);
    if (arguments < 0 || vm_words_check(name, &words, &limits))
        return refuse();
    struct guest_image image = {.name = name, .arguments = line + arguments};
    image.file = map_file(argv[1], &image.size);
    vm_words_describe(&words, &image);
    guest_layout(words.memory, image.ram);
    for (int i = 3; i < argc; i += 2)
        if (add_module(&image, argv[i], argv[i + 1]))
            return refuse();
    if (!image.td)
        log_error("guest %s: it is no TD without the word tdx", name);
    if (!image.td || load_plan(&plan, &image))
        return refuse();
    write_pages();
    return 0;
}
