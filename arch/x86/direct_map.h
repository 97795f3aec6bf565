/* SPDX-License-Identifier: MIT */
/*
 * What changes in the direct map: blocks of RAM leave it while they are private to a TD, and
 * devices and tables of the firmware come into it. Pure: the page tables and where new ones come
 * from are parameters, so that the hosted tests run it on tables of their own. For blocks of RAM,
 * the caller holds a lock, and flushes TLBs afterwards (lib/host_tlb.h).
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* Takes the aligned 2 MiB at `block`, which are mapped as ordinary RAM, out of the direct map below
 * the top table `root`. A page of 1 GiB is split; it translates as before at each moment, and stays
 * split. Returns false if `new_table` returns PAGE_NONE; then nothing has changed. */
bool direct_hide(hpa_t root, hpa_t block, hpa_t (*new_table)(void)) MUST_CHECK;

/* Maps a block again that direct_hide() has taken out. No TLB has to be flushed, because what is
 * not present is not cached. */
void direct_show(hpa_t root, hpa_t block);

/* Is the address in a block that direct_hide() has taken out? */
bool direct_is_hidden(hpa_t root, hpa_t address);

/* Returns the entry for the virtual address at `level`, or NULL if `new_table`, which returns
 * cleared pages, returns PAGE_NONE, or if a larger leaf already covers the address. */
uint64_t *direct_entry(hpa_t root, uint64_t address, unsigned level, hpa_t (*new_table)(void));

enum direct_result {
    DIRECT_DONE,
    DIRECT_RETYPED, /* done; caches and TLBs may hold some of it by another memory type */
    DIRECT_NO_TABLE,
    DIRECT_IS_RAM, /* some of it is RAM, which is mapped write-back */
};

/* Maps the pages start..end, which are not RAM, by `flags`; page 0 becomes read-only. What has been
 * mapped already is not mapped again, but gets the stricter one of both memory types. */
enum direct_result direct_add(hpa_t root, uint64_t start, uint64_t end, uint64_t flags,
                              hpa_t (*new_table)(void)) MUST_CHECK;
