/* SPDX-License-Identifier: MIT */
/* Draws into a linear framebuffer; see the header. Pure. */
#include "arch/x86/pixels.h"

#include "arch/x86/font.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

/* Limits on the number of bytes in a line and on the number of lines. No screen exceeds them, and
 * their product cannot overflow. */
#define PITCH_MAX  0x40000u
#define HEIGHT_MAX 0x10000u

/* The type of the stores. They are as few and as wide as possible, because each may be a separate
 * bus transaction. Lines may start at any address, so the type has no alignment. */
typedef volatile uint64_t __attribute__((aligned(1), may_alias)) wide_t;

static unsigned bytes_of_pixel(const struct boot_framebuffer *screen)
{
    return (screen->bits_per_pixel + 7) / 8;
}

static bool field_fits(const struct boot_framebuffer *screen, struct boot_colour field)
{
    return field.size && field.position + field.size <= screen->bits_per_pixel;
}

/* Returns what is wrong with the loader's description of the framebuffer, or NULL. */
static const char *complaint(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    unsigned bytes = bytes_of_pixel(screen);
    if (screen->bits_per_pixel < 15 || screen->bits_per_pixel > 32)
        return "only 15 to 32 bits are supported";
    if (!field_fits(screen, screen->red) || !field_fits(screen, screen->green) ||
        !field_fits(screen, screen->blue))
        return "a colour's bits are not within a pixel";
    if (screen->width < FONT_WIDTH || screen->height < FONT_HEIGHT)
        return "it has no room for a character";
    if (screen->pitch > PITCH_MAX || screen->height > HEIGHT_MAX)
        return "no screen is so large";
    if (screen->width > screen->pitch / bytes)
        return "its lines overlap";
    uint64_t size = (uint64_t)screen->pitch * screen->height;
    if (screen->base.v > BIT(52) - size)
        return "it ends beyond the largest physical address";
    if (boot_touches_ram(info, screen->base, size))
        return "it lies in RAM";
    return NULL;
}

uint64_t pixels_size(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    const char *why = complaint(info);
    if (why) {
        log_error("screen: the framebuffer at %#lx, %u x %u with %u bits and lines of %u bytes, "
                  "is not used: %s",
                  screen->base.v, screen->width, screen->height, screen->bits_per_pixel,
                  screen->pitch, why);
        return 0;
    }
    return (uint64_t)screen->pitch * screen->height;
}

/* Text on a screen that has more room than this for it is enlarged. */
#define COLUMNS_MIN 100u
#define ROWS_MIN    25u
#define SCALE_MAX   8u /* 7680 x 4320 */

static unsigned choose_scale(uint32_t width, uint32_t height)
{
    unsigned across = width / (COLUMNS_MIN * FONT_WIDTH), down = height / (ROWS_MIN * FONT_HEIGHT);
    unsigned scale = across < down ? across : down;
    return !scale ? 1 : scale < SCALE_MAX ? scale : SCALE_MAX;
}

void pixels_init(struct pixels *pixels, const struct boot_framebuffer *screen, void *base)
{
    *pixels = (struct pixels){
        .base = base,
        .pitch = screen->pitch,
        .width = screen->width,
        .height = screen->height,
        .bytes = bytes_of_pixel(screen),
        .red = screen->red,
        .green = screen->green,
        .blue = screen->blue,
        .scale = choose_scale(screen->width, screen->height),
    };
    pixels_fill(pixels, 0, 0, pixels->width, pixels->height, 0);
}

static uint32_t scaled_colour(struct boot_colour field, uint32_t value)
{
    return (uint32_t)((value & 255) * (BIT(field.size) - 1) / 255 << field.position);
}

uint32_t pixels_colour(const struct pixels *pixels, uint32_t rgb)
{
    return scaled_colour(pixels->red, rgb >> 16) | scaled_colour(pixels->green, rgb >> 8) |
           scaled_colour(pixels->blue, rgb);
}

static uint8_t *pixel_address(const struct pixels *pixels, uint32_t x, uint32_t y)
{
    return pixels->base + (size_t)y * pixels->pitch + (size_t)x * pixels->bytes;
}

/* Puts `count` pixels into a line that is prepared in ordinary memory. Each store writes four
 * bytes, of which the next pixel overwrites those that are not this one's. */
static void put_pixels(uint8_t *to, unsigned bytes, uint32_t colour, unsigned count)
{
    for (; count; count--, to += bytes)
        memcpy(to, &colour, sizeof(colour));
}

#define EIGHT 8u /* pixels, which fill a whole number of wide stores at each depth */
#define SPARE sizeof(uint32_t)

static void fill_line(const struct pixels *pixels, uint8_t *at, const uint64_t *eight,
                      uint32_t width)
{
    for (; width >= EIGHT; width -= EIGHT)
        for (unsigned i = 0; i < pixels->bytes; i++, at += sizeof(wide_t))
            *(wide_t *)at = eight[i];
    for (unsigned i = 0; i < width * pixels->bytes; i++)
        *(volatile uint8_t *)at++ = ((const uint8_t *)eight)[i];
}

void pixels_fill(const struct pixels *pixels, uint32_t x, uint32_t y, uint32_t width,
                 uint32_t height, uint32_t colour)
{
    uint64_t eight[(EIGHT * sizeof(uint32_t) + SPARE) / sizeof(uint64_t) + 1];
    uint8_t *at = pixel_address(pixels, x, y);
    put_pixels((uint8_t *)eight, pixels->bytes, colour, EIGHT);
    for (; height; height--, at += pixels->pitch)
        fill_line(pixels, at, eight, width);
}

void pixels_draw(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale, char c,
                 struct ink ink)
{
    uint64_t
        line[(FONT_WIDTH * PIXELS_SCALE_MAX * sizeof(uint32_t) + SPARE) / sizeof(uint64_t) + 1];
    const uint8_t *glyph = font_glyphs[c - FONT_FIRST];
    uint8_t *at = pixel_address(pixels, x, y);
    for (unsigned row = 0; row < FONT_HEIGHT; row++) {
        uint8_t *to = (uint8_t *)line;
        for (unsigned bit = 0x80; bit; bit >>= 1, to += scale * pixels->bytes)
            put_pixels(to, pixels->bytes, glyph[row] & bit ? ink.fore : ink.back, scale);
        for (unsigned i = 0; i < scale; i++, at += pixels->pitch)
            for (unsigned j = 0; j < scale * pixels->bytes; j++)
                ((wide_t *)at)[j] = line[j];
    }
}

/* Draws a line of modules as runs of one colour. */
static void draw_modules(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale,
                         unsigned size, unsigned line, bool (*dark)(unsigned x, unsigned y))
{
    for (unsigned from = 0, to; from < size; from = to) {
        bool black = dark(from, line);
        for (to = from + 1; to < size && dark(to, line) == black; to++)
            ;
        if (black)
            pixels_fill(pixels, x + from * scale, y, (to - from) * scale, scale, 0);
    }
}

void pixels_draw_image(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale,
                       unsigned size, bool (*dark)(unsigned x, unsigned y))
{
    uint32_t side = (size + 2 * PIXELS_QUIET) * scale, quiet = PIXELS_QUIET * scale;
    pixels_fill(pixels, x, y, side, side, pixels_colour(pixels, 0xffffff));
    for (unsigned line = 0; line < size; line++)
        draw_modules(pixels, x + quiet, y + quiet + line * scale, scale, size, line, dark);
}
