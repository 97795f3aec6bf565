/* VGA text mode as a console, for machines whose serial port nobody reads. */
#pragma once

#include "boot/boot_info.h"

/* Adds the screen to the log's consoles if the loader left it in text mode. */
void vga_init(const struct boot_info *info);
