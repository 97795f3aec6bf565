/* SPDX-License-Identifier: MIT */
/* Finds the free RAM and hands it to the allocator; see the header. Pure. */
#include "arch/x86/ram.h"

#include "arch/x86/kept_log.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"

#define LOW_MEMORY  0x100000ull /* left to the firmware and to the trampoline of other CPUs */
#define BOOT_MAPPED BIT(32)     /* end of what boot/start.S maps */

enum taken {
    TAKEN_LOW,
    TAKEN_IMAGE,
    TAKEN_EARLY,
    TAKEN_NOTES,
    TAKEN_KEPT_LOG,
};

/* ---- Free pieces ----------------------------------------------------------------------------- */

typedef void (*use_piece)(struct span piece, void *context);

/* Returns the lowest used span that ends above `from`, or one beyond all memory if there is
 * none. */
static struct span next_taken(const struct ram *ram, uint64_t from)
{
    struct span best = {UINT64_MAX, UINT64_MAX};
    for (unsigned i = 0; i < TAKEN_ALWAYS + ram->info->module_count; i++) {
        struct span s = ram->taken[i];
        if (s.end > s.start && s.end > from && s.start < best.start)
            best = s;
    }
    return best;
}

/* Calls `use` for each free piece of whole pages below `high`, in ascending order. */
static void for_each_free(const struct ram *ram, uint64_t high, use_piece use, void *context)
{
    for (unsigned i = 0; i < ram->info->range_count; i++) {
        const struct boot_range *range = &ram->info->ranges[i];
        uint64_t end = range->base.v + range->size < high ? range->base.v + range->size : high;
        uint64_t at = align_up(range->base.v, PAGE_SIZE);
        if (range->kind != BOOT_RAM)
            continue;
        end = align_down(end, PAGE_SIZE);
        while (at < end) {
            struct span taken = next_taken(ram, at), piece = {at, end};
            if (taken.start < end)
                piece.end = align_down(taken.start, PAGE_SIZE);
            if (piece.start < piece.end)
                use(piece, context);
            if (taken.start >= end)
                break;
            at = align_up(taken.end, PAGE_SIZE);
        }
    }
}

static void keep_largest(struct span piece, void *context)
{
    struct span *largest = context;
    if (piece.end - piece.start > largest->end - largest->start)
        *largest = piece;
}

static struct span largest_below(const struct ram *ram, uint64_t high)
{
    struct span largest = {0, 0};
    for_each_free(ram, high, keep_largest, &largest);
    return largest;
}

/* ---- The plan -------------------------------------------------------------------------------- */

/* Adds up the RAM that can be used, and prints how much can't be used. */
static uint64_t usable_ram(const struct boot_info *info, uint64_t limit)
{
    uint64_t usable = 0, beyond = 0;
    for (unsigned i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        uint64_t end = range->base.v + range->size;
        if (range->kind != BOOT_RAM)
            continue;
        uint64_t cut = end <= limit ? 0 : range->base.v >= limit ? range->size : end - limit;
        usable += range->size - cut;
        beyond += cut;
    }
    if (beyond)
        log_info("memory: %lu MiB of RAM are not used: they lie at %#lx or above, which can't be "
                 "reached here",
                 beyond >> 20, limit);
    return usable;
}

int ram_plan(struct ram *ram, const struct boot_info *info, struct span image, uint64_t limit)
{
    *ram = (struct ram){.info = info, .limit = limit};
    uint64_t usable = usable_ram(info, limit);
    if (usable + LOW_MEMORY < MEMORY_MIN) {
        log_error("%lu KiB of RAM, but a machine of at least %llu MiB is needed; give it more "
                  "memory",
                  usable >> 10, MEMORY_MIN >> 20);
        return -ENOMEM;
    }
    ram->taken[TAKEN_LOW] = (struct span){0, LOW_MEMORY};
    ram->taken[TAKEN_IMAGE] = image;
    hpa_t kept = kept_log_choose(info);
    if (!page_is_none(kept))
        ram->taken[TAKEN_KEPT_LOG] = (struct span){kept.v, kept.v + KEPT_LOG_SIZE};
    for (unsigned i = 0; i < info->module_count; i++) {
        const struct boot_module *module = &info->modules[i];
        ram->taken[TAKEN_ALWAYS + i] = (struct span){module->base.v, module->base.v + module->size};
    }
    struct span piece = largest_below(ram, limit < BOOT_MAPPED ? limit : BOOT_MAPPED);
    if (piece.start == piece.end) {
        log_error("the loader left no free page of RAM between 1 MiB and 4 GiB, where page tables "
                  "could begin");
        return -ENOMEM;
    }
    ram->taken[TAKEN_EARLY] = (struct span){piece.end, piece.end};
    ram->early = piece.start;
    return 0;
}

hpa_t ram_early(struct ram *ram, uint64_t pages)
{
    struct span *taken = &ram->taken[TAKEN_EARLY];
    if (taken->start - ram->early < pages << PAGE_SHIFT)
        return PAGE_NONE;
    taken->start -= pages << PAGE_SHIFT;
    return HPA(taken->start);
}

/* ---- The allocator --------------------------------------------------------------------------- */

/* The number of pages for which the allocator needs records: all pages of each section that has a
 * free piece, but only those up to `end` of the last section. */
struct extent {
    uint64_t end, pages; /* `end` is a page frame number */
    uint64_t sections;   /* sections up to this one are counted */
};

static void ram_extend(struct span piece, void *context)
{
    struct extent *extent = context;
    uint64_t first = (piece.start >> PAGE_SHIFT) / BUDDY_SECTION_PAGES;
    extent->end = piece.end >> PAGE_SHIFT;
    if (first < extent->sections)
        first = extent->sections;
    extent->sections = buddy_sections(extent->end);
    extent->pages += (extent->sections - first) * BUDDY_SECTION_PAGES;
}

static void ram_add_piece(struct span piece, void *context)
{
    buddy_add(context, piece.start >> PAGE_SHIFT, piece.end >> PAGE_SHIFT);
}

int ram_open(struct ram *ram)
{
    struct extent extent = {0};
    for_each_free(ram, ram->limit, ram_extend, &extent);
    uint64_t sections =
        align_up(buddy_sections(extent.end) * sizeof(struct buddy_section), PAGE_SIZE);
    hpa_t table = ram_early(ram, sections >> PAGE_SHIFT);
    uint64_t pages = extent.pages - (align_up(extent.end, BUDDY_SECTION_PAGES) - extent.end);
    uint64_t bytes = align_up(pages * (sizeof(uint32_t) + 1), PAGE_SIZE);
    struct span largest = largest_below(ram, ram->limit);
    if (page_is_none(table) || largest.end - largest.start < bytes + MEMORY_MIN / 4) {
        log_error(
            "no free piece of RAM has room for the allocator's records of all pages: they take "
            "%lu KiB, the largest piece has %lu KiB",
            bytes >> 10, (largest.end - largest.start) >> 10);
        return -ENOMEM;
    }
    ram->taken[TAKEN_NOTES] = (struct span){largest.end - bytes, largest.end};
    uint32_t *users = phys_to_virt(HPA(largest.end - bytes));
    buddy_init(&ram->buddy, phys_to_virt(table), (uint8_t *)(users + pages), users, extent.end);
    for_each_free(ram, ram->limit, ram_add_piece, &ram->buddy);
    return 0;
}
