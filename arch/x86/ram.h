/*
 * The machine's RAM: which of it is free, and where what manages it lies. Pure.
 *
 * It is set up in two steps, because the first page tables map 4 GiB and no more. ram_plan() looks
 * at the memory map and sets a piece below 4 GiB apart, from which ram_early() takes pages for the
 * final page tables. When those are in place, ram_open() puts the allocator's notes wherever there
 * is room, and hands all free RAM to it. Both steps cost something for each range of the map and
 * each GiB of RAM, and nothing for each page.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/buddy.h"
#include "lib/compiler.h"

/* A machine with less memory is refused. Of this the first MiB is never used. */
#define MEMORY_MIN (24ull << 20)

struct span {
    uint64_t start, end; /* physical addresses */
};

/* The first MiB, the image, what was taken early, the allocator's notes; then the modules. */
#define TAKEN_ALWAYS 4u

struct ram {
    struct buddy buddy;
    const struct boot_info *info;
    struct span taken[TAKEN_ALWAYS + BOOT_MODULES];
    uint64_t limit; /* RAM from here on is not used */
    uint64_t early; /* ram_early() takes from above, down to here */
};

/* Looks at the map. RAM from `limit` on (a page's address) can't be reached. Keeps `info`. -ENOMEM
 * after a sentence. */
int ram_plan(struct ram *ram, const struct boot_info *info, struct span image,
             uint64_t limit) MUST_CHECK;

/* So many contiguous pages below 4 GiB, which are never given back; PAGE_NONE: there are no more.
 * Between ram_plan() and ram_open(). */
hpa_t ram_early(struct ram *ram, uint64_t pages) MUST_CHECK;

/* Makes `buddy` the allocator of all that is free. All RAM below the limit can be reached by now.
 * -ENOMEM after a sentence. */
int ram_open(struct ram *ram) MUST_CHECK;
