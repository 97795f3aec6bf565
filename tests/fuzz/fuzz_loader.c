/* SPDX-License-Identifier: MIT */
/*
 * The loaders under libFuzzer. An input is a guest's file, whose last byte chooses how an ELF64
 * kernel is entered and how large the VM is. The records of a file that is accepted lie in the
 * VM's RAM or BIOS area and do not overlap, and their contents can be read.
 */
#include "launch/loader.h"
#include "lib/bits.h"

#include <stdarg.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

uint64_t direct_map;

/* Parts of the machine that load_plan() does not use, and the log, whose text is ignored. */
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu, (void)gpa, (void)buffer, (void)size;
    abort();
}

hpa_t page_alloc(unsigned order)
{
    (void)order;
    abort();
}

hpa_t virt_to_phys(const void *pointer)
{
    (void)pointer;
    abort();
}

void page_free(hpa_t page, unsigned order)
{
    (void)page, (void)order;
    abort();
}

const char *page_shortage(void)
{
    abort();
}

void log_line(enum log_level level, const char *format, ...)
{
    (void)level, (void)format;
}

void bug(const char *file, int line, const char *what)
{
    (void)file, (void)line, (void)what;
    abort();
}

static uint8_t read_all(const struct load_record *record)
{
    uint8_t sum = 0;
    for (uint64_t i = 0; i < record->size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)record->bytes)[i]);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct load_plan plan;
    static volatile uint8_t sum;
    if (!size)
        return 0;
    const uint8_t choice = data[size - 1];
    struct guest_image image = {.name = "g",
                                .file = data,
                                .size = size - 1,
                                .arguments = "quiet",
                                .entry = (enum guest_entry)(choice % 3),
                                .cpus = 1,
                                .pc = true,
                                .modules = {{"rd", 2, GUEST_MODULE_INITRD, "rd"}},
                                .module_count = 1};
    guest_layout((4ull << 20) << choice / 3 % 11, image.ram);
    if (load_plan(&plan, &image) != EXIT_OK)
        return 0;
    for (unsigned i = 0; i < plan.count; i++) {
        const struct load_record *a = &plan.records[i];
        const bool in_bios = a->gpa >= GUEST_BIOS && a->gpa + a->extent <= GUEST_MIDDLE;
        if (a->size > a->extent || (a->kind == LOAD_FIRMWARE || a->kind == LOAD_RESET
                                        ? !in_bios
                                        : !image_in_ram(&image, a->gpa, a->extent)))
            abort();
        for (unsigned j = 0; j < i; j++) {
            const struct load_record *b = &plan.records[j];
            if (a->gpa < b->gpa + b->extent && b->gpa < a->gpa + a->extent)
                abort();
        }
        sum = (uint8_t)(sum + read_all(a));
    }
    return 0;
}
