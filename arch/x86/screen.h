/* SPDX-License-Identifier: MIT */
/* The screen as a console, for machines whose serial port is not connected. */
#pragma once

#include "arch/x86/verdict.h"
#include "boot/boot_info.h"

/* Adds the screen to the log's consoles: the linear framebuffer that the loader set up, or VGA
 * text. A framebuffer above 4 GiB can be mapped only by the final page tables, so the function is
 * called again when these exist; further calls do nothing. If the loader's description of the
 * framebuffer is inconsistent, a message says why, and the screen is not used. */
void screen_init(const struct boot_info *info);

/* Is the screen a console? */
bool screen_is_used(void);

/* The functions below are for a machine that is about to stop: only one CPU is left. */

/* Shows the verdict in the last rows of the screen. They are taken out of the console, whose text
 * moves up. Further calls replace the verdict. A screen that has too few rows for it, and a machine
 * without a screen, show none. */
void screen_verdict(const struct verdict_text *text);

/* If lines have left the screen, shows the log again from its beginning, page by page. `wait`
 * returns when the reader wants the next page. */
void screen_show_pages(void (*wait)(void));

/* Draws a picture of size x size modules with its quiet zone, as large as fits above the verdict,
 * at the right edge. Returns false if there is no framebuffer, or if it is too small. The scale is
 * that of a module in pixels; 0: the picture can't be drawn. */
unsigned screen_image_scale(unsigned size);
bool screen_image(unsigned size, bool (*dark)(unsigned x, unsigned y));
