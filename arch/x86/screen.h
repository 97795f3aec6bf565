/* SPDX-License-Identifier: MIT */
/* The screen as a console, for machines whose serial port is not connected. */
#pragma once

#include "boot/boot_info.h"

/* Adds the screen to the log's consoles: the linear framebuffer that the loader set up, or VGA
 * text. A framebuffer above 4 GiB can be mapped only by the final page tables, so the function is
 * called again when these exist; further calls do nothing. If the loader's description of the
 * framebuffer is inconsistent, a message says why, and the screen is not used. */
void screen_init(const struct boot_info *info);
