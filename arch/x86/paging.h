/*
 * The hypervisor's own page tables: RAM at DIRECT_MAP, the image at KERNEL_BASE, nothing else.
 *
 * W^X without exception: code is executable and read-only, everything else is not executable, and
 * the direct map shows code and constants read-only, too. The stacks' guard pages are absent, and
 * so is page 0, unless someone asks for the BIOS' data in it: then it is read-only.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* RAM from this address on has no place in the direct map, or is more than the CPU can name. */
uint64_t paging_ram_end(void);

/* Builds the final tables and loads them. Allocates pages, which must lie below 4 GiB; false: there
 * were not enough. */
bool paging_init(const struct boot_info *info) MUST_CHECK;

/* On each CPU, under these tables: the memory types and global pages that they use. */
void paging_init_cpu(void);

/* What CR3 holds. */
hpa_t paging_root(void);

/* Maps pages of RAM a second time, at an address where nothing is, writable and not executable.
 * False: no page is left for a table. */
bool paging_map_data(const void *address, hpa_t pages, uint64_t size) MUST_CHECK;

enum map_type {
    MAP_CACHED,          /* firmware tables */
    MAP_WRITE_COMBINING, /* framebuffers */
    MAP_UNCACHED,
};

/* Makes `size` bytes of physical address space that is not RAM reachable, and returns where. NULL
 * when no page is left for tables, or when the CPU has no such addresses. Before paging_init() it
 * serves one caller, the screen, within the first 4 GiB; paging_init() keeps that mapping. */
void *physical_map(hpa_t base, uint64_t size, enum map_type type) MUST_CHECK;

/* Counts the pages that are mapped writable and executable at once: 0, or the build is wrong. */
uint64_t paging_count_wx(void);
