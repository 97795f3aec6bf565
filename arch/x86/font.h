/* SPDX-License-Identifier: MIT */
/* The glyphs of printable ASCII, 8x16 pixels. tools/font.py makes them from GRUB's font during the
 * build. */
#pragma once

#include <stdint.h>

#define FONT_FIRST  0x20
#define FONT_LAST   0x7e
#define FONT_WIDTH  8
#define FONT_HEIGHT 16

/* One byte for each line of a glyph; bit 7 is the leftmost pixel. */
extern const uint8_t font_glyphs[FONT_LAST - FONT_FIRST + 1][FONT_HEIGHT];
