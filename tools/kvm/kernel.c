/* SPDX-License-Identifier: MIT */
/* Implements tools/kvm/kernel.h. */
#define _GNU_SOURCE
#include "tools/kvm/kernel.h"

#include "tools/kvm/init.h"

#include <glob.h>
#include <linux/kvm.h>
#include <stdlib.h>

#define PAGE 4096u

uint64_t kvm_statistic(int stats, const char *name)
{
    struct kvm_stats_header head;
    uint64_t value = 0;

    must((int)pread(stats, &head, sizeof(head), 0), "KVM's statistics");
    size_t size = sizeof(struct kvm_stats_desc) + head.name_size;
    struct kvm_stats_desc *desc = malloc(size);
    for (unsigned i = 0; i < head.num_desc; i++) {
        must((int)pread(stats, desc, size, (off_t)(head.desc_offset + i * size)), "a statistic");
        if (!strcmp(desc->name, name))
            must((int)pread(stats, &value, sizeof(value), head.data_offset + desc->offset), name);
    }
    free(desc);
    return value;
}

/* Returns the number that follows `name` in a file of the kernel's, or 0 if no line begins with
 * `name`. */
static uint64_t number_in(const char *path, const char *name)
{
    char line[256];
    uint64_t value = 0;
    FILE *file = fopen(path, "r");

    must(file ? 0 : -1, path);
    while (fgets(line, sizeof(line), file))
        if (!strncmp(line, name, strlen(name)))
            value = strtoull(line + strlen(name), NULL, 0);
    fclose(file);
    return value;
}

uint64_t kernel_pages(const char *name)
{
    /* A write adds up the counts that each CPU still keeps for itself. */
    FILE *file = fopen("/proc/sys/vm/stat_refresh", "w");
    must(file && fputc('1', file) != EOF && !fclose(file) ? 0 : -1, "stat_refresh");
    return number_in("/proc/meminfo", name) * 1024 / PAGE;
}

bool kvm_mmio_caching(void)
{
    char value = 0;
    int file = must(open("/sys/module/kvm/parameters/mmio_caching", O_RDONLY), "mmio_caching");

    must((int)read(file, &value, 1), "mmio_caching");
    close(file);
    return value == 'Y';
}

uint64_t kernel_bytes(void)
{
    char line[256];
    unsigned long long first, last, sum = 0;
    FILE *map = fopen("/proc/iomem", "r"), *modules = fopen("/proc/modules", "r");

    must(map && modules ? 0 : -1, "/proc/iomem and /proc/modules");
    while (fgets(line, sizeof(line), map))
        if (strstr(line, " : Kernel ") && sscanf(line, "%llx-%llx", &first, &last) == 2)
            sum += last + 1 - first;
    while (fgets(line, sizeof(line), modules))
        if (sscanf(line, "%*s %llu", &first) == 1)
            sum += first;
    fclose(map);
    fclose(modules);
    return sum;
}

void print_mitigations(void)
{
    char line[256];
    glob_t found;

    must(glob("/sys/devices/system/cpu/vulnerabilities/*", 0, NULL, &found), "vulnerabilities");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r");
        must(file && fgets(line, sizeof(line), file) ? 0 : -1, found.gl_pathv[i]);
        fclose(file);
        if (strncmp(line, "Not affected", 12) != 0)
            printf("# mitigation: %s: %s", strrchr(found.gl_pathv[i], '/') + 1, line);
    }
    globfree(&found);
}
