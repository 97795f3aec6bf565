/* SPDX-License-Identifier: MIT */
/*
 * The machine's RAM: which parts are free, and where the allocator's records lie. Pure.
 *
 * It is set up in two steps, because the boot page tables map only 4 GiB. ram_plan() examines the
 * memory map and reserves a piece below 4 GiB, from which ram_early() takes pages for the final
 * page tables. When these are in place, ram_open() puts the allocator's records wherever there is
 * room and gives all free RAM to the allocator. The cost of both steps grows with the number of
 * ranges in the map and of GiBs of RAM, but not with the number of pages.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/buddy.h"
#include "lib/compiler.h"

/* The least memory of a machine; one with less is refused. The first MiB of it is never used. */
#define MEMORY_MIN (24ull << 20)

struct span {
    uint64_t start, end; /* physical addresses */
};

/* The used spans that always exist: the first MiB, the image, the early pages, the allocator's
 * records and the kept log. The modules' spans follow them. */
#define TAKEN_ALWAYS 5u

struct ram {
    struct buddy buddy;
    const struct boot_info *info;
    struct span taken[TAKEN_ALWAYS + BOOT_MODULES];
    uint64_t limit; /* RAM at or above this address is not used */
    uint64_t early; /* ram_early() takes pages downwards, until it reaches this address */
};

/* Examines the memory map. RAM at or above `limit`, which is page-aligned, can't be used. Keeps a
 * pointer to `info`. Returns 0, or -ENOMEM after a message. */
int ram_plan(struct ram *ram, const struct boot_info *info, struct span image,
             uint64_t limit) MUST_CHECK;

/* Allocates contiguous pages below 4 GiB, which are never freed. Returns PAGE_NONE if too few are
 * left. Called between ram_plan() and ram_open(). */
hpa_t ram_early(struct ram *ram, uint64_t pages) MUST_CHECK;

/* Makes `buddy` the allocator of all free RAM. All RAM below the limit must be mapped. Returns 0,
 * or -ENOMEM after a message. */
int ram_open(struct ram *ram) MUST_CHECK;
