/* SPDX-License-Identifier: MIT */
#include "launch/td_plan.h"

#include "launch/linux_boot.h"
#include "launch/td_lazy.h"
#include "lib/assert.h"
#include "lib/bits.h"

/* Supplied by launch/shim_image.S: the boot shim, GUEST_SHIM_SIZE bytes. */
extern const uint8_t shim_image[];

#define SHIM_PROGRAM (GUEST_SHIM_PARAMETERS + PAGE_SIZE - GUEST_SHIM) /* after its parameters */

/* ---- The parameters -------------------------------------------------------------------------- */

/* Adds a range that the shim accepts, unless it is empty. */
static void shim_add_range(struct shim_parameters *shim, uint64_t base, uint64_t end)
{
    if (base == end)
        return;
    BUG_ON(shim->range_count == SHIM_RANGES);
    shim->ranges[shim->range_count++] = (struct shim_range){base, end - base};
}

/* Adds the parts of a range that are not left unaccepted. */
static void shim_add_ranges(struct shim_parameters *shim, const struct td_unaccepted *unaccepted,
                            uint64_t base, uint64_t end)
{
    for (unsigned i = 0; i < unaccepted->count; i++) {
        const struct shim_range *r = &unaccepted->ranges[i];
        if (r->base < base || r->base >= end)
            continue;
        shim_add_range(shim, base, r->base);
        base = r->base + r->size;
    }
    shim_add_range(shim, base, end);
}

/* Adds the VM's private memory. From the BIOS area on, RAM below 3 GiB is one range. */
static void shim_set_ranges(struct shim_parameters *shim, const struct td_unaccepted *unaccepted,
                            const struct guest_image *image)
{
    const struct guest_range *ram = image->ram;
    shim_add_ranges(shim, unaccepted, ram[0].base.v, ram[0].base.v + ram[0].size);
    shim_add_ranges(shim, unaccepted, GUEST_BIOS, ram[1].base.v + ram[1].size);
    shim_add_ranges(shim, unaccepted, ram[2].base.v, ram[2].base.v + ram[2].size);
}

static void shim_add_item(struct shim_parameters *shim, unsigned rtmr, enum load_kind kind,
                          uint64_t base, uint64_t size)
{
    BUG_ON(shim->item_count == SHIM_ITEMS);
    shim->items[shim->item_count++] =
        (struct shim_item){.base = base, .size = size, .rtmr = rtmr, .kind = kind};
}

static void shim_add_items_of(struct shim_parameters *shim, unsigned rtmr, enum load_kind kind,
                              const struct load_plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++)
        if (plan->records[i].kind == kind)
            shim_add_item(shim, rtmr, kind, plan->records[i].gpa, plan->records[i].size);
}

/* The command line, the zero page and the EFI tables are parts of one record. */
static void shim_set_items(struct shim_parameters *shim, const struct load_plan *plan,
                           const struct guest_image *image, const struct shim_range *tables)
{
    const uint64_t command_line = linux_command_line(plan);
    shim_add_items_of(shim, RTMR_CONFIGURATION, LOAD_FIRMWARE, plan);
    shim_add_item(shim, RTMR_CONFIGURATION, LOAD_PARAMETERS, plan->start.info, PAGE_SIZE);
    if (tables->size)
        shim_add_item(shim, RTMR_CONFIGURATION, LOAD_PARAMETERS, tables->base, tables->size);
    shim_add_items_of(shim, RTMR_KERNEL, LOAD_SEGMENT, plan);
    shim_add_item(shim, RTMR_INPUT, LOAD_PARAMETERS, command_line, strlen(image->arguments));
    shim_add_items_of(shim, RTMR_INPUT, LOAD_INITRD, plan);
}

enum exit_code td_plan(struct load_plan *plan, const struct guest_image *image)
{
    struct shim_parameters *shim = &plan->shim;
    struct shim_range tables = {0};
    struct td_unaccepted unaccepted = {.count = 0};
    if (!plan->start.long_mode)
        REFUSE(MODULE_BAD_KERNEL, image,
               "a multiboot program cannot be a TD, which starts in 64-bit mode; use a bzImage or "
               "an ELF64 file with the entry point of Linux' 64-bit boot protocol");
    *shim = (struct shim_parameters){.magic = SHIM_MAGIC,
                                     .version = SHIM_VERSION,
                                     .vcpus = image->cpus,
                                     .entry = plan->start.entry,
                                     .zero_page = plan->start.info};
    if (image->lazy) {
        td_find_unaccepted(&unaccepted, plan, image);
        tables = td_lazy_tables(plan, image, &unaccepted);
    }
    shim_set_ranges(shim, &unaccepted, image);
    if (image->measure)
        shim_set_items(shim, plan, image, &tables);
    plan->start = (struct guest_start){.info = GUEST_SHIM_PARAMETERS, .td = true};
    enum exit_code code = plan_add(plan, image,
                                   (struct load_record){.gpa = GUEST_SHIM_PARAMETERS,
                                                        .bytes = shim,
                                                        .size = sizeof(*shim),
                                                        .extent = PAGE_SIZE,
                                                        .kind = LOAD_SHIM});
    if (code)
        return code;
    return plan_add(plan, image,
                    (struct load_record){.gpa = GUEST_SHIM + SHIM_PROGRAM,
                                         .bytes = shim_image + SHIM_PROGRAM,
                                         .size = GUEST_SHIM_SIZE - SHIM_PROGRAM,
                                         .extent = GUEST_SHIM_SIZE - SHIM_PROGRAM,
                                         .kind = LOAD_SHIM});
}

/* ---- Pages ----------------------------------------------------------------------------------- */

/* Copies the part of a record's contents that lies in the page at `gpa` into the plan's buffer. */
static void copy_part(struct load_plan *plan, const struct load_record *record, uint64_t gpa)
{
    uint64_t from = record->gpa > gpa ? record->gpa : gpa;
    uint64_t end = record->gpa + record->size;
    if (end > gpa + PAGE_SIZE)
        end = gpa + PAGE_SIZE;
    if (from < end)
        memcpy(plan->page + (from - gpa), (const char *)record->bytes + (from - record->gpa),
               end - from);
}

static const void *page_content(struct load_plan *plan, uint64_t gpa)
{
    for (unsigned i = 0; i < plan->count; i++) {
        const struct load_record *r = &plan->records[i];
        if (r->gpa <= gpa && gpa - r->gpa < r->size && r->size - (gpa - r->gpa) >= PAGE_SIZE)
            return (const char *)r->bytes + (gpa - r->gpa);
    }
    memset(plan->page, 0, sizeof(plan->page));
    for (unsigned i = 0; i < plan->count; i++)
        copy_part(plan, &plan->records[i], gpa);
    return plan->page;
}

bool td_next_page(struct load_plan *plan, struct td_page *page)
{
    const uint64_t from = page->gfn.v << PAGE_SHIFT;
    uint64_t gpa = ~0ull;
    for (unsigned i = 0; i < plan->count; i++) {
        const struct load_record *r = &plan->records[i];
        uint64_t first = align_down(r->gpa > from ? r->gpa : from, PAGE_SIZE);
        if (r->size && first < r->gpa + r->size && first < gpa) {
            gpa = first;
            page->extend = r->kind == LOAD_SHIM;
        }
    }
    if (gpa == ~0ull)
        return false;
    page->gfn = (gfn_t){gpa >> PAGE_SHIFT};
    page->content = page_content(plan, gpa);
    return true;
}
