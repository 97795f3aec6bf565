/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own page tables: RAM at DIRECT_MAP, the image at KERNEL_BASE, the stacks of the
 * other CPUs, and each CPU's windows. RAM that is private to a TD is not in the direct map.
 *
 * W^X without exception: code is executable and read-only, everything else is not executable, and
 * code and constants are read-only in the direct map, too. The stacks' guard pages are not mapped.
 * Page 0 is not mapped either, unless the BIOS data in it is needed; then it is read-only.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* The end of usable RAM: RAM at or above this address does not fit into the direct map, or exceeds
 * the CPU's physical-address width. */
uint64_t paging_ram_end(void);

/* Builds the final page tables and loads them. Allocates pages, which must lie below 4 GiB. Returns
 * false if there were not enough. */
bool paging_init(const struct boot_info *info) MUST_CHECK;

/* Sets up the memory types and global pages that these page tables use. Called on each CPU. */
void paging_init_cpu(void);

/* The physical address of the root table, for CR3. */
hpa_t paging_root(void);

/* Maps pages of RAM at a second address, at which nothing is mapped yet, as writable and not
 * executable. Returns false if no page is left for a table. */
bool paging_map_data(const void *address, hpa_t pages, uint64_t size) MUST_CHECK;

enum map_type {
    MAP_CACHED,          /* firmware tables */
    MAP_WRITE_COMBINING, /* framebuffers */
    MAP_UNCACHED,
};

/* Maps `size` bytes of physical address space that is not RAM and returns their virtual address.
 * What is mapped already keeps the stricter memory type; RAM can only be MAP_CACHED. Returns NULL
 * if it is not, if no page is left for a table, or if the range exceeds the CPU's physical-address
 * width. Before paging_init(), it can be called once (for the screen), within the first 4 GiB;
 * paging_init() keeps that mapping. */
void *physical_map(hpa_t base, uint64_t size, enum map_type type) MUST_CHECK;

/* Counts the leaves that are both writable and executable. Any result but 0 is an error of the
 * build. */
uint64_t paging_count_wx(void);
