/* SPDX-License-Identifier: MIT */
/*
 * The loaders under libFuzzer. An input is a guest's file, whose last byte chooses how an ELF64
 * kernel is entered, how large the VM is, and whether it is a TD. The records of a file that is
 * accepted lie in the VM's RAM or BIOS area, or are a TD's boot shim, and do not overlap, and their
 * contents can be read, also as the pages of a TD.
 */
#include "launch/loader.h"
#include "launch/td_plan.h"
#include "lib/bits.h"

#include <stdarg.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

uint64_t direct_map;
extern const uint8_t shim_image[];
const uint8_t shim_image[GUEST_SHIM_SIZE];

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

/* Does the record lie where records of its kind may lie? */
static bool in_place(const struct guest_image *image, const struct load_record *r)
{
    switch (r->kind) {
    case LOAD_FIRMWARE:
    case LOAD_RESET:
        return r->gpa >= GUEST_BIOS && r->gpa + r->extent <= GUEST_MIDDLE;
    case LOAD_SHIM:
        return image->td && r->gpa >= GUEST_SHIM &&
               r->gpa + r->extent <= GUEST_SHIM + GUEST_SHIM_SIZE;
    default:
        return image_in_ram(image, r->gpa, r->extent);
    }
}

static uint8_t read_pages(struct load_plan *plan)
{
    uint8_t sum = 0;
    for (struct td_page page = {0}; td_next_page(plan, &page); page.gfn.v++)
        for (unsigned i = 0; i < PAGE_SIZE; i++)
            sum = (uint8_t)(sum + ((const uint8_t *)page.content)[i]);
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
                                .td = choice / 33 & 1,
                                .measure = choice / 33 & 2,
                                .lazy = choice / 33 & 4,
                                .modules = {{"rd", 2, GUEST_MODULE_INITRD, "rd"}},
                                .module_count = 1};
    guest_layout((4ull << 20) << choice / 3 % 11, image.ram);
    if (load_plan(&plan, &image) != EXIT_OK)
        return 0;
    for (unsigned i = 0; i < plan.count; i++) {
        const struct load_record *a = &plan.records[i];
        if (a->size > a->extent || !in_place(&image, a))
            abort();
        for (unsigned j = 0; j < i; j++) {
            const struct load_record *b = &plan.records[j];
            if (a->gpa < b->gpa + b->extent && b->gpa < a->gpa + a->extent)
                abort();
        }
        sum = (uint8_t)(sum + read_all(a));
    }
    if (image.td)
        sum = (uint8_t)(sum + read_pages(&plan));
    return 0;
}
