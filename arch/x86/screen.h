/* The screen as a console, for machines whose serial port nobody reads. */
#pragma once

#include "boot/boot_info.h"

/* Adds the screen to the log's consoles: the linear framebuffer that the loader left, or VGA text.
 * A framebuffer above 4 GiB can be reached only with the final page tables, so call it again when
 * those exist; more calls do nothing. A record that makes no sense is named, and there is no
 * screen. */
void screen_init(const struct boot_info *info);
