/* SPDX-License-Identifier: MIT */
/*
 * Where the log is kept over a warm reset (lib/kept_log.h), and the console that writes it.
 *
 * The places are the same in each boot, whatever else the loader's memory map says. The next boot
 * may have other modules and so choose another place; therefore it looks at all of them. A machine
 * whose firmware clears or tests RAM at a reset keeps nothing.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/exit_codes.h"

#define KEPT_LOG_SIZE   0x10000ull
#define KEPT_LOG_PLACES 4u

/* One of the places, or PAGE_NONE if it can't be used, because it is no RAM or a module lies there.
 * Pure. */
hpa_t kept_log_place(const struct boot_info *info, unsigned n) MUST_CHECK;

/* The place for the log of this boot, which the allocator must leave alone: the first one that can
 * be used, or PAGE_NONE. Pure. */
hpa_t kept_log_choose(const struct boot_info *info) MUST_CHECK;

/* Prints what an earlier boot has left, and keeps the log of this one from its first line on. Does
 * nothing, after a message, if there is no place for it. */
void kept_log_start(const struct boot_info *info);

/* Has kept_log_start() found anything? */
bool kept_log_found(void) MUST_CHECK;

/* Notes that the EXIT line has been printed. */
void kept_log_end(enum exit_code code);
