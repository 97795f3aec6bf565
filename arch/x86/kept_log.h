/* SPDX-License-Identifier: MIT */
/*
 * Where the log is kept over a warm reset (lib/kept_log.h): the last 64 KiB below the image.
 *
 * The place is the same in each boot, whatever the loader's memory map says. It is far from both
 * ends of RAM that firmware and boot loaders use: SeaBIOS, OVMF and GRUB take what they need from
 * the top downwards, and GRUB unpacks itself from 1 MiB upwards. It costs no large page either,
 * because the image and the first MiB share its 2 MiB. A machine whose firmware clears or tests RAM
 * at a reset keeps nothing.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/exit_codes.h"

#define KEPT_LOG_START 0x1f0000ull
#define KEPT_LOG_END   0x200000ull

/* Prints what the boot before this one has left, and keeps the log of this one from its first line
 * on. Does nothing, after a message, if the loader has put a module there, or if it is no RAM. */
void kept_log_start(const struct boot_info *info);

/* Has kept_log_start() found anything? */
bool kept_log_found(void) MUST_CHECK;

/* Notes that the EXIT line has been printed. */
void kept_log_end(enum exit_code code);
