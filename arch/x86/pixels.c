/* SPDX-License-Identifier: MIT */
/* Draws characters into a linear framebuffer; see the header. Pure. */
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

static uint32_t field_mask(struct boot_colour field)
{
    return (uint32_t)((BIT(field.size) - 1) << field.position);
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

static void clear_line(uint8_t *at, size_t size)
{
    for (; size >= sizeof(wide_t); size -= sizeof(wide_t), at += sizeof(wide_t))
        *(wide_t *)at = 0;
    for (; size; size--)
        *(volatile uint8_t *)at++ = 0;
}

/* Computes the bytes of each group of four pixels, one group for each choice of the white ones. */
static void make_groups(struct pixels *pixels)
{
    for (unsigned set = 0; set < ARRAY_SIZE(pixels->groups); set++) {
        uint8_t *to = (uint8_t *)pixels->groups[set];
        for (unsigned x = 0; x < PIXELS_GROUP; x++) {
            uint32_t colour = set & 8 >> x ? pixels->white : 0;
            for (unsigned byte = 0; byte < pixels->bytes; byte++)
                *to++ = (uint8_t)(colour >> 8 * byte);
        }
    }
}

void pixels_init(struct pixels *pixels, const struct boot_framebuffer *screen, void *base)
{
    *pixels = (struct pixels){
        .base = base,
        .pitch = screen->pitch,
        .width = screen->width,
        .height = screen->height,
        .bytes = bytes_of_pixel(screen),
        .white = field_mask(screen->red) | field_mask(screen->green) | field_mask(screen->blue),
    };
    make_groups(pixels);
    for (size_t y = 0; y < pixels->height; y++)
        clear_line(pixels->base + y * pixels->pitch, (size_t)pixels->width * pixels->bytes);
}

/* Draws one line of a glyph: two groups of four pixels. At each supported depth, eight pixels fill
 * a whole number of wide stores. */
static void draw_line(const struct pixels *pixels, uint8_t *at, uint8_t bits)
{
    typedef uint64_t __attribute__((aligned(1), may_alias)) loose_t;
    uint64_t line[FONT_WIDTH * sizeof(pixels->white) / sizeof(uint64_t)];
    const uint64_t *left = pixels->groups[bits >> 4], *right = pixels->groups[bits & 15];
    loose_t *middle = (loose_t *)((uint8_t *)line + PIXELS_GROUP * (size_t)pixels->bytes);
    line[0] = left[0];
    line[1] = left[1];
    middle[0] = right[0];
    middle[1] = right[1];
    for (unsigned i = 0; i < pixels->bytes; i++)
        ((wide_t *)at)[i] = line[i];
}

void pixels_draw(const struct pixels *pixels, unsigned column, unsigned row, char c)
{
    const uint8_t *glyph = font_glyphs[c - FONT_FIRST];
    uint8_t *at = pixels->base + (size_t)row * FONT_HEIGHT * pixels->pitch +
                  (size_t)column * FONT_WIDTH * pixels->bytes;
    for (unsigned y = 0; y < FONT_HEIGHT; y++, at += pixels->pitch)
        draw_line(pixels, at, glyph[y]);
}
