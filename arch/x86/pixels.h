/* SPDX-License-Identifier: MIT */
/*
 * A linear framebuffer: glyphs that are scaled by an integer, rectangles, and pictures of modules.
 *
 * Pure: it draws into the memory that it is given, and does not use the address that the loader
 * reported. It never reads the framebuffer, because reads over a bus are slow, and its stores are
 * as wide as possible and go in the order of addresses, so that a CPU can combine them.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

#define PIXELS_SCALE_MAX 24u /* of a glyph */

struct pixels {
    uint8_t *base;
    uint32_t pitch, width, height; /* bytes, pixels, lines */
    unsigned bytes;                /* bytes of a pixel: 2, 3 or 4 */
    struct boot_colour red, green, blue;
    unsigned scale; /* of ordinary text */
};

/* Two colours in the framebuffer's format: of what is drawn, and around it. */
struct ink {
    uint32_t fore, back;
};

/* Returns the size in bytes of info->framebuffer, which is of kind RGB. Returns 0 after a message
 * if the loader's description of it is inconsistent, has an unsupported depth, leaves no room for a
 * character, or places it in RAM. */
uint64_t pixels_size(const struct boot_info *info) MUST_CHECK;

/* Initializes `pixels` for a framebuffer that pixels_size() accepted and that is mapped at `base`,
 * and clears it to black. The scale is chosen so that a large screen has at least 100 columns and
 * 25 rows, but not many more: 128 x 48 on 1024 x 768 pixels, 120 x 33 on 1920 x 1080 and on
 * 3840 x 2160. */
void pixels_init(struct pixels *pixels, const struct boot_framebuffer *screen, void *base);

/* Returns a colour, given as 0xRRGGBB, in the framebuffer's format. */
uint32_t pixels_colour(const struct pixels *pixels, uint32_t rgb);

/* Draws `c`, which is in FONT_FIRST..FONT_LAST, with its upper left corner at a pixel. All of the
 * 8 x 16 pixels, each `scale` x `scale`, must lie within width x height. */
void pixels_draw(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale, char c,
                 struct ink ink);

/* Fills a rectangle, which must lie within width x height. */
void pixels_fill(const struct pixels *pixels, uint32_t x, uint32_t y, uint32_t width,
                 uint32_t height, uint32_t colour);

/* Draws a picture of size x size modules, each `scale` x `scale` pixels, black on white, with a
 * quiet zone of PIXELS_QUIET modules around it. All of it must lie within width x height. */
#define PIXELS_QUIET 4u
void pixels_draw_image(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale,
                       unsigned size, bool (*dark)(unsigned x, unsigned y));
