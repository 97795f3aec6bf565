/* SPDX-License-Identifier: MIT */
/* The screen as a console, for machines whose serial port is not connected. */
#pragma once

#include "boot/boot_info.h"

/* Adds the screen to the log's consoles: the linear framebuffer that the loader set up, or VGA
 * text. A framebuffer above 4 GiB can be mapped only by the final page tables, so the function is
 * called again when these exist; further calls do nothing. If the loader's description of the
 * framebuffer is inconsistent, a message says why, and the screen is not used. */
void screen_init(const struct boot_info *info);

/* Draws a picture of size x size modules with its quiet zone, as large as fits. Returns false if
 * there is no framebuffer, or if it is too small. */
bool screen_image(unsigned size, bool (*dark)(unsigned x, unsigned y));

/* How many pixels wide a module of such a picture will be; 0: it can't be drawn. */
unsigned screen_image_scale(unsigned size);
