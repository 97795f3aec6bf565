/* The glyphs of printable ASCII, 8x16. The build makes them from GRUB's font: tools/font.py. */
#pragma once

#include <stdint.h>

#define FONT_FIRST  0x20
#define FONT_LAST   0x7e
#define FONT_WIDTH  8
#define FONT_HEIGHT 16

/* A byte for each line of a glyph; its highest bit is the leftmost pixel. */
extern const uint8_t font_glyphs[FONT_LAST - FONT_FIRST + 1][FONT_HEIGHT];
