/* SPDX-License-Identifier: MIT */
/*
 * Blocks of RAM that leave the direct map while they are private to a TD. Pure: the page tables and
 * where new ones come from are parameters, so that the hosted tests run it on tables of their own.
 * The caller holds a lock, and flushes TLBs afterwards (lib/host_tlb.h).
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
