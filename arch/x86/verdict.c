/* SPDX-License-Identifier: MIT */
/* The verdict; see the header. Pure. */
#include "arch/x86/verdict.h"

#include "arch/x86/font.h"
#include "lib/string.h"

#define HEADLINE_SCALE 3u /* times that of ordinary text */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Cuts the next row of at most `columns` characters off a text, behind a word if possible, and
 * returns its length. */
static size_t next_row(const char **text, unsigned columns)
{
    size_t length = least(strlen(*text), columns), used = length;
    if ((*text)[length]) {
        while (used && (*text)[used] != ' ')
            used--;
        used = used ? used : length;
    }
    *text += used;
    while (**text == ' ')
        ++*text;
    return used;
}

/* ---- In pixels ------------------------------------------------------------------------------- */

static void draw_text(const struct pixels *pixels, uint32_t x, uint32_t y, unsigned scale,
                      const char *text, size_t length, struct ink ink)
{
    for (size_t i = 0; i < length; i++)
        pixels_draw(pixels, x + (uint32_t)i * FONT_WIDTH * scale, y, scale,
                    text[i] >= FONT_FIRST && text[i] <= FONT_LAST ? text[i] : '?', ink);
}

static unsigned headline_scale(const struct pixels *pixels, size_t length)
{
    unsigned factor = HEADLINE_SCALE;
    while (factor > 1 && (length + 2) * FONT_WIDTH * pixels->scale * factor > pixels->width)
        factor--;
    return factor * pixels->scale;
}

void verdict_draw(const struct pixels *pixels, unsigned rows, const struct verdict_text *text)
{
    static const uint32_t colours[] = {[VERDICT_GOOD] = 0x146c2e, [VERDICT_BAD] = 0xb3261e};
    unsigned scale = pixels->scale, row = FONT_HEIGHT * scale, column = FONT_WIDTH * scale;
    uint32_t y = (rows - VERDICT_PIXEL_ROWS + 1) * row, left = 2 * column;
    uint32_t columns = pixels->width / column;
    const char *reason = text->reason;
    struct ink bright = {pixels_colour(pixels, 0xffffff),
                         pixels_colour(pixels, colours[text->verdict])};
    pixels_fill(pixels, 0, y, pixels->width, pixels->height - y, bright.back);
    y += row / 2;
    size_t length = least(strlen(text->headline), columns - 4);
    draw_text(pixels, left, y, headline_scale(pixels, length), text->headline, length, bright);
    y += HEADLINE_SCALE * row + row / 2;
    for (unsigned i = 0; i < VERDICT_REASON_ROWS; i++, y += row) {
        const char *from = reason;
        length = next_row(&reason, columns - 4);
        draw_text(pixels, left, y, scale, from, length, bright);
    }
    y += row / 2;
    length = least(strlen(text->next), columns - 4);
    draw_text(pixels, left, y, scale, text->next, length, bright);
}

/* ---- In text mode ---------------------------------------------------------------------------- */

/* Code page 437, which every VGA has in its ROM. */
enum {
    FRAME_ACROSS = 0xcd,
    FRAME_DOWN = 0xba,
    FRAME_TOP_LEFT = 0xc9,
    FRAME_TOP_RIGHT = 0xbb,
    FRAME_BOTTOM_LEFT = 0xc8,
    FRAME_BOTTOM_RIGHT = 0xbc,
};

struct block {
    volatile uint16_t *at; /* where the next row begins */
    unsigned columns;
    uint16_t attribute;
};

static void put_edge(struct block *block, uint8_t left, uint8_t right)
{
    for (unsigned i = 0; i < block->columns; i++)
        block->at[i] = block->attribute | FRAME_ACROSS;
    block->at[0] = block->attribute | left;
    block->at[block->columns - 1] = block->attribute | right;
    block->at += block->columns;
}

static void put_row(struct block *block, const char *text, size_t length)
{
    for (unsigned i = 0; i < block->columns; i++)
        block->at[i] = block->attribute | (i >= 2 && i - 2 < length ? (uint8_t)text[i - 2] : ' ');
    block->at[0] = block->at[block->columns - 1] = block->attribute | FRAME_DOWN;
    block->at += block->columns;
}

void verdict_put(volatile uint16_t *cells, unsigned columns, unsigned rows,
                 const struct verdict_text *text)
{
    static const uint16_t attributes[] = {[VERDICT_GOOD] = 0x2f00, [VERDICT_BAD] = 0x4f00};
    struct block block = {cells + (size_t)(rows - VERDICT_CELL_ROWS + 1) * columns, columns,
                          attributes[text->verdict]};
    const char *reason = text->reason;
    put_edge(&block, FRAME_TOP_LEFT, FRAME_TOP_RIGHT);
    put_row(&block, text->headline, least(strlen(text->headline), columns - 4));
    put_row(&block, "", 0);
    for (unsigned i = 0; i < VERDICT_REASON_ROWS; i++) {
        const char *from = reason;
        size_t length = next_row(&reason, columns - 4);
        put_row(&block, from, length);
    }
    put_row(&block, text->next, least(strlen(text->next), columns - 4));
    put_edge(&block, FRAME_BOTTOM_LEFT, FRAME_BOTTOM_RIGHT);
}
