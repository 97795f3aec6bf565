/* SPDX-License-Identifier: MIT */
/*
 * A linear framebuffer as a grid of 8x16 character cells, white on black.
 *
 * Pure: it draws into the memory that it is given, and does not use the address that the loader
 * reported. It never reads the framebuffer, because reads over a bus are slow.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

#define PIXELS_GROUP 4u /* pixels of a glyph line that are drawn at once */

struct pixels {
    uint8_t *base;
    uint32_t pitch, width, height; /* bytes, pixels, lines */
    unsigned bytes;                /* bytes of a pixel: 2, 3 or 4 */
    uint32_t white;
    uint64_t groups[1u << PIXELS_GROUP][2]; /* bytes of four pixels, by the set of white ones */
};

/* Returns the size in bytes of info->framebuffer, which is of kind RGB. Returns 0 after a message
 * if the loader's description of it is inconsistent, has an unsupported depth, leaves no room for a
 * character, or places it in RAM. */
uint64_t pixels_size(const struct boot_info *info) MUST_CHECK;

/* Initializes `pixels` for a framebuffer that pixels_size() accepted and that is mapped at `base`,
 * and clears it to black. */
void pixels_init(struct pixels *pixels, const struct boot_framebuffer *screen, void *base);

/* Draws `c`, which is in FONT_FIRST..FONT_LAST, into a cell, which must lie completely within width
 * x height. */
void pixels_draw(const struct pixels *pixels, unsigned column, unsigned row, char c);
