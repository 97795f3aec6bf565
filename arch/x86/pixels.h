/*
 * A linear framebuffer as a grid of 8x16 character cells, white on black.
 *
 * Pure: it draws into the memory that it is given, whatever the loader said about it. A framebuffer
 * is on the far side of a bus, so nothing is ever read from it.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

struct pixels {
    uint8_t *base;
    uint32_t pitch, width, height; /* bytes, pixels, lines */
    unsigned bytes;                /* of a pixel: 2, 3 or 4 */
    uint32_t white;
};

/* The bytes that info->framebuffer, of kind RGB, takes. 0, after a sentence, if its record makes no
 * sense, is of a depth that we can't draw, has no room for a character, or lies in RAM. */
uint64_t pixels_size(const struct boot_info *info) MUST_CHECK;

/* Takes over a framebuffer that pixels_size() accepted and that lies at `base`; makes it black. */
void pixels_init(struct pixels *pixels, const struct boot_framebuffer *screen, void *base);

/* Draws `c`, FONT_FIRST to FONT_LAST, into a cell. The caller keeps to the whole cells of
 * width x height. */
void pixels_draw(const struct pixels *pixels, unsigned column, unsigned row, char c);
