/* SPDX-License-Identifier: MIT */
/* Builds one map, sorted and without overlaps, from the entries that the loader passes. Pure. */
#include "boot/boot_info_internal.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* No x86 CPU has wider physical addresses, so no address at or above this one can be accessed. */
#define PHYSICAL_END BIT(52)

/* Where entries overlap, the stricter kind applies: memory that the firmware may still write to is
 * not RAM, whatever another entry says. */
static unsigned strictness(enum boot_memory kind)
{
    static const uint8_t rank[] = {
        [BOOT_RAM] = 0, [BOOT_ACPI] = 1, [BOOT_NVS] = 2, [BOOT_RESERVED] = 3, [BOOT_BAD] = 4};
    return rank[kind];
}

static uint64_t range_end(const struct boot_range *range)
{
    return range->base.v + range->size;
}

static void range_remove(struct boot_info *info, unsigned at)
{
    info->range_count--;
    memmove(&info->ranges[at], &info->ranges[at + 1],
            (info->range_count - at) * sizeof(info->ranges[0]));
}

static void range_insert(struct boot_info *info, unsigned at, uint64_t start, uint64_t end,
                         enum boot_memory kind)
{
    memmove(&info->ranges[at + 1], &info->ranges[at],
            (info->range_count - at) * sizeof(info->ranges[0]));
    info->ranges[at] = (struct boot_range){.base = HPA(start), .size = end - start, .kind = kind};
    info->range_count++;
}

/* The bytes of RAM that are lost when this range and the next one become one reserved range. */
static uint64_t ram_of_both(const struct boot_range *range)
{
    return (range[0].kind == BOOT_RAM ? range[0].size : 0) +
           (range[1].kind == BOOT_RAM ? range[1].size : 0);
}

/* The cost of joining this range and the next one: the RAM of both, and the gap between them,
 * because a later entry may say that the gap is RAM. */
static uint64_t cost_of_joining(const struct boot_range *range)
{
    return ram_of_both(range) + range[1].base.v - range_end(range);
}

/* Joins the two neighbours with the lowest cost into one reserved range. A map of any number of
 * ranges fits with that, at the price of its smallest pieces. */
static void join_cheapest(struct boot_info *info)
{
    unsigned best = 0;
    for (unsigned i = 1; i + 1 < info->range_count; i++)
        if (cost_of_joining(&info->ranges[i]) < cost_of_joining(&info->ranges[best]))
            best = i;
    struct boot_range *range = &info->ranges[best];
    info->ranges_joined++;
    info->ram_lost += ram_of_both(range);
    range->size = range_end(range + 1) - range->base.v;
    range->kind = BOOT_RESERVED;
    range_remove(info, best + 1);
}

/* Merges this range with the next one if they touch and are of the same kind. */
static void merge_with_next(struct boot_info *info, unsigned at)
{
    struct boot_range *range = &info->ranges[at];
    if (at + 1 >= info->range_count || range_end(range) != range[1].base.v ||
        range->kind != range[1].kind)
        return;
    range->size += range[1].size;
    range_remove(info, at + 1);
}

/* Gives start..end, which lies within the range at index `at`, another kind. */
static void range_carve(struct boot_info *info, unsigned at, uint64_t start, uint64_t end,
                        enum boot_memory kind)
{
    const struct boot_range whole = info->ranges[at];
    range_remove(info, at);
    if (end < range_end(&whole))
        range_insert(info, at, end, range_end(&whole), whole.kind);
    range_insert(info, at, start, end, kind);
    if (whole.base.v < start)
        range_insert(info, at, whole.base.v, start, whole.kind);
}

/* Adds a first part of start..end to the map and returns where that part ends. The part begins at
 * `start` and is as long as possible while it overlaps one range or none. */
static uint64_t put_first_part(struct boot_info *info, uint64_t start, uint64_t end,
                               enum boot_memory kind)
{
    while (info->range_count + 2 > BOOT_RANGES)
        join_cheapest(info);
    unsigned at = 0;
    while (at < info->range_count && range_end(&info->ranges[at]) <= start)
        at++;
    const struct boot_range *range = &info->ranges[at];
    if (at == info->range_count || range->base.v > start) {
        if (at < info->range_count && range->base.v < end)
            end = range->base.v;
        range_insert(info, at, start, end, kind);
    } else {
        if (range_end(range) < end)
            end = range_end(range);
        if (strictness(kind) > strictness(range->kind))
            range_carve(info, at, start, end, kind);
    }
    /* The added range is at `at`, or at `at` + 1 after the rest of the range from which it was
     * carved. */
    for (unsigned i = at + 2; i-- > (at ? at - 1 : 0);)
        merge_with_next(info, i);
    return end;
}

int boot_add_range(struct boot_info *info, uint64_t base, uint64_t size, uint32_t kind)
{
    bool wraps = base && size > 0 - base; /* an entry may end at 2^64, but no later */
    if (kind < BOOT_RAM || kind > BOOT_BAD)
        kind = BOOT_RESERVED;
    if (wraps && kind == BOOT_RAM) {
        log_error("boot information: memory map entry at %#lx with size %#lx wraps around", base,
                  size);
        return -EINVAL;
    }
    uint64_t end = wraps || base + size < base ? PHYSICAL_END : base + size;
    if (end > PHYSICAL_END)
        end = PHYSICAL_END;
    while (base < end)
        base = put_first_part(info, base, end, (enum boot_memory)kind);
    return 0;
}

bool boot_is_ram(const struct boot_info *info, hpa_t base, uint64_t size)
{
    for (unsigned i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        if (range->kind == BOOT_RAM && base.v >= range->base.v && size <= range->size &&
            base.v - range->base.v <= range->size - size)
            return true;
    }
    return false;
}

bool boot_touches_ram(const struct boot_info *info, hpa_t base, uint64_t size)
{
    for (unsigned i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        if (range->kind == BOOT_RAM && base.v < range_end(range) && range->base.v < base.v + size)
            return true;
    }
    return false;
}
